"""The segments of a network, as its record has them, and which of them a node uses. No I/O."""

import uuid
from collections.abc import Container, Iterable, Sequence

from fabric.network.v1 import network_pb2, subnet_pb2
from fabric.network.v1 import segment_pb2 as pb

_NAMESPACE = uuid.UUID("f38a2a9b-5c1d-4a57-8f0e-2f3f1c9b7e64")

Facts = network_pb2.NetworkSpec | pb.SegmentSpec  # network_type, physical_network and segmentation_id


def first_id(network_id: str) -> str:
    """The id of the segment that a network has from its making."""
    return str(uuid.uuid5(_NAMESPACE, network_id))


def ids(network: network_pb2.Network) -> list[str]:
    """Of all its segments, in order."""
    return [known.meta.id for known in network.spec.segments] or [first_id(network.meta.id)]


def facts(network: network_pb2.Network) -> Sequence[Facts]:
    """What each of its segments is, in order."""
    return [known.spec for known in network.spec.segments] or [network.spec]


def segments(network: network_pb2.Network) -> list[pb.Segment]:
    """All of them, in order; a record that lists none has one."""
    if network.spec.segments:
        return list(network.spec.segments)
    spec = network.spec
    only = pb.Segment(
        spec=pb.SegmentSpec(
            network_id=network.meta.id,
            network_type=spec.network_type,
            physical_network=spec.physical_network,
            segmentation_id=spec.segmentation_id,
        )
    )
    only.meta.id, only.meta.name = first_id(network.meta.id), spec.segment_name
    only.meta.description = spec.segment_description
    return [only]


def put(network: network_pb2.Network, wanted: Iterable[pb.Segment]) -> None:
    """Make these the segments of the network."""
    kept = list(wanted)
    del network.spec.segments[:]
    network.spec.segments.extend(kept)
    _be_of(network, kept[0])


def used(network: network_pb2.Network, physical_networks: Container[str]) -> pb.Segment | None:
    """The segment that a node with these physical networks uses: the first that it reaches; None: it reaches none."""
    return next((known for known in segments(network) if _reaches(known.spec, physical_networks)), None)


def serves(subnet: subnet_pb2.Subnet, segment: pb.Segment | None) -> bool:
    """Whether the subnet is there for who uses the segment; None: for who uses none."""
    return subnet.spec.segment_id in ("", segment.meta.id if segment is not None else "")


def on_segment(network: network_pb2.Network, segment: pb.Segment | None) -> network_pb2.Network:
    """The network, of which only this segment is known; None: the first, which who cannot reach it says."""
    known = network_pb2.Network()
    known.CopyFrom(network)
    del known.spec.segments[:]
    if segment is not None:
        _be_of(known, segment)
    return known


def _reaches(spec: pb.SegmentSpec, physical_networks: Container[str]) -> bool:
    return not spec.physical_network or spec.physical_network in physical_networks


def _be_of(network: network_pb2.Network, segment: pb.Segment) -> None:
    network.spec.network_type = segment.spec.network_type
    network.spec.physical_network = segment.spec.physical_network
    network.spec.segmentation_id = segment.spec.segmentation_id
