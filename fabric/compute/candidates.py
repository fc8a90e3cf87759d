"""The nodes as the scheduler sees them, read from memory; what has not changed is not looked at again."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fabric.compute.aggregate import metadata, zone
from fabric.compute.candidate import Ask, Candidate
from fabric.compute.collection import AGGREGATES, SERVER_GROUPS
from fabric.compute.inventory import capacity, inventories
from fabric.compute.network_view import cut_off
from fabric.compute.node import NODES, allocated, life
from fabric.compute.server import SERVERS, capacity_owner
from fabric.compute.trait import traits
from fabric.compute.v1 import aggregate_pb2, compute_node_pb2
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.config import Compute
from fabric.runtime.store import Store

_HOST_HINTS = ("same_host", "different_host")


_State = tuple[bool, int, int, int, int, Mapping[str, int]]


@dataclass(frozen=True)
class _Seen:
    """What a candidate was made of."""

    record: compute_node_pb2.ComputeNode
    state: _State
    candidate: Candidate


class Candidates:
    """Remembers each node's candidate until one of the things that it was made of is another."""

    def __init__(self, store: Store, settings: Compute) -> None:
        self._store = store
        self._settings = settings
        self._seen: dict[str, _Seen] = {}
        self._aggregates: list[aggregate_pb2.Aggregate] = []
        self._metadata: Mapping[str, Mapping[str, frozenset[str]]] = {}
        self._aggregates_version = -1
        self._promised: dict[str, dict[str, int]] = {}

    def ask(self, server: pb.Server) -> Ask:
        """The server with what the cloud knows of its group and its hints."""
        servers, hints = self._store.table(SERVERS), server.spec.scheduler_hints
        group_id = hints.get("group", "")
        group = self._store.find(SERVER_GROUPS, group_id) if group_id else None
        named = [id_ for hint in _HOST_HINTS for id_ in hints.get(hint, "").split(",") if id_]
        found = {id_: servers.get(id_) for id_ in named}
        return Ask(
            server,
            group.spec if group is not None else None,
            Counter(m.node for m in servers.by("group", group_id) if m.node) if group is not None else {},
            {id_: other.node for id_, other in found.items() if other is not None and other.node},
            cut_off(self._store, server),
        )

    def all(self, *, as_if_alive: bool = False) -> list[Candidate]:
        """Every node that was ever seen."""
        self._read_aggregates()
        found = [self._candidate(node) for node in self._store.table(NODES)]
        if len(self._seen) > len(found):
            self._seen = {node.name: self._seen[node.name] for node in found}
        return [replace(node, alive=True) for node in found] if as_if_alive else found

    @contextmanager
    def promise(self, node: str, demand: Mapping[str, int]) -> Iterator[None]:
        """Meanwhile the node weighs as if it had given this already, so that the next one goes elsewhere."""
        self._promise(node, demand, 1)
        try:
            yield
        finally:
            self._promise(node, demand, -1)

    def _promise(self, node: str, demand: Mapping[str, int], sign: int) -> None:
        promised = Counter(self._promised.get(node, {}))
        promised.update({name: sign * amount for name, amount in demand.items()})
        self._promised[node] = +promised  # another one: what is made of it is compared by what it is

    def _read_aggregates(self) -> None:
        table = self._store.table(AGGREGATES)
        if table.version != self._aggregates_version:
            self._aggregates_version = table.version
            self._aggregates = list(table)
            self._metadata = metadata(self._store)
            self._seen.clear()

    def _candidate(self, record: compute_node_pb2.ComputeNode) -> Candidate:
        name = record.meta.name
        servers = self._store.table(SERVERS)
        state = (
            life(self._store, name) is not None and not record.spec.forced_down,
            servers.count("node", name),
            servers.count("building", name),
            servers.count("failed", name),
            self._store.quotas(capacity_owner(name)).version,
            self._promised.get(name, {}),
        )
        seen = self._seen.get(name)
        if seen is None or seen.record is not record or seen.state != state:
            seen = self._seen[name] = _Seen(record, state, self._made(record, state))
        return seen.candidate

    def _made(self, record: compute_node_pb2.ComputeNode, state: _State) -> Candidate:
        said = self._metadata.get(record.meta.name, {})
        alive, servers, building, failed, _, promised = state
        return Candidate(
            name=record.meta.name,
            alive=alive,
            enabled=not record.spec.disabled,
            zone=zone(self._aggregates, record),
            capacity=capacity(inventories(record, said, self._settings)),
            allocated=allocated(self._store, record.meta.name),
            promised=promised,
            metadata=said,
            traits=traits(record),
            inventory=record.inventory,
            servers=servers,
            building=building,
            failed=failed,
        )
