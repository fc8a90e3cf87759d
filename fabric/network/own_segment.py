"""Segments of networks, as resources with names of their own."""

import uuid
from collections.abc import Callable, Iterable, Iterator

from fabric.network import segment, segment_list
from fabric.network.agent import reach
from fabric.network.collection import DHCP_OWNER, NETWORKS, PORTS, SUBNETS, marked
from fabric.network.network import Networks
from fabric.network.v1 import network_pb2
from fabric.network.v1 import segment_pb2 as pb
from fabric.runtime import config, query
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, StaleRevision
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Filter, Query

_OWN = {"meta.name": "name", "meta.description": "description"}  # what of a segment can change


class Segments:
    """The methods of SegmentService."""

    def __init__(self, store: Store, policy: Policy, networks: Networks, settings: config.Network) -> None:
        self._store = store
        self._policy = policy
        self._networks = networks
        self._settings = settings

    async def CreateSegment(self, request: pb.CreateSegmentRequest, caller: Caller) -> pb.Segment:
        self._policy.enforce(caller, "create_segment", {"project_id": caller.project_id})
        new = pb.Segment(spec=request.segment.spec)
        new.meta.id, new.meta.name = str(uuid.uuid4()), request.segment.meta.name
        new.meta.description = request.segment.meta.description
        new.meta.create_time.GetCurrentTime()
        new.meta.create_time.nanos = 0

        def add(network: network_pb2.Network, txn: Transaction) -> None:
            known, project_id = segment_list.segments(network), network.meta.project_id
            added = copy_of(new)
            met = {other.spec.segmentation_id for other in known}
            segment.complete(self._store, self._settings, project_id, added.spec, met, txn)
            segment_list.put(network, [*known, added])
            segment.check_distinct(network)
            segment.check_mtu(self._settings, network)

        network_id = new.spec.network_id
        network = await self._write(lambda: self._networks.find(network_id, caller), add)
        return _shown(network, new.meta.id)

    async def GetSegment(self, request: pb.GetSegmentRequest, caller: Caller) -> pb.Segment:
        return _shown(self._network(request.id, caller), request.id)

    async def ListSegments(self, request: pb.ListSegmentsRequest, caller: Caller) -> pb.ListSegmentsResponse:
        found = (network for network in self._candidates(request.query) if self._visible(network, caller))
        shown = (one for network in found for one in _all_shown(network))
        page, marker = query.select(shown, request.query, pb.Segment)
        return pb.ListSegmentsResponse(segments=page, next_marker=marker)

    async def UpdateSegment(self, request: pb.UpdateSegmentRequest, caller: Caller) -> pb.Segment:
        id_, said = request.segment.meta.id, request.segment.meta
        self._policy.enforce(caller, "update_segment", _target(self._network(id_, caller)))
        for path in request.update_mask.paths:
            if path not in _OWN:
                name = path.rpartition(".")[2]
                raise InvalidArgument(
                    f"Cannot update read-only attribute {name}", reason="HTTP_BAD_REQUEST", field=name
                )

        def change(network: network_pb2.Network, txn: Transaction) -> None:
            known = [copy_of(one) for one in segment_list.segments(network)]
            (own,) = (one for one in known if one.meta.id == id_)
            for path in request.update_mask.paths:
                setattr(own.meta, _OWN[path], getattr(said, _OWN[path]))
            segment_list.put(network, known)

        return _shown(await self._write(lambda: self._network(id_, caller), change, said.etag), id_)

    async def DeleteSegment(self, request: pb.DeleteSegmentRequest, caller: Caller) -> pb.Segment:
        id_ = request.id
        gone = self._network(id_, caller)
        self._policy.enforce(caller, "delete_segment", _target(gone))

        def leave(network: network_pb2.Network, txn: Transaction) -> None:
            self._check_unused(network, id_)
            segment_list.put(network, (o for o in segment_list.segments(network) if o.meta.id != id_))

        await self._write(lambda: self._network(id_, caller), leave)
        return _shown(gone, id_)

    @again
    async def _write(
        self,
        find: Callable[[], network_pb2.Network],
        change: Callable[[network_pb2.Network, Transaction], None],
        etag: str = "",
    ) -> network_pb2.Network:
        """Change the record of the network, again when somebody else was faster; etag: only of this one."""
        old = find()
        if etag and etag != old.meta.etag:
            raise StaleRevision("The resource was changed in the meantime.", id=old.meta.id)
        new = copy_of(old)
        try:
            async with self._store.transaction() as txn:
                change(new, txn)
                txn.update(NETWORKS, new)
        except AlreadyExists as error:
            raise segment.taken(error) from error
        return self._networks.kept(new)

    def _check_unused(self, network: network_pb2.Network, id_: str) -> None:
        subnets = self._store.table(SUBNETS).by("network", network.meta.id)
        if any(subnet.spec.segment_id == id_ and not marked(subnet) for subnet in subnets):
            raise _in_use(id_, "The segment is still associated with subnet(s)")
        if len(segment_list.ids(network)) == 1:
            raise _in_use(id_, f"It is the only one of network {network.meta.id}")
        for port in self._store.table(PORTS).by("network", network.meta.id):
            if port.spec.device_owner == DHCP_OWNER:
                continue  # it follows
            for node in PORTS.nodes(port):
                used = segment_list.used(network, reach(self._store, node))
                if used is not None and used.meta.id == id_:
                    raise _in_use(id_, f"The segment is still associated with port(s) {port.meta.id}")

    def _network(self, id_: str, caller: Caller) -> network_pb2.Network:
        """The network of the segment. Raises NotFound."""
        network = network_of(self._store, id_)
        if network is None or not self._visible(network, caller):
            raise missing(id_)
        return network

    def _candidates(self, asked: Query) -> Iterable[network_pb2.Network]:
        for part in asked.filters:
            if part.path == "spec.network_id" and part.op in (Filter.OP_UNSPECIFIED, Filter.OP_IN):
                found = (self._store.find(NETWORKS, id_) for id_ in set(part.values))
                return [network for network in found if network is not None]
        return self._store.table(NETWORKS)

    def _visible(self, network: network_pb2.Network, caller: Caller) -> bool:
        return not marked(network) and self._policy.allows(caller, "get_segment", _target(network))


def network_of(store: Store, id_: str) -> network_pb2.Network | None:
    """The network that has the segment."""
    return next(iter(store.table(NETWORKS).by("segment", id_)), None)


def missing(id_: str) -> NotFound:
    """What is said of a segment that is not there, or not for the caller."""
    return NotFound(f"Segment {id_} could not be found.", reason="SEGMENT_NOT_FOUND", field="segment_id")


def _all_shown(network: network_pb2.Network) -> Iterator[pb.Segment]:
    """Its segments as they are shown: with the revision of the network."""
    for known in segment_list.segments(network):
        shown = copy_of(known)
        shown.meta.generation, shown.meta.etag = network.meta.generation, network.meta.etag
        if not shown.meta.HasField("create_time"):
            shown.meta.create_time.CopyFrom(network.meta.create_time)
        shown.meta.update_time.CopyFrom(network.meta.update_time)
        yield shown


def _shown(network: network_pb2.Network, id_: str) -> pb.Segment:
    return next(shown for shown in _all_shown(network) if shown.meta.id == id_)


def _in_use(id_: str, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"Segment '{id_}' cannot be deleted: {why}.", reason="SEGMENT_IN_USE", segment=id_
    )


def _target(network: network_pb2.Network) -> dict[str, object]:
    return {"project_id": network.meta.project_id, "tenant_id": network.meta.project_id}
