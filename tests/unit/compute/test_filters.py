"""Every filter removes what lacks one thing, and doing what it says makes the node pass (claim C15)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.compute.candidate import Ask, Candidate, Policy
from fabric.compute.demand import traits
from fabric.compute.filters import FILTERS, checks
from fabric.compute.placement import Removal, choose
from fabric.compute.v1.node_pb2 import ComputeInventory
from fabric.compute.v1.server_pb2 import Server
from tests.size import size

ROOM = {"compute.vcpus": 8, "compute.ram_mib": 8192, "compute.disk_gb": 100}
HOST = ComputeInventory(
    hypervisor_type="QEMU", hypervisor_version="7.2.0", vcpus=8, cpu_arch="x86_64", host_ip="10.0.0.1"
)
NODE = Candidate("n1", True, True, "nova", ROOM, {}, inventory=HOST)
OTHER = "another"


def a_server(
    flavor: Mapping[str, str] | None = None,
    image: Mapping[str, str] | None = None,
    hints: Mapping[str, str] | None = None,
    **spec: Any,
) -> Server:
    server = Server()
    server.meta.project_id = "p1"
    server.spec.flavor.name = "small"
    server.spec.flavor.vcpus, server.spec.flavor.ram_mib, server.spec.flavor.root_gb = 2, 2048, 10
    server.spec.flavor.extra_specs.update(flavor or {})
    server.spec.image.properties.update(image or {})
    server.spec.scheduler_hints.update(hints or {})
    for name, value in spec.items():
        setattr(server.spec, name, value)
    return server


def told(server: Server, node: Candidate = NODE, **ask: Any) -> tuple[str, str] | None:
    """Filter and shortfall of the one node."""
    removals = choose(Ask(server, **ask), [node]).removals
    return (removals[0].filter, removals[0].shortfall) if removals else None


def with_metadata(**said: str) -> Candidate:
    return replace(NODE, metadata={key: frozenset(text.split(",")) for key, text in said.items()})


AGGREGATE = "aggregate_instance_extra_specs"


@pytest.mark.parametrize(
    ("server", "node", "filter_", "shortfall"),
    [
        (a_server(), with_metadata(filter_tenant_id="p2,p3"), "AggregateMultiTenancyIsolation", "p1"),
        (a_server(), with_metadata(instance_type="large"), "AggregateTypeAffinity", "large"),
        (a_server({f"{AGGREGATE}:ssd": "true"}), NODE, "AggregateInstanceExtraSpecs", "ssd true"),
        (a_server({"ssd": "true"}), with_metadata(ssd="no"), "AggregateInstanceExtraSpecs", "but no"),
        (a_server({f"{AGGREGATE}:gpu": "!"}), with_metadata(gpu="1"), "AggregateInstanceExtraSpecs", "gpu=1"),
        (a_server({"capabilities:cpu_info:arch": "arm"}), NODE, "ComputeCapabilities", "x86_64"),
        (a_server({"vcpus_total": ">= 16"}), NODE, "ComputeCapabilities", "vcpus_total >= 16, but 8"),
        (a_server({"capabilities:no_such": "1"}), NODE, "ComputeCapabilities", "no_such 1"),
        (a_server(image={"hw_architecture": "aarch64"}), NODE, "ImageProperties", "aarch64"),
        (a_server(image={"img_hv_type": "kvm"}), NODE, "ImageProperties", "QEMU"),
        (a_server(image={"img_hv_requested_version": ">=7,<7.1"}), NODE, "ImageProperties", "<7.1"),
        (a_server(image={"os": "win"}), with_metadata(os="linux"), "AggregateImagePropertiesIsolation", "win"),
        (a_server({"trait:CUSTOM_A": "required"}), NODE, "Traits", "lacks the trait CUSTOM_A"),
        (
            a_server(image={"trait:CUSTOM_A": "forbidden"}),
            replace(NODE, traits=frozenset({"CUSTOM_A"})),
            "Traits",
            "has the trait CUSTOM_A",
        ),
        (a_server(hints={"build_near_host_ip": "10.1.0.9", "cidr": "/24"}), NODE, "SimpleCIDRAffinity", "10.1.0"),
        (a_server(hints={"query": '["=", "$host", "n2"]'}), NODE, "Json", "$host"),
        (a_server(), replace(with_metadata(max_instances_per_host="1"), servers=1), "AggregateNumInstances", "1 of 1"),
        (a_server(), replace(with_metadata(max_io_ops_per_host="2"), building=2), "AggregateIoOps", "2 of 2"),
        (a_server({"resources:VCPU": "9"}), NODE, "Capacity", "1 VCPU short of 9"),
        (a_server({"resources:CUSTOM_GPU": "1"}), NODE, "Capacity", "1 CUSTOM_GPU short of 1"),
    ],
)  # fmt: skip
def test_a_node_that_lacks_one_thing_is_removed(
    server: Server, node: Candidate, filter_: str, shortfall: str
) -> None:
    found = told(server, node)
    assert found is not None
    assert found[0] == filter_
    assert shortfall in found[1]


@pytest.mark.parametrize(
    ("server", "node"),
    [
        (a_server(), with_metadata(filter_tenant_id2="p1")),
        (a_server({f"{AGGREGATE}:ssd": "<or> true <or> yes"}), with_metadata(ssd="no,yes")),
        (a_server({f"{AGGREGATE}:gpu": "!"}), NODE),
        (a_server({"hw:cpu_policy": "shared", "quota:cpu_shares": "10"}), NODE),
        (a_server({"capabilities:hypervisor_type": "s== QEMU"}), NODE),
        (a_server(image={"hw_architecture": "amd64", "img_hv_type": "qemu"}), NODE),
        (a_server(image={"img_hv_requested_version": ">=6.0,<8"}), NODE),
        (a_server(image={"os": "win"}), with_metadata(os="linux,win")),
        (a_server(hints={"build_near_host_ip": "10.0.0.77"}), NODE),
        (a_server({"resources:VCPU": "0"}), replace(NODE, allocated={"compute.vcpus": 8})),
        (a_server({"resources:CUSTOM_GPU": "1"}), replace(NODE, capacity=ROOM | {"compute.CUSTOM_GPU": 2})),
    ],
)  # fmt: skip
def test_a_node_that_has_it_is_left(server: Server, node: Candidate) -> None:
    assert told(server, node) is None


def test_no_filter_asks_of_a_forced_node_but_for_life_traits_and_capacity() -> None:
    asked = checks(Ask(a_server(forced_node="n1", hints={"query": "[]"})))
    assert [name for name, _ in asked] == ["NamedHost", "Alive", "Capacity"]


# -- C15: what the shortfall names, done

EXAMPLES = size("FABRIC_EXAMPLES", 100, 10_000)

Case = tuple[Ask, Candidate]


def _say(case: Case, **said: frozenset[str] | None) -> Case:
    ask, node = case
    kept = {key: value for key, value in node.metadata.items() if key not in said}
    return ask, replace(node, metadata=kept | {key: value for key, value in said.items() if value})


def _mend_capacity(case: Case) -> Case:
    ask, node = case
    needed = {name: node.allocated.get(name, 0) + amount for name, amount in ask.demand.items()}
    return ask, replace(
        node, capacity={name: max(node.capacity.get(name, 0), amount) for name, amount in needed.items()}
    )


def _mend_specs(case: Case) -> Case:
    wanted = case[0].server.spec.flavor.extra_specs
    return _say(case, ssd=frozenset({wanted["ssd"]}))


def _mend_traits(case: Case) -> Case:
    ask, node = case
    required, forbidden = traits(ask.server)
    return ask, replace(node, traits=(node.traits | required) - forbidden)


def _mend_inventory(case: Case) -> Case:
    ask, node = case
    made = ComputeInventory()
    made.CopyFrom(node.inventory)
    made.cpu_arch, made.vcpus = "aarch64", 64
    made.host_ip = "10.1.0.1"
    return ask, replace(node, inventory=made)


MENDS: Mapping[str, Callable[[Case], Case]] = {
    "NamedHost": lambda case: (case[0], replace(case[1], name=case[0].node)),
    "Alive": lambda case: (case[0], replace(case[1], alive=True)),
    "Enabled": lambda case: (case[0], replace(case[1], enabled=True)),
    "AvailabilityZone": lambda case: (
        case[0],
        replace(case[1], zone=case[0].server.spec.availability_zone),
    ),
    "AggregateMultiTenancyIsolation": lambda case: _say(case, filter_tenant_id=frozenset({"p1"})),
    "AggregateTypeAffinity": lambda case: _say(case, instance_type=frozenset({"small"})),
    "AggregateInstanceExtraSpecs": _mend_specs,
    "AggregateImagePropertiesIsolation": lambda case: _say(case, os_distro=frozenset({"debian"})),
    "ComputeCapabilities": _mend_inventory,
    "ImageProperties": _mend_inventory,
    "Traits": _mend_traits,
    "Networks": lambda case: (replace(case[0], cut_off={}), case[1]),
    "SameHost": lambda case: (replace(case[0], nodes={"s1": case[1].name}), case[1]),
    "DifferentHost": lambda case: (replace(case[0], nodes={}), case[1]),
    "SimpleCIDRAffinity": _mend_inventory,
    "Json": _mend_inventory,
    "AggregateNumInstances": lambda case: (case[0], replace(case[1], servers=0)),
    "AggregateIoOps": lambda case: (case[0], replace(case[1], building=0)),
    "Capacity": _mend_capacity,
    "ServerGroupAffinity": lambda case: (replace(case[0], members={case[1].name: 1}), case[1]),
    "ServerGroupAntiAffinity": lambda case: (replace(case[0], members={}), case[1]),
}


def test_every_filter_has_a_change_that_it_names() -> None:
    assert set(MENDS) == {row.name for row in FILTERS}


def _maybe(key: str, *values: str) -> st.SearchStrategy[dict[str, str]]:
    return st.sampled_from([{}, *({key: value} for value in values)])


def _joined(*parts: st.SearchStrategy[dict[str, str]]) -> st.SearchStrategy[dict[str, str]]:
    return st.tuples(*parts).map(lambda found: {k: v for part in found for k, v in part.items()})


SERVERS = st.builds(
    a_server,
    flavor=_joined(
        _maybe("ssd", "true", "yes"),
        _maybe("vcpus_total", ">= 32"),
        _maybe("trait:CUSTOM_A", "required", "forbidden"),
        _maybe("resources:CUSTOM_GPU", "1", "3"),
        _maybe("resources:VCPU", "0", "12"),
    ),
    image=_joined(_maybe("hw_architecture", "aarch64"), _maybe("os_distro", "debian")),
    hints=_joined(
        st.sampled_from([{}, {"same_host": "s1"}, {"different_host": "s1"}]),
        _maybe("build_near_host_ip", "10.1.0.200"),
        _maybe("query", '[">", "$vcpus_total", 20]'),
    ),
    availability_zone=st.sampled_from(["", "nova", "z2"]),
    requested_node=st.sampled_from(["", "n1", "n2"]),
)
METADATA = _joined(
    _maybe("filter_tenant_id", "p1", "p2"),
    _maybe("instance_type", "small", "large"),
    _maybe("ssd", "true", "no"),
    _maybe("os_distro", "debian", "arch"),
    _maybe("max_instances_per_host", "1", "4"),
    _maybe("max_io_ops_per_host", "1"),
)
NODES = st.builds(
    Candidate,
    name=st.sampled_from(["n1", "n2", "n3"]),
    alive=st.booleans(),
    enabled=st.booleans(),
    zone=st.sampled_from(["nova", "z2"]),
    capacity=st.just(ROOM),
    allocated=st.fixed_dictionaries({name: st.integers(0, 2 * most) for name, most in ROOM.items()}),
    metadata=METADATA.map(lambda said: {key: frozenset({value}) for key, value in said.items()}),
    traits=st.sampled_from([frozenset[str](), frozenset({"CUSTOM_A"})]),
    inventory=st.just(HOST),
    servers=st.integers(0, 2),
    building=st.integers(0, 2),
)
GROUPS = st.sampled_from(
    [
        None,
        Policy(policy=Policy.POLICY_AFFINITY),
        Policy(policy=Policy.POLICY_ANTI_AFFINITY),
        Policy(policy=Policy.POLICY_ANTI_AFFINITY, max_server_per_host=2),
        Policy(policy=Policy.POLICY_SOFT_AFFINITY),
    ]
)
PLACES = st.sampled_from(["n1", "n2", "n3", OTHER])
ASKS = st.builds(
    Ask,
    SERVERS,
    group=GROUPS,
    members=st.dictionaries(PLACES, st.integers(1, 3), max_size=2),
    nodes=st.dictionaries(st.just("s1"), PLACES),
    cut_off=st.dictionaries(PLACES, st.just("net"), max_size=2),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(ASKS, st.lists(NODES, max_size=4, unique_by=lambda node: node.name))
def test_each_node_is_either_chosen_or_removed_with_a_reason(ask: Ask, nodes: list[Candidate]) -> None:
    choice = choose(ask, nodes)
    assert sorted([*choice.nodes, *(r.node for r in choice.removals)]) == sorted(n.name for n in nodes)
    for removal in choice.removals:
        assert removal.filter in MENDS
        assert all(part in choice.explain() for part in (removal.filter, removal.node, removal.shortfall))


@settings(max_examples=EXAMPLES, deadline=None)
@given(ASKS, NODES)
def test_doing_what_each_shortfall_says_makes_the_node_fit(ask: Ask, node: Candidate) -> None:
    case, mended = (ask, node), list[str]()
    while removals := list[Removal](choose(case[0], [case[1]]).removals):
        assert removals[0].filter not in mended, "it was mended, and is named again"
        mended.append(removals[0].filter)
        case = MENDS[removals[0].filter](case)
    assert choose(case[0], [case[1]]).nodes == [case[1].name]
