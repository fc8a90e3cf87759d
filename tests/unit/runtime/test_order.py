"""What is kept in order is listed as what is sorted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.compute.v1.server_pb2 import Server
from fabric.runtime.errors import InvalidArgument
from fabric.runtime.order import InOrder
from fabric.runtime.query import select
from fabric.type.v1.query_pb2 import Filter, Query, Sort

NATURAL = [
    [],
    [Sort(path="meta.create_time")],
    [Sort(path="meta.create_time"), Sort(path="meta.id")],
    [Sort(path="meta.create_time", descending=True), Sort(path="meta.id", descending=True)],
    [Sort(path="meta.name")],
    [Sort(path="meta.create_time", descending=True)],
]


def a_server(number: int, seconds: int) -> Server:
    server = Server()
    server.meta.id, server.meta.create_time.seconds = f"id{number}", seconds
    server.meta.name = "odd" if number % 2 else "even"
    return server


@given(
    seconds=st.lists(st.integers(0, 3), max_size=9),
    sorts=st.sampled_from(NATURAL),
    limit=st.integers(0, 5),
    marker=st.integers(0, 10),
    backwards=st.booleans(),
    filtered=st.booleans(),
)
def test_a_page_of_what_is_in_order_is_the_page_of_what_is_sorted(
    seconds: list[int], sorts: list[Sort], limit: int, marker: int, backwards: bool, filtered: bool
) -> None:
    servers = [a_server(number, at) for number, at in enumerate(seconds)]
    query = Query(sorts=sorts, limit=limit, backwards=backwards)
    query.marker = f"id{marker}" if marker else ""
    if filtered:
        query.filters.append(Filter(path="meta.name", values=["odd"]))
    order = InOrder(servers, {server.meta.id: server for server in servers})

    def asked(messages: list[Server] | InOrder[Server]) -> object:
        try:
            return select(messages, query, Server, lambda server: server.meta.id != "id3")
        except InvalidArgument as error:
            return error.message

    assert asked(order) == asked(servers)


def test_what_comes_and_goes_keeps_its_place() -> None:
    values = {f"id{n}": a_server(n, 9 - n) for n in range(4)}
    order = InOrder(values.values(), values)
    order.remove(values["id2"])
    order.remove(values["id2"])
    late = values["id9"] = a_server(9, 0)
    order.add(late)
    assert [server.meta.id for server in order.walk(None, descending=False)] == ["id9", "id3", "id1", "id0"]
    assert [server.meta.id for server in order.walk(late, descending=True)] == []
    assert order.find("id2") is None
    assert order.find("id1") == values["id1"]


@pytest.mark.parametrize("size", [10, 1000])
def test_a_page_looks_at_no_more_than_the_page(size: int) -> None:
    servers = {f"id{number}": a_server(number, number) for number in range(size)}
    looked = []

    def visible(server: Server) -> bool:
        looked.append(server.meta.id)
        return True

    page, marker = select(InOrder(servers.values(), servers), Query(limit=5), Server, visible)
    assert (len(page), marker, len(looked)) == (5, "id4", 6)
