"""Segments: the one that each network has, as a resource with a name of its own."""

from collections.abc import Iterable

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network.collection import NETWORKS, marked, segment_id
from fabric.network.network import Networks
from fabric.network.v1 import network_pb2
from fabric.network.v1 import segment_pb2 as pb
from fabric.runtime import query
from fabric.runtime.caller import Caller
from fabric.runtime.errors import FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.store import Store
from fabric.type.v1.query_pb2 import Filter, Query

_KEPT = {"meta.name": "spec.segment_name", "meta.description": "spec.segment_description"}


class Segments:
    """The methods of SegmentService."""

    def __init__(self, store: Store, policy: Policy, networks: Networks) -> None:
        self._store = store
        self._policy = policy
        self._networks = networks

    async def CreateSegment(self, request: pb.CreateSegmentRequest, caller: Caller) -> pb.Segment:
        self._policy.enforce(caller, "create_segment", {"project_id": caller.project_id})
        network = await self._networks.get(request.segment.spec.network_id, caller)
        raise FailedPrecondition(
            f"Network {network.meta.id} has segment {segment_id(network)} on all nodes, and can have no other.",
            reason="NETWORK_HAS_SEGMENT",
            network=network.meta.id,
        )

    async def GetSegment(self, request: pb.GetSegmentRequest, caller: Caller) -> pb.Segment:
        return segment_of(self._network(request.id, caller))

    async def ListSegments(self, request: pb.ListSegmentsRequest, caller: Caller) -> pb.ListSegmentsResponse:
        found = (n for n in self._candidates(request.query) if self._visible(n, caller))
        page, marker = query.select(map(segment_of, found), request.query, pb.Segment)
        return pb.ListSegmentsResponse(segments=page, next_marker=marker)

    async def UpdateSegment(self, request: pb.UpdateSegmentRequest, caller: Caller) -> pb.Segment:
        network = self._network(request.segment.meta.id, caller)
        self._policy.enforce(caller, "update_segment", _target(network))
        for path in request.update_mask.paths:
            if path not in _KEPT:
                name = path.rpartition(".")[2]
                raise InvalidArgument(
                    f"Cannot update read-only attribute {name}", reason="HTTP_BAD_REQUEST", field=name
                )
        said = request.segment.meta
        asked = network_pb2.Network(
            spec=network_pb2.NetworkSpec(segment_name=said.name, segment_description=said.description)
        )
        asked.meta.id, asked.meta.etag = network.meta.id, said.etag
        mask = FieldMask(paths=[_KEPT[path] for path in request.update_mask.paths])
        return segment_of(await self._networks.update(asked, mask, caller))

    async def DeleteSegment(self, request: pb.DeleteSegmentRequest, caller: Caller) -> pb.Segment:
        network = self._network(request.id, caller)
        self._policy.enforce(caller, "delete_segment", _target(network))
        raise FailedPrecondition(
            f"Segment '{request.id}' cannot be deleted: it goes with its network {network.meta.id}.",
            reason="SEGMENT_IN_USE",
            network=network.meta.id,
        )

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


def segment_of(network: network_pb2.Network) -> pb.Segment:
    """As a resource of its own."""
    spec = network.spec
    shown = pb.Segment(
        spec=pb.SegmentSpec(
            network_id=network.meta.id,
            network_type=spec.network_type,
            physical_network=spec.physical_network,
            segmentation_id=spec.segmentation_id,
        )
    )
    shown.meta.id, shown.meta.name, shown.meta.description = (
        segment_id(network),
        spec.segment_name,
        spec.segment_description,
    )
    shown.meta.generation, shown.meta.etag = network.meta.generation, network.meta.etag
    shown.meta.create_time.CopyFrom(network.meta.create_time)
    shown.meta.update_time.CopyFrom(network.meta.update_time)
    return shown


def network_of(store: Store, id_: str) -> network_pb2.Network | None:
    """The network that has the segment."""
    return next(iter(store.table(NETWORKS).by("segment", id_)), None)


def missing(id_: str) -> NotFound:
    """What is said of a segment that is not there, or not for the caller."""
    return NotFound(f"Segment {id_} could not be found.", reason="SEGMENT_NOT_FOUND", field="segment_id")


def _target(network: network_pb2.Network) -> dict[str, object]:
    return {"project_id": network.meta.project_id, "tenant_id": network.meta.project_id}
