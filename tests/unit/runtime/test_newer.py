"""What an older release does not know of a record is there after it has written it."""

from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.fernet import Fernet

from fabric.compute.v1.resource_provider_pb2 import ResourceProvider
from fabric.compute.v1.server_pb2 import Server, ServerSpec
from fabric.network.collection import PORTS
from fabric.network.v1.port_pb2 import FixedIp, Port
from fabric.runtime import newer
from fabric.runtime.codec import Codec
from fabric.runtime.collection import copy_of, differs
from fabric.runtime.json_form import from_dict, to_dict

SECRET = "sealed:by a newer release"


@pytest.fixture(autouse=True)
def one_release() -> Iterator[None]:
    yield
    newer.KINDS.clear()


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Server, {"meta": {"id": "s1"}, "later": 1}),
        (Server, {"spec": {"later": {"a": [None, {"b": "18446744073709551616"}]}}}),
        (Server, {"spec": {"power": "POWER_FROM_THE_FUTURE"}}),
        (Server, {"meta": {"id": "s1", "create_time": "1970-01-01T00:00:01Z", "later": SECRET}}),
        (
            Port,
            {"spec": {"fixed_ips": [{"subnet_id": "a"}, {"subnet_id": "b", "later": True}, {"later": 2}]}},
        ),
        (ResourceProvider, {"inventories": {"VCPU": {"total": "4", "later": 1.5}, "PCPU": {"total": "2"}}}),
    ],
)
def test_what_is_not_known_is_written_back(kind: type[Any], raw: dict[str, Any]) -> None:
    message = from_dict(raw, kind)
    assert to_dict(message) == raw
    assert to_dict(copy_of(message)) == raw
    assert to_dict(newer.drop(copy_of(message))) != raw
    assert to_dict(message) == raw


def test_it_stays_where_it_is_when_the_rest_changes() -> None:
    port = from_dict({"spec": {"fixed_ips": [{"subnet_id": "a"}, {"subnet_id": "b", "later": 1}]}}, Port)
    del port.spec.fixed_ips[0]
    port.spec.fixed_ips.append(FixedIp(subnet_id="c"))
    port.meta.name = "renamed"
    assert to_dict(port) == {
        "meta": {"name": "renamed"},
        "spec": {"fixed_ips": [{"subnet_id": "b", "later": 1}, {"subnet_id": "c"}]},
    }


def test_a_value_that_is_not_known_gives_way_to_one_that_is() -> None:
    server = from_dict({"spec": {"power": "POWER_FROM_THE_FUTURE"}}, Server)
    server.spec.power = ServerSpec.POWER_STOPPED
    assert to_dict(server) == {"spec": {"power": "POWER_STOPPED"}}


def test_it_is_kept_beside_secrets() -> None:
    codec = Codec([Fernet.generate_key()])
    server = Server()
    server.meta.id, server.spec.admin_password = "s1", "hunter2"
    value = codec.encode(server)[:-1] + b',"later":"x"}'
    read = codec.decode(Server, value)
    assert read.spec.admin_password == "hunter2"
    assert b'"later":"x"' in codec.encode(read)


def test_it_is_no_change_of_the_record() -> None:
    old = from_dict({"meta": {"id": "p1"}, "later": 1}, Port)
    assert not differs(PORTS, old, copy_of(old))
