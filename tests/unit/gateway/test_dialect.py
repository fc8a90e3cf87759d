"""Query parameters become a Query; RPC errors become faults."""

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from fabric.runtime.errors import InvalidArgument, QuotaExceeded, to_status
from fabric.type.v1 import query_pb2
from gateway.core.dialect import Api, Dialect
from gateway.core.fault import Fault, Invalid, Statuses, from_rpc
from gateway.network.dialect import NetworkDialect
from gateway.network.networks import NETWORKS

Filter = query_pb2.Filter
Sort = query_pb2.Sort


def asking(query: str, dialect: Dialect) -> Any:
    pairs = parse_qsl(query, keep_blank_values=True)
    return SimpleNamespace(
        query=pairs,
        args=lambda name: [value for key, value in pairs if key == name],
        microversion=(0, 0),
        api=Api("x", [], dialect),
        base_url="http://h",
        path="/n/v2.0/networks",
    )


def listed(query: str, dialect: Dialect | None = None) -> Any:
    dialect = dialect or NetworkDialect()
    return dialect.listing(asking(query, dialect), NETWORKS)


def test_a_query_has_filters_sorts_and_a_page() -> None:
    listing = listed(
        "name=a&name=b&status=BUILD&shared=True&sort_key=name&sort_dir=desc&sort_key=id&sort_dir=asc&limit=7&marker=m"
    )
    assert listing.query == query_pb2.Query(
        filters=[
            Filter(path="meta.name", op=Filter.OP_IN, values=["a", "b"]),
            Filter(path="status.state", op=Filter.OP_IN, values=["STATE_BUILDING"]),
            Filter(path="spec.shared", op=Filter.OP_IN, values=["true"]),
        ],
        sorts=[Sort(path="meta.name", descending=True), Sort(path="meta.id")],
        limit=7,
        marker="m",
    )


def test_tags_are_filtered_as_sets() -> None:
    assert listed("tags=a,b&not-tags-any=c").query.filters == [
        Filter(path="meta.tags", op=Filter.OP_ALL, values=["a", "b"]),
        Filter(path="meta.tags", op=Filter.OP_NOT_IN, values=["c"]),
    ]


def test_limits_are_capped_and_fields_collected() -> None:
    listing = listed("limit=99999&fields=id,name&fields=mtu", Dialect())
    assert listing.query.limit == Dialect.max_limit
    assert listing.fields == ("id", "name", "mtu")


def test_a_plain_dialect_ignores_what_it_does_not_know() -> None:
    assert not listed("nonsense=1", Dialect()).query.filters
    with pytest.raises(Invalid, match="nonsense"):
        listed("nonsense=1")


def test_the_next_page_keeps_the_other_parameters() -> None:
    dialect = Dialect()
    url = dialect.next_url(asking("name=a%26b&marker=old&limit=2", dialect), "new")
    assert url == "http://h/n/v2.0/networks?name=a%26b&limit=2&marker=new"


def rpc_error(code: grpc.StatusCode, details: str = "", trailing: Any = ()) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(*trailing), details, "")


def test_error_info_becomes_reason_and_facts() -> None:
    status = to_status(QuotaExceeded("Too much.", resource="port", limit=5))
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    fault = from_rpc(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too much.", details))
    assert (fault.status, fault.reason, fault.type) == (403, "QUOTA_EXCEEDED", "QuotaExceeded")
    assert fault.facts == {"resource": "port", "limit": "5"}
    overrides: Statuses = {
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"): 413,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 409,
    }
    assert from_rpc(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "", details), overrides).status == 413
    assert from_rpc(rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED), overrides).status == 409


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400),
        (grpc.StatusCode.UNAUTHENTICATED, 401),
        (grpc.StatusCode.PERMISSION_DENIED, 403),
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.ABORTED, 409),
        (grpc.StatusCode.UNIMPLEMENTED, 501),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 503),
        (grpc.StatusCode.INTERNAL, 500),
        (grpc.StatusCode.UNKNOWN, 500),
    ],
)
def test_codes_have_statuses_and_words_of_the_transport_stay_inside(
    code: grpc.StatusCode, status: int
) -> None:
    fault = from_rpc(rpc_error(code, "ipv4:10.0.0.1: secret"))
    assert fault.status == status
    assert ("secret" in fault.message) == (status < 500)


def test_a_fault_without_a_reason_is_named_by_its_status() -> None:
    assert Fault(409, "x").type == "Conflict"
    assert Fault(404, "x").type == "NotFound"
    assert InvalidArgument("x").reason == "INVALID_ARGUMENT"
