"""The story of a resource, from the client to the hypervisor, as etcd and the node's agent tell it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from google.protobuf import json_format

from fabric.ctl.cause import Sight, stands, state, trouble
from fabric.ctl.glance import Glance
from fabric.runtime.client import Clients
from fabric.runtime.config import Config
from fabric.runtime.errors import FabricError
from fabric.runtime.store import Collection
from fabric.runtime.ticket import Signer
from fabric.runtime.tls import identity
from fabric.type.v1 import holding_pb2, holding_pb2_grpc

_ASK_S = 0.4  # a node that takes longer is told of as one that does not answer
_MOST_RECORDS = 10  # of one request
_DEPTH = 2
_REFERENCES = {  # field -> service and collection of what it names
    "port_id": ("network", "ports"),
    "network_id": ("network", "networks"),
    "security_group_ids": ("network", "security_groups"),
    "image": ("image", "images"),
}


class Nodes:
    """Asks agents what they hold of their machines."""

    def __init__(self, config: Config) -> None:
        self._signer = Signer.of(config.controller.master_key_file)
        self._clients = Clients(identity(config.tls))

    async def holdings(self, address: str) -> list[holding_pb2.Holding]:
        """Raises FabricError."""
        request = holding_pb2.ListHoldingsRequest(ticket=self._signer.sign({"may": "sweep"}, lifetime_s=60))
        reply = await self._clients.at(address).call(
            holding_pb2_grpc.HoldingServiceStub, "ListHoldings", request, timeout_s=_ASK_S
        )
        return list(reply.holdings)

    async def close(self) -> None:
        """Close the connections."""
        await self._clients.close()


class Story:
    """Each record once, its cause first, and below it what it names and is in trouble itself."""

    def __init__(self, glance: Glance, nodes: Nodes | None) -> None:
        """nodes None: no agent is asked."""
        self._glance = glance
        self._ask = nodes
        self._told: set[str] = set()
        self._nodes: dict[str, set[str]] = {}
        self._led = True
        self.requests: list[str] = []  # that had to do with it

    async def tell(self, id_: str) -> AsyncIterator[str]:
        """The lines; none: nothing is known of the id."""
        self._nodes, leaders = await self._glance.nodes(), await self._glance.leaders()
        self._led = bool(leaders)
        if id_.startswith("req-"):
            found = [(collection, of) async for collection, of in self._of_request(id_)]
        else:
            found = await self._glance.everywhere(id_)
        for collection, record in found[:_MOST_RECORDS]:
            async for line in self._record(collection, record, 0):
                yield line

    async def _of_request(self, request_id: str) -> AsyncIterator[tuple[Collection[Any], Any]]:
        """What the request has made or changed; a server instead of what was asked of it."""
        for collection, id_ in await self._glance.naming(request_id):
            if collection.name == "instance_actions":
                for pair in await self._glance.everywhere(id_.partition(":")[0]):
                    yield pair
            record = await self._glance.find(collection, id_)
            if record is not None:
                yield collection, record

    async def _record(self, collection: Collection[Any], record: Any, depth: int) -> AsyncIterator[str]:
        if record.meta.id in self._told:
            return
        self._told.add(record.meta.id)
        sight = self._sight(collection, record)
        pad, cause = "  " * depth, trouble(sight)
        how = stands(record)
        yield f"{pad}{collection.noun} {record.meta.id}{_quoted(record.meta.name)}{': ' if how else ''}{how}"
        if cause or not depth:
            yield f"{pad}  cause: {cause or 'nothing is wrong with it'}"
        async for line in self._hops(sight):
            yield f"{pad}  {line}"
        if depth < _DEPTH:
            for other, named in await self._named(record):
                if not depth or trouble(self._sight(other, named)):
                    async for line in self._record(other, named, depth + 1):
                        yield line

    def _sight(self, collection: Collection[Any], record: Any) -> Sight:
        node, id_ = collection.node(record), record.meta.id
        return Sight(
            collection,
            record,
            node,
            self._glance.want(collection, node, id_) if node else None,
            self._glance.seen(collection, node, id_) if node else None,
            frozenset(self._nodes.get(node, ())),
            self._led,
        )

    async def _hops(self, sight: Sight) -> AsyncIterator[str]:
        async for line in self._client(sight):
            yield f"client: {line}"
        for line in _controller(sight):
            yield f"controller: {line}"
        if sight.node and sight.collection.status is not None:
            for line in _agent(sight):
                yield f"node {sight.node}: {line}"
            if self._ask is not None:
                yield f"node {sight.node}: {await self._held(sight)}"

    async def _client(self, sight: Sight) -> AsyncIterator[str]:
        meta = sight.record.meta
        if meta.request_id:
            self.requests.append(meta.request_id)
        for action in await self._actions(sight):
            self.requests.append(action.meta.request_id)
            failed = f", which ended with: {action.message}" if action.message else ""
            yield (
                f"{action.meta.create_time.ToJsonString()} {action.action} by user {action.user_id}, "
                f"request {action.meta.request_id}{failed}"
            )
        if meta.HasField("create_time"):
            by = f", last changed by request {meta.request_id}" if meta.request_id else ""
            yield f"made {meta.create_time.ToJsonString()} in project {meta.project_id or '-'}{by}"

    async def _actions(self, sight: Sight) -> list[Any]:
        """What was asked of a server, the oldest first."""
        if sight.collection.name != "servers":
            return []
        found = await self._glance.below("compute", "instance_actions", f"{sight.record.meta.id}:")
        return sorted(found, key=lambda action: int(action.meta.create_time.ToNanoseconds()))

    async def _held(self, sight: Sight) -> str:
        address = self._glance.addresses().get(sight.node)
        if address is None:
            return "has no live agent that could be asked what it holds"
        assert self._ask is not None
        try:
            held = await self._ask.holdings(address)
        except FabricError as error:
            return f"cannot say what it holds: {error.message}"
        own = [
            f"{h.kind} {h.name}"
            for h in held
            if h.owner_kind == sight.collection.name
            and h.owner_id
            and sight.record.meta.id.startswith(h.owner_id)
        ]
        return f"holds {', '.join(own)}" if own else "holds nothing of it"

    async def _named(self, record: Any) -> list[tuple[Collection[Any], Any]]:
        names = dict.fromkeys(
            _references(json_format.MessageToDict(record, preserving_proto_field_name=True))
        )
        found = [await self._glance.find_named(*_REFERENCES[field], id_) for field, id_ in names]
        return [pair for pair in found if pair is not None]


def _controller(sight: Sight) -> Iterator[str]:
    record, meta = sight.record, sight.record.meta
    fields = record.DESCRIPTOR.fields_by_name
    place = f", on node {sight.node}" if sight.node else (", on no node yet" if "node" in fields else "")
    yield f"generation {meta.generation}{place}"
    if meta.HasField("delete_time"):
        yield f"deleted {meta.delete_time.ToJsonString()}; still held by {', '.join(meta.finalizers) or 'nobody'}"
    if "fault" in fields and record.HasField("fault"):
        yield f"failed {record.fault.time.ToJsonString()}: {record.fault.message}"


def _agent(sight: Sight) -> Iterator[str]:
    alive = ", ".join(sorted(sight.alive))
    yield f"agents alive: {alive}" if alive else "no agent is alive"
    told = "told" if sight.want is not None else "not told of it yet"
    if sight.seen is None:
        yield f"{told}, has not reported"
        return
    seen: Any = sight.seen
    at = f" at {seen.observe_time.ToJsonString()}" if hasattr(seen, "observe_time") else ""
    words = ": ".join(part for part in (getattr(seen, "reason", ""), getattr(seen, "message", "")) if part)
    told_what = f"{told}; reported {state(seen)} of generation {seen.observed_generation}{at}"
    yield told_what + (f": {words}" if words else "")


def _references(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Field and id of what a record, as JSON, names."""
    match value:
        case str() if field in _REFERENCES and value:
            yield field, value
        case {"id": str(id_), **_rest} if field in _REFERENCES:
            yield field, id_
        case dict():
            for name, inner in value.items():
                yield from _references(inner, name)
        case list():
            for inner in value:
                yield from _references(inner, field)


def _quoted(name: str) -> str:
    return f" {name!r}" if name else ""
