"""Network segment ranges: VNIs that are set aside for a project, or given out to all."""

from collections.abc import Iterable, Sequence

from fabric.network import address
from fabric.network.collection import NETWORKS, SEGMENT_RANGES, marked
from fabric.network.record import NetworkResource
from fabric.network.segment import bounds
from fabric.network.v1 import network_segment_range_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction

MOST = (1 << 24) - 1
MOST_SHOWN = 1000  # available VNIs of one range


class SegmentRangeRemoval:
    """A range goes when no network has a VNI of it."""

    collection = SEGMENT_RANGES

    def check_unused(self, store: Store, record: pb.NetworkSegmentRange) -> None:
        _refuse_used(record, used(store, record))

    def release(self, store: Store, record: pb.NetworkSegmentRange, txn: Transaction) -> None:
        """Nothing goes with it."""


class SegmentRanges(NetworkResource[pb.NetworkSegmentRange]):
    """The rules of ranges. The default one is [network] vni_first to vni_last, less all of these."""

    collection = SEGMENT_RANGES
    policies = {
        "create": "create_network_segment_range",
        "get": "get_network_segment_range",
        "list": "get_availability_zone",
        "update": "update_network_segment_range",
        "delete": "delete_network_segment_range",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "meta.name": "name"}

    def visible(self, caller: Caller, message: pb.NetworkSegmentRange) -> bool:
        """They are the cloud's, not the project's that they are set aside for."""
        return not marked(message) and self.policy.allows(caller, self.policies["get"], self.target(message))

    def own(self, caller: Caller, new: pb.NetworkSegmentRange) -> None:
        if not new.spec.shared:
            super().own(caller, new)

    def present(self, caller: Caller, message: pb.NetworkSegmentRange) -> pb.NetworkSegmentRange:
        shown = copy_of(message)
        taken = used(self.store, message)
        shown.status.used.update(taken)
        first, last = bounds(message)
        free = (vni for vni in range(first, last + 1) if vni not in taken)
        shown.status.available.extend(vni for vni, _ in zip(free, range(MOST_SHOWN), strict=False))
        return shown

    def admit(
        self,
        caller: Caller,
        new: pb.NetworkSegmentRange,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.NetworkSegmentRange],
    ) -> None:
        new.ClearField("status")
        if new.spec.shared and new.meta.project_id:
            raise address.invalid("a shared network segment range has no project", "project_id")
        self._check(new)

    def change(
        self, caller: Caller, new: pb.NetworkSegmentRange, old: pb.NetworkSegmentRange, txn: Transaction
    ) -> None:
        for name in ("shared", "network_type", "physical_network"):
            if getattr(new.spec, name) != getattr(old.spec, name):
                raise InvalidArgument(
                    f"Cannot update read-only attribute {name}", reason="HTTP_BAD_REQUEST", field=name
                )
        self._check(new)
        first, last = bounds(new)
        _refuse_used(old, (vni for vni in used(self.store, old) if not first <= vni <= last))

    async def delete(self, id_: str, caller: Caller) -> pb.NetworkSegmentRange:
        return await self.remove(id_, caller, SegmentRangeRemoval())

    def _check(self, new: pb.NetworkSegmentRange) -> None:
        spec = new.spec
        if spec.network_type != "vxlan":
            raise address.invalid(
                f"'{spec.network_type}': segments are given out of vxlan networks only", "network_type"
            )
        if spec.physical_network:
            raise address.invalid("a vxlan network has no physical network", "physical_network")
        if not 1 <= spec.minimum <= spec.maximum <= MOST:
            raise address.invalid(
                f"{spec.minimum} to {spec.maximum} is no range in 1 to {MOST}", "minimum", "BAD_REQUEST"
            )
        for other in self.store.table(SEGMENT_RANGES):
            first, last = bounds(other)
            if other.meta.id != new.meta.id and spec.minimum <= last and first <= spec.maximum:
                raise AlreadyExists(
                    f"Network segment range {first}-{last} overlaps with {spec.minimum}-{spec.maximum}: "
                    f"{other.meta.id}.",
                    reason="NETWORK_SEGMENT_RANGE_OVERLAPS",
                    field="minimum",
                )


def used(store: Store, record: pb.NetworkSegmentRange) -> dict[int, str]:
    """The VNIs of the range that networks have, and the networks' projects."""
    first, last = bounds(record)
    claims = store.claimed(NETWORKS, "segment").ids()
    vnis = (int(text) for kind, _, text in (claim.partition(":") for claim in claims) if kind == "vxlan")
    found = {vni: store.owner(NETWORKS, "segment", f"vxlan:{vni}") for vni in vnis if first <= vni <= last}
    networks = {vni: store.find(NETWORKS, id_) for vni, id_ in found.items() if id_}
    return {vni: network.meta.project_id for vni, network in sorted(networks.items()) if network is not None}


def _refuse_used(record: pb.NetworkSegmentRange, vnis: Iterable[int]) -> None:
    if taken := list(vnis):
        raise FailedPrecondition(
            f"Network segment range {record.meta.id} is referenced by one or more tenant networks: "
            f"{', '.join(map(str, taken[:10]))}.",
            reason="NETWORK_SEGMENT_RANGE_REFERENCED_BY_PROJECT",
        )
