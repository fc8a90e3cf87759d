"""Choosing a node."""

from dataclasses import replace

from fabric.compute.candidate import Ask, Candidate
from fabric.compute.placement import Choice, choose
from fabric.compute.v1.server_pb2 import Server
from fabric.runtime.config import Compute

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


def chosen(server: Server, *candidates: Candidate, settings: Compute | None = None) -> Choice:
    return choose(Ask(server), candidates, settings)


def test_the_node_with_the_most_free_memory_comes_first() -> None:
    busy = replace(ROOMY, name="n0", allocated={"compute.ram_mib": 1024})
    assert chosen(a_server(), busy, ROOMY).nodes == ["n1", "n0"]


def test_a_negative_multiplier_fills_one_node_before_the_next() -> None:
    busy = replace(ROOMY, name="n2", allocated={"compute.ram_mib": 1024})
    stacking = Compute(ram_weight_multiplier=-1.0)
    assert chosen(a_server(), ROOMY, busy, settings=stacking).nodes == ["n2", "n1"]


def test_an_aggregate_may_have_a_multiplier_of_its_own() -> None:
    busy = replace(
        ROOMY,
        name="n2",
        allocated={"compute.ram_mib": 1024},
        metadata={"io_ops_weight_multiplier": frozenset({"5.0"})},
        building=3,
    )
    assert chosen(a_server(), ROOMY, busy).nodes == ["n2", "n1"]


def test_what_is_promised_weighs_and_takes_nothing_away() -> None:
    promised = replace(ROOMY, name="n0", promised={"compute.ram_mib": 8192})
    assert chosen(a_server(), promised, ROOMY).nodes == ["n1", "n0"]


def test_a_node_that_builds_or_that_failed_comes_later() -> None:
    building = replace(ROOMY, name="n0", building=2)
    failed = replace(ROOMY, name="n00", failed=1)
    assert chosen(a_server(), building, failed, ROOMY).nodes[0] == "n1"


def test_every_removal_names_filter_node_and_shortfall() -> None:
    choice = chosen(
        a_server(availability_zone="nova"),
        replace(ROOMY, name="dead", alive=False),
        replace(ROOMY, name="gone", alive=False),
        replace(ROOMY, name="off", enabled=False),
        replace(ROOMY, name="elsewhere", zone="z2"),
        replace(ROOMY, name="full", allocated={"compute.ram_mib": 7000}),
    )
    assert choice.nodes == []
    assert [(r.filter, r.node) for r in choice.removals] == [
        ("Alive", "dead"),
        ("Alive", "gone"),
        ("Enabled", "off"),
        ("AvailabilityZone", "elsewhere"),
        ("Capacity", "full"),
    ]
    assert "Alive removed dead, gone (its compute agent is down)" in choice.explain()
    assert "856 MEMORY_MB short of 2048" in choice.explain()


def test_no_node_at_all_is_said_as_well() -> None:
    assert chosen(a_server()).explain() == "there is no compute node"


def test_a_forced_node_is_the_only_one_even_when_disabled() -> None:
    off = replace(ROOMY, name="n2", enabled=False)
    assert chosen(a_server(forced_node="n2"), ROOMY, off).nodes == ["n2"]


def test_a_requested_node_must_pass_all_filters() -> None:
    off = replace(ROOMY, name="n2", enabled=False)
    assert chosen(a_server(requested_node="n1"), ROOMY, off).nodes == ["n1"]
    assert chosen(a_server(requested_node="n2"), ROOMY, off).nodes == []


def test_a_hint_that_says_nothing_is_told() -> None:
    server = a_server()
    server.spec.scheduler_hints["query"] = "[1]"
    assert "The query is not usable" in chosen(server, ROOMY).explain()
