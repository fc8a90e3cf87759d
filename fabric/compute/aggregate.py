"""Aggregates: groups of nodes for operators; those with an availability zone make the zone."""

from collections.abc import Iterable, Mapping

from fabric.compute.collection import AGGREGATES
from fabric.compute.node import NODES
from fabric.compute.server import SERVERS
from fabric.compute.v1 import aggregate_pb2 as pb
from fabric.compute.v1 import compute_node_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.resource import Resource
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Query

_API = "os_compute_api:os-aggregates"
_TRIES = 8


def zones(store: Store) -> Mapping[str, str]:
    """The availability zone of each node."""
    aggregates = list(store.table(AGGREGATES))
    return {node.meta.name: zone(aggregates, node) for node in store.table(NODES)}


def zone(aggregates: Iterable[pb.Aggregate], node: compute_node_pb2.ComputeNode) -> str:
    """The availability zone of a node: of its aggregate, else as its agent says."""
    name = node.meta.name
    made = (a.spec.availability_zone for a in aggregates if a.spec.availability_zone and name in a.spec.nodes)
    return next(made, node.inventory.availability_zone)


def metadata(store: Store) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """What the aggregates of each node say, by node and key; a value may name several, with commas."""
    found: dict[str, dict[str, frozenset[str]]] = {}
    for aggregate in store.table(AGGREGATES):
        said = {
            key: frozenset(part.strip() for part in text.split(","))
            for key, text in aggregate.spec.metadata.items()
        }
        for name in aggregate.spec.nodes:
            of_node = found.setdefault(name, {})
            for key, values in said.items():
                of_node[key] = of_node.get(key, frozenset()) | values
    return found


class Aggregates(Resource[pb.Aggregate]):
    """Administrators' own; meta.id is the number that the service gives."""

    collection = AGGREGATES
    hidden = False
    policies = {
        "create": f"{_API}:create",
        "get": f"{_API}:show",
        "list": f"{_API}:index",
        "update": f"{_API}:update",
        "delete": f"{_API}:delete",
    }

    def own(self, caller: Caller, new: pb.Aggregate) -> None:
        """It is nobody's."""

    def visible(self, caller: Caller, message: pb.Aggregate) -> bool:
        """To whoever may see any."""
        return self.policy.allows(caller, self.policies["get"], {})

    def find(self, id_: str, caller: Caller) -> pb.Aggregate:
        """Who may not see it is forbidden to, whether it exists or not."""
        self.policy.enforce(caller, self.policies["get"], {})
        return super().find(id_, caller)

    def candidates(self, caller: Caller, asked: Query) -> list[pb.Aggregate]:
        """All of them."""
        return list(self.store.table(AGGREGATES))

    async def create(self, message: pb.Aggregate, caller: Caller) -> pb.Aggregate:
        """The number may be taken by somebody who is faster."""
        for attempt in range(_TRIES):
            try:
                return await super().create(message, caller)
            except AlreadyExists as error:
                if error.facts.get("index") != "id" or attempt + 1 == _TRIES:
                    raise
        raise AssertionError

    def accept(self, caller: Caller, new: pb.Aggregate, old: pb.Aggregate | None, txn: Transaction) -> None:
        """Nodes exist, and are in one availability zone."""
        if not 0 < len(new.meta.name.strip()) <= 255:
            raise InvalidArgument("An aggregate's name has 1 to 255 characters.", field="name")
        if len(new.spec.availability_zone) > 255 or ":" in new.spec.availability_zone:
            raise InvalidArgument(
                "The name of the availability zone is not usable.", field="availability_zone"
            )
        if old is None:
            new.spec.number = 1 + max((a.spec.number for a in self.store.table(AGGREGATES)), default=0)
            new.meta.id = str(new.spec.number)
        known = {node.meta.name for node in self.store.table(NODES)}
        for name in new.spec.nodes:
            if name not in known and (old is None or name not in old.spec.nodes):
                raise NotFound(f"Compute host {name} could not be found.", reason="COMPUTE_HOST_NOT_FOUND")
        if len(set(new.spec.nodes)) < len(new.spec.nodes):
            raise FailedPrecondition("The host is in the aggregate.", reason="AGGREGATE_HOST_EXISTS")
        if new.spec.availability_zone:
            self._check_zones(new)
        self._check_servers(new, old)

    def _check_zones(self, new: pb.Aggregate) -> None:
        for other in self.store.table(AGGREGATES):
            if other.meta.id == new.meta.id or not other.spec.availability_zone:
                continue
            if other.spec.availability_zone == new.spec.availability_zone:
                continue
            both = set(other.spec.nodes) & set(new.spec.nodes)
            if both:
                raise FailedPrecondition(
                    f"{min(both)} is in the availability zone {other.spec.availability_zone}.",
                    reason="INVALID_AGGREGATE_ACTION",
                )

    def _check_servers(self, new: pb.Aggregate, old: pb.Aggregate | None) -> None:
        before, after = _zoned(old), _zoned(new)
        moved = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        now = zones(self.store)
        for name in sorted(moved):
            if after.get(name) == now.get(name):
                continue
            if self.store.table(SERVERS).count("node", name):
                raise FailedPrecondition(
                    f"The availability zone of {name} cannot change: there are servers on it.",
                    reason="INVALID_AGGREGATE_ACTION",
                )

    def check_delete(self, caller: Caller, old: pb.Aggregate, txn: Transaction) -> None:
        """Only an empty one."""
        if old.spec.nodes:
            raise InvalidArgument(
                f"Cannot remove aggregate {old.meta.id}: it is not empty.", reason="AGGREGATE_NOT_EMPTY"
            )


def _zoned(aggregate: pb.Aggregate | None) -> dict[str, str]:
    if aggregate is None or not aggregate.spec.availability_zone:
        return {}
    return dict.fromkeys(aggregate.spec.nodes, aggregate.spec.availability_zone)
