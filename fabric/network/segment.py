"""Which segment a network gets: what is asked for, or a free VNI of the ranges that are the project's."""

import random
from collections.abc import Iterable, Iterator

from fabric.network.address import Range
from fabric.network.collection import NETWORKS, SEGMENT_RANGES, marked
from fabric.network.external import take_physical
from fabric.network.v1 import network_pb2 as pb
from fabric.network.v1 import network_segment_range_pb2
from fabric.runtime.config import Network
from fabric.runtime.errors import Exhausted, InvalidArgument
from fabric.runtime.store import Store, Transaction

TYPES = frozenset({"local", "flat", "vlan", "vxlan"})
_Ranges = list[tuple[Range, network_segment_range_pb2.NetworkSegmentRange | None]]


def choose(store: Store, config: Network, new: pb.Network, taken: set[int], txn: Transaction) -> None:
    """Complete the provider attributes of a new network; taken: VNIs of others of the same batch.

    Raises InvalidArgument, Exhausted.
    """
    spec = new.spec
    if not spec.network_type and (spec.physical_network or spec.segmentation_id):
        raise _invalid("network_type required", "network_type")
    take_physical(store, config.external_physical_network, spec)
    spec.network_type = spec.network_type or "vxlan"
    if spec.network_type not in TYPES:
        raise _invalid(f"network_type value '{spec.network_type}' not supported", "network_type")
    if problem := _problem(spec):
        raise _invalid(f"{problem[0]} for {spec.network_type} network", problem[1])
    if spec.network_type == "vxlan" and not spec.segmentation_id:
        spec.segmentation_id = _free_vni(store, config, new.meta.project_id, taken, txn)


def mtu(config: Network, spec: pb.NetworkSpec) -> int:
    """What fits the segment, where nothing else is asked for."""
    return config.physical_mtu if spec.network_type in ("flat", "vlan") else config.mtu


def _free_vni(store: Store, config: Network, project_id: str, taken: set[int], txn: Transaction) -> int:
    for ranges in _choices(store, project_id, (config.vni_first, config.vni_last)):
        for vni in _shuffled([bounds for bounds, _ in ranges]):
            if vni in taken or store.owner(NETWORKS, "segment", f"vxlan:{vni}"):
                continue
            record = next(record for (first, last), record in ranges if first <= vni <= last)
            if record is not None:
                txn.expect(SEGMENT_RANGES, record)
            return vni
    raise Exhausted(
        "Unable to create the network. No tenant network is available for allocation.",
        reason="NO_NETWORK_AVAILABLE",
    )


def _choices(store: Store, project_id: str, default: Range) -> Iterator[_Ranges]:
    """First the project's own ranges, then those for all, with what the default range has beside any."""
    known = [found for found in store.table(SEGMENT_RANGES) if not marked(found)]
    own = [found for found in known if found.meta.project_id == project_id and not found.spec.shared]
    yield [(bounds(found), found) for found in own]
    shared: _Ranges = [(bounds(found), found) for found in known if found.spec.shared]
    yield [*shared, *((left, None) for left in beside(default, map(bounds, known)))]


def bounds(found: network_segment_range_pb2.NetworkSegmentRange) -> Range:
    """First and last."""
    return found.spec.minimum, found.spec.maximum


def beside(whole: Range, parts: Iterable[Range]) -> list[Range]:
    """What the whole has that no part has."""
    first, last = whole
    left = []
    for low, high in sorted(parts):
        if first < low and first <= last:
            left.append((first, min(low - 1, last)))
        first = max(first, high + 1)
    return [*left, (first, last)] if first <= last else left


def _shuffled(ranges: list[Range]) -> Iterator[int]:
    """All numbers once, from one that is chosen by chance on."""
    total = sum(last - first + 1 for first, last in ranges)
    if not total:
        return
    start = random.randrange(total)
    for step in range(total):
        at = (start + step) % total
        for first, last in ranges:
            if at <= last - first:
                yield first + at
                break
            at -= last - first + 1


def _problem(spec: pb.NetworkSpec) -> tuple[str, str] | None:
    """What is wrong with the provider attributes, and which of them."""
    match spec.network_type:
        case "vxlan" if spec.physical_network:
            return "physical_network specified", "physical_network"
        case "vxlan" if spec.segmentation_id and not 1 <= spec.segmentation_id < 1 << 24:
            return "segmentation_id out of range (1 through 16777215)", "segmentation_id"
        case "local" if spec.physical_network:
            return "physical_network specified", "physical_network"
        case "local" | "flat" if spec.segmentation_id:
            return "segmentation_id specified", "segmentation_id"
        case "flat" | "vlan" if not spec.physical_network:
            return "physical_network required", "physical_network"
        case "vlan" if not 1 <= spec.segmentation_id <= 4094:
            return "segmentation_id out of range (1 through 4094)", "segmentation_id"
    return None


def _invalid(what: str, name: str) -> InvalidArgument:
    return InvalidArgument(
        f"Invalid input for operation: {what}.", reason="INVALID_INPUT", field=f"provider:{name}"
    )
