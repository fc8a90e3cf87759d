"""Which segments a network gets: what is asked for, or a free VNI of the ranges that are the project's."""

import random
import uuid
from collections.abc import Iterable, Iterator

from fabric.network import segment_list
from fabric.network.address import Range
from fabric.network.collection import NETWORKS, SEGMENT_RANGES, marked
from fabric.network.external import take_physical
from fabric.network.v1 import network_pb2 as pb
from fabric.network.v1 import network_segment_range_pb2, segment_pb2
from fabric.runtime.config import Network
from fabric.runtime.errors import AlreadyExists, Exhausted, InvalidArgument
from fabric.runtime.store import Store, Transaction

TYPES = frozenset({"local", "flat", "vlan", "vxlan"})
_Ranges = list[tuple[Range, network_segment_range_pb2.NetworkSegmentRange | None]]


def choose(store: Store, config: Network, new: pb.Network, met: set[int], txn: Transaction) -> None:
    """Complete the segments of a new network; met: VNIs of others of the same batch.

    Raises InvalidArgument, Exhausted.
    """
    spec = new.spec
    if not spec.segments:
        if not spec.network_type and (spec.physical_network or spec.segmentation_id):
            raise _invalid("network_type required", "network_type")
        take_physical(store, config.external_physical_network, spec)
        spec.network_type = spec.network_type or "vxlan"
        complete(store, config, new.meta.project_id, spec, met, txn)
        return
    if spec.network_type or spec.physical_network or spec.segmentation_id:
        raise InvalidArgument(
            "Segments and provider values cannot both be set.",
            reason="SEGMENTS_SET_IN_CONJUNCTION_WITH_PROVIDERS",
            field="segments",
        )
    chosen = [_fresh(new, asked) for asked in spec.segments]
    chosen[0].meta.id = segment_list.first_id(new.meta.id)
    asked_for = [c.spec.SerializeToString(deterministic=True) for c in chosen if not _is_partial(c.spec)]
    if len(set(asked_for)) < len(asked_for):
        raise InvalidArgument(
            "Duplicate segment entry in request.", reason="SEGMENTS_CONTAIN_DUPLICATE_ENTRY", field="segments"
        )
    met = met | {one.spec.segmentation_id for one in chosen}
    for one in chosen:
        complete(store, config, new.meta.project_id, one.spec, met, txn)
        met.add(one.spec.segmentation_id)
    segment_list.put(new, chosen)
    if len(chosen) == 1:
        del spec.segments[:]


def complete(
    store: Store, config: Network, project_id: str, spec: segment_list.Facts, met: set[int], txn: Transaction
) -> None:
    """Check what is asked for, and choose what is left open. Raises InvalidArgument, Exhausted."""
    if not spec.network_type:
        raise _invalid("network_type required", "network_type")
    if spec.network_type not in TYPES:
        raise _invalid(f"network_type value '{spec.network_type}' not supported", "network_type")
    if problem := _problem(spec):
        raise _invalid(f"{problem[0]} for {spec.network_type} network", problem[1])
    if _is_partial(spec):
        spec.segmentation_id = _free_vni(store, config, project_id, met, txn)


def mtu(config: Network, network: pb.Network) -> int:
    """What fits the segments, where nothing else is asked for."""
    types = (spec.network_type for spec in segment_list.facts(network))
    return min(config.physical_mtu if kind in ("flat", "vlan") else config.mtu for kind in types)


def check_distinct(network: pb.Network) -> None:
    """Raise AlreadyExists where two segments of the network are the same."""
    claims = [value for index, value in NETWORKS.claims(network) if index == "segment"]
    if len(set(claims)) < len(claims):
        raise AlreadyExists("The network has the segment.", value=max(claims, key=claims.count))


def check_mtu(config: Network, network: pb.Network) -> None:
    """Raise InvalidArgument where the network's MTU does not fit between nodes."""
    vxlan = any(spec.network_type == "vxlan" for spec in segment_list.facts(network))
    if vxlan and network.spec.mtu > config.mtu:
        raise InvalidArgument(
            f"Invalid input for operation: Requested MTU is too big, maximum is {config.mtu}.",
            reason="INVALID_INPUT",
            field="mtu",
        )


def is_chosen(network: pb.Network) -> bool:
    """Whether all that its segments claim is ours to choose."""
    return all(not spec.physical_network and not spec.segmentation_id for spec in segment_list.facts(network))


def taken(error: AlreadyExists) -> AlreadyExists:
    """What is said of a segment that another network has."""
    kind, _, value = error.facts["value"].partition(":")
    physical_network, _, tag = value.partition(":")
    reason, message = {
        "flat": ("FLAT_NETWORK_IN_USE", f"flat network. Physical network {value} is in use"),
        "vlan": (
            "VLAN_ID_IN_USE",
            f"network. The VLAN {tag} on physical network {physical_network} is in use",
        ),
        "vxlan": ("TUNNEL_ID_IN_USE", f"network. The tunnel ID {value} is in use"),
    }[kind]
    return AlreadyExists(f"Unable to create the {message}.", reason=reason, **error.facts)


def _fresh(network: pb.Network, asked: segment_pb2.Segment) -> segment_pb2.Segment:
    made = segment_pb2.Segment(spec=asked.spec)
    made.meta.id, made.spec.network_id = str(uuid.uuid4()), network.meta.id
    return made


def _is_partial(spec: segment_list.Facts) -> bool:
    """Whether a VNI is to be found for it."""
    return spec.network_type == "vxlan" and not spec.segmentation_id


def _free_vni(store: Store, config: Network, project_id: str, met: set[int], txn: Transaction) -> int:
    for ranges in _choices(store, project_id, (config.vni_first, config.vni_last)):
        for vni in _shuffled([bounds for bounds, _ in ranges]):
            if vni in met or store.owner(NETWORKS, "segment", f"vxlan:{vni}"):
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


def _problem(spec: segment_list.Facts) -> tuple[str, str] | None:
    """What is wrong with a segment, and which of its attributes."""
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
