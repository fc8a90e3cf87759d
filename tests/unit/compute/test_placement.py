"""Choosing a node."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fabric.compute.placement import Candidate, choose, demand
from fabric.compute.v1.server_pb2 import Server

ROOMY = Candidate(
    "n1", True, True, "nova", {"compute.vcpus": 8, "compute.ram_mib": 8192, "compute.disk_gb": 100}, {}
)


def a_server(**spec: object) -> Server:
    server = Server()
    flavor = server.spec.flavor
    flavor.vcpus, flavor.ram_mib, flavor.root_gb = 2, 2048, 10
    for name, value in spec.items():
        setattr(server.spec, name, value)
    return server


def test_the_node_with_the_most_free_memory_comes_first() -> None:
    busy = replace(ROOMY, name="n0", allocated={"compute.ram_mib": 1024})
    assert choose(a_server(), [busy, ROOMY]).nodes == ["n1", "n0"]


def test_every_removal_names_filter_node_and_shortfall() -> None:
    candidates = [
        replace(ROOMY, name="dead", alive=False),
        replace(ROOMY, name="off", enabled=False),
        replace(ROOMY, name="elsewhere", zone="z2"),
        replace(ROOMY, name="full", allocated={"compute.ram_mib": 7000}),
    ]
    choice = choose(a_server(availability_zone="nova"), candidates)
    assert choice.nodes == []
    assert [(r.filter, r.node) for r in choice.removals] == [
        ("Alive", "dead"),
        ("Enabled", "off"),
        ("AvailabilityZone", "elsewhere"),
        ("Capacity", "full"),
    ]
    assert "856 ram_mib short of 2048" in choice.explain()


def test_no_node_at_all_is_said_as_well() -> None:
    assert choose(a_server(), []).explain() == "there is no compute node"


def test_a_forced_node_is_the_only_one_even_when_disabled() -> None:
    off = replace(ROOMY, name="n2", enabled=False)
    assert choose(a_server(forced_node="n2"), [ROOMY, off]).nodes == ["n2"]


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10_000), st.integers(0, 120)), max_size=6))
def test_doing_what_the_shortfall_says_makes_the_node_fit(taken: list[tuple[int, int, int]]) -> None:
    names = ("compute.vcpus", "compute.ram_mib", "compute.disk_gb")
    candidates = [
        replace(ROOMY, name=f"n{at}", allocated=dict(zip(names, used, strict=True)))
        for at, used in enumerate(taken)
    ]
    server = a_server()
    choice = choose(server, candidates)
    assert len(choice.nodes) + len(choice.removals) == len(candidates)
    for candidate in candidates:
        mended = dict(candidate.capacity)
        for resource, amount in demand(server).items():
            mended[resource] += max(0, amount - candidate.free(resource))
        assert choose(server, [replace(candidate, capacity=mended)]).nodes == [candidate.name]
