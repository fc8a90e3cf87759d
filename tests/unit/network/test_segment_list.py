"""Which segment of a network a node uses, and which networks it reaches."""

import pytest
from google.protobuf import json_format

from fabric.network.reach import missed
from fabric.network.segment_list import first_id, ids, on_segment, put, segments, used
from fabric.network.v1 import network_pb2
from fabric.network.v1 import segment_pb2 as pb
from fabric.type.v1 import node_pb2


def a_network(*parts: tuple[str, str, int]) -> network_pb2.Network:
    network = network_pb2.Network()
    network.meta.id = "n"
    put(network, (a_segment(f"s{number}", *part) for number, part in enumerate(parts)))
    return network


def a_segment(id_: str, kind: str, physical_network: str, tag: int) -> pb.Segment:
    spec = pb.SegmentSpec(network_type=kind, physical_network=physical_network, segmentation_id=tag)
    made = pb.Segment(spec=spec)
    made.meta.id = id_
    return made


RACKS = a_network(("flat", "one", 0), ("vlan", "two", 7))
JOINED = a_network(("vlan", "two", 7), ("vxlan", "", 9))


@pytest.mark.parametrize(
    ("network", "reached", "id_"),
    [
        (RACKS, {"one"}, "s0"),
        (RACKS, {"two", "three"}, "s1"),
        (RACKS, {"two", "one"}, "s0"),
        (RACKS, {"three"}, None),
        (RACKS, set(), None),
        (JOINED, {"two"}, "s0"),
        (JOINED, {"one"}, "s1"),
    ],
)
def test_a_node_uses_the_first_segment_that_it_reaches(
    network: network_pb2.Network, reached: set[str], id_: str | None
) -> None:
    found = used(network, reached)
    assert (found.meta.id if found is not None else None) == id_


def test_a_record_without_a_list_has_one_segment() -> None:
    network = network_pb2.Network(spec=network_pb2.NetworkSpec(network_type="vxlan", segmentation_id=9))
    network.meta.id, network.spec.segment_name = "n", "own"
    (only,) = segments(network)
    assert (only.meta.id, only.meta.name, only.spec.segmentation_id) == (first_id("n"), "own", 9)
    assert ids(network) == [only.meta.id]


def test_a_node_knows_one_segment() -> None:
    known = on_segment(RACKS, used(RACKS, {"two"}))
    spec = known.spec
    assert (spec.network_type, spec.physical_network, spec.segmentation_id) == ("vlan", "two", 7)
    assert not spec.segments
    assert len(RACKS.spec.segments) == 2
    assert on_segment(RACKS, None).spec.physical_network == "one"


@pytest.mark.parametrize(
    ("detail", "needed", "can"),
    [
        ({}, {"public"}, True),
        ({"physical_networks": {"public": ""}}, {"public"}, True),
        ({"physical_networks": ["public"]}, {"public"}, True),
        ({"physical_networks": {}}, {"public"}, False),
        ({"physical_networks": {}}, set(), True),
        ({"physical_networks": {"public": "eth1"}}, {"public", "other"}, False),
    ],
)
def test_a_node_reaches_the_physical_networks_that_it_names(
    detail: dict[str, object], needed: set[str], can: bool
) -> None:
    life = json_format.ParseDict({"node": "n", "detail": detail}, node_pb2.Life())
    flat = [a_network(("flat", name, 0)) for name in needed]
    assert (missed(life, [(network, frozenset()) for network in flat]) is None) is can


@pytest.mark.parametrize(
    ("has", "segments", "can"), [("two", {"s0"}, False), ("two", {"s1"}, True), ("one", {"s0", "s1"}, True)]
)
def test_addresses_are_good_on_nodes_that_use_their_segment(has: str, segments: set[str], can: bool) -> None:
    life = json_format.ParseDict({"node": "n", "detail": {"physical_networks": [has]}}, node_pb2.Life())
    assert (missed(life, [(RACKS, frozenset(segments))]) is None) is can
