"""Which segment of a network a node uses."""

import pytest

from fabric.network.segment_list import first_id, ids, on_segment, put, segments, used
from fabric.network.v1 import network_pb2
from fabric.network.v1 import segment_pb2 as pb


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
