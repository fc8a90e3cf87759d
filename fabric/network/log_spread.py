"""The leader's loop that tells nodes of the logs of their ports."""

from datetime import timedelta

from fabric.network.collection import LOGS, PORTS, SECURITY_GROUPS, marked
from fabric.network.following import following
from fabric.network.packet_log import covers
from fabric.network.record import plain
from fabric.network.telling import Telling
from fabric.network.v1 import log_pb2 as pb
from fabric.network.v1 import port_pb2
from fabric.runtime.reconcile import Loop
from fabric.runtime.store import Store


class LogSpread:
    """One term of leadership. Wakes by what logs and ports say."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._telling = Telling(store, LOGS)
        self._loop = Loop("network.logs", self.reconcile, self._ids)
        self._ports: dict[str, tuple[str, frozenset[str], frozenset[str]]] = {}  # project, groups, nodes

    async def run(self) -> None:
        with following(self._store, (LOGS, self._loop.wake), (PORTS, self._port_changed)):
            await self._loop.run()

    async def reconcile(self, log_id: str) -> timedelta | None:
        """The log on each node that has a port which it is of; none, when what it is of is gone."""
        log = self._store.find(LOGS, log_id)
        if log is not None and self._is_over(log):
            async with self._store.transaction() as txn:
                txn.remove(LOGS, log)
            log = None
        wants = dict.fromkeys(self._nodes(log), plain(log)) if log is not None else {}
        await self._telling.tell(log_id, wants)
        return None

    def _is_over(self, log: pb.Log) -> bool:
        groups, ports = self._store.table(SECURITY_GROUPS), self._store.table(PORTS)
        group_gone = bool(log.spec.resource_id) and groups.get(log.spec.resource_id) is None
        return group_gone or (bool(log.spec.target_id) and ports.get(log.spec.target_id) is None)

    def _nodes(self, log: pb.Log) -> set[str]:
        ports, spec = self._store.table(PORTS), log.spec
        if spec.target_id:
            found = [port for port in [ports.get(spec.target_id)] if port is not None]
        elif spec.resource_id:
            found = ports.by("group", spec.resource_id)
        else:
            found = ports.by("project", log.meta.project_id)
        return {node for port in found if not marked(port) and covers(log, port) for node in _nodes(port)}

    def _ids(self) -> set[str]:
        return {*self._store.table(LOGS).ids(), *self._telling.ids()}

    def _port_changed(self, port_id: str) -> None:
        port = self._store.find(PORTS, port_id)
        old, new = self._ports.pop(port_id, None), None
        if port is not None and not marked(port):
            groups = frozenset(port.spec.security_group_ids if port.spec.port_security_enabled else ())
            new = self._ports[port_id] = (port.meta.project_id, groups, _nodes(port))
        if old == new:
            return
        logs = self._store.table(LOGS)
        places = [place for place in (old, new) if place is not None]
        for owner in {port_id, *(id_ for place in places for id_ in place[1])}:
            for log in logs.by("of", owner):
                self._loop.wake(log.meta.id)
        for project_id in {place[0] for place in places}:
            for log in logs.by("project", project_id):
                self._loop.wake(log.meta.id)


def _nodes(port: port_pb2.Port) -> frozenset[str]:
    return frozenset({port.spec.node, port.spec.target_node} - {""})
