"""The leader's loop that keeps trunks, and the ports that carry tags on them, on the node of their parent."""

from datetime import timedelta

from fabric.network.binding import bind
from fabric.network.collection import PORTS, TRUNKS, marked
from fabric.network.following import following
from fabric.runtime.reconcile import Loop
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store


class TrunkSpread:
    """One term of leadership. Wakes by what trunks and their ports say."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = Loop("network.trunks", self.reconcile, self._store.table(TRUNKS).ids)

    async def run(self) -> None:
        with following(self._store, (TRUNKS, self._loop.wake), (PORTS, self._port_changed)):
            await self._loop.run()

    async def reconcile(self, trunk_id: str) -> timedelta | None:
        """All of it in one transaction, or nothing where nothing differs."""
        trunk = self._store.find(TRUNKS, trunk_id)
        if trunk is None:
            return None
        parent = self._store.find(PORTS, trunk.spec.port_id)
        node = parent.spec.node if parent is not None and not marked(parent) else ""
        async with self._store.transaction() as txn:
            if trunk.node != node:
                moved = copy_of(trunk)
                moved.node = node
                txn.update(TRUNKS, moved)
            for sub in trunk.spec.sub_ports:
                port = self._store.find(PORTS, sub.port_id)
                if port is not None and not marked(port) and port.spec.node != node:
                    bound = copy_of(port)
                    bound.spec.node = node
                    bind(bound, port)
                    txn.update(PORTS, bound)
        return None

    def _port_changed(self, port_id: str) -> None:
        trunk_id = self._store.owner(TRUNKS, "port", port_id)
        if trunk_id:
            self._loop.wake(trunk_id)
