"""Lists from memory."""

import pytest

from fabric.network.v1.port_pb2 import Port, PortStatus
from fabric.runtime.errors import InvalidArgument
from fabric.runtime.query import select
from fabric.type.v1.query_pb2 import Filter, Query


def a_port(id_: str, **facts: object) -> Port:
    port = Port()
    port.meta.id, port.meta.name = id_, str(facts.get("name", id_))
    port.meta.create_time.seconds = int(str(facts.get("at", 0)))
    port.spec.admin_state_up = bool(facts.get("up", False))
    port.status.state = facts.get("state", PortStatus.STATE_DOWN)  # type: ignore[assignment]
    for address in facts.get("ips", ()):  # type: ignore[attr-defined]
        port.spec.fixed_ips.add(ip_address=address)
    port.meta.tags.extend(facts.get("tags", ()))  # type: ignore[arg-type]
    port.spec.binding_profile.update(facts.get("profile", {}))  # type: ignore[arg-type]
    return port


PORTS = [
    a_port("a", name="web-1", at=3, up=True, ips=["10.0.0.1"], tags=["red"], profile={"k": "v"}),
    a_port("b", name="web-2", at=1, state=PortStatus.STATE_ACTIVE, ips=["10.0.0.2", "10.0.0.3"]),
    a_port("c", name="db", at=2, up=True, tags=["red", "blue"]),
]


def ids(*filters: Filter, **query: object) -> list[str]:
    return [p.meta.id for p in select(PORTS, Query(filters=filters, **query), Port)[0]]  # type: ignore[arg-type]


def where(path: str, *values: str, op: "Filter.Op.ValueType" = Filter.OP_IN) -> Filter:
    return Filter(path=path, op=op, values=values)


def test_without_a_sort_the_oldest_comes_first() -> None:
    assert ids() == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (where("meta.name", "db", "web-1"), ["c", "a"]),
        (where("meta.name", "db", op=Filter.OP_NOT_IN), ["b", "a"]),
        (where("spec.admin_state_up", "true"), ["c", "a"]),
        (where("status.state", "STATE_ACTIVE"), ["b"]),
        (where("spec.fixed_ips.ip_address", "10.0.0.3"), ["b"]),
        (where("spec.fixed_ips.ip_address", "0.0.1", op=Filter.OP_SUFFIX), ["a"]),
        (where("meta.tags", "red", "blue", op=Filter.OP_ALL), ["c"]),
        (where("meta.tags", "red", op=Filter.OP_NOT_ALL), ["b"]),
        (where("meta.name", "web", op=Filter.OP_PREFIX), ["b", "a"]),
        (where("meta.name", "EB-", op=Filter.OP_ICONTAINS), ["b", "a"]),
        (where("meta.name", "^w.*1$", op=Filter.OP_REGEX), ["a"]),
        (where("meta.create_time", "1970-01-01T00:00:02Z", op=Filter.OP_GE), ["c", "a"]),
        (where("spec.binding_profile.k", "v"), ["a"]),
    ],
)
def test_filters(condition: Filter, expected: list[str]) -> None:
    assert ids(condition) == expected


@pytest.mark.parametrize(
    "condition",
    [
        where("spec.nothing", "x"),
        where("status.state", "STATE_NONE"),
        where("spec.admin_state_up", "perhaps"),
        where("meta.create_time", "yesterday"),
        where("meta.name", "(", op=Filter.OP_REGEX),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused(condition: Filter) -> None:
    with pytest.raises(InvalidArgument):
        ids(condition)


def test_pages_follow_each_other_without_gap_or_overlap() -> None:
    query = Query(limit=2)
    query.sorts.add(path="meta.name", descending=True)
    first, marker = select(PORTS, query, Port)
    assert [p.meta.id for p in first] == ["b", "a"]
    query.marker = marker
    second, end = select(PORTS, query, Port)
    assert [p.meta.id for p in second] == ["c"]
    assert end == ""


def test_a_page_can_be_turned_back() -> None:
    query = Query(limit=1, marker="a", backwards=True)
    page, marker = select(PORTS, query, Port)
    assert [p.meta.id for p in page] == ["c"]
    assert marker == "c"


def test_an_unknown_marker_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        ids(marker="z")
