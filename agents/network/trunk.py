"""Keep the trunks whose parents are here: each port with a tag is a device of its own on its network's bridge."""

import contextlib
from collections.abc import Callable
from datetime import timedelta

from agents.network.driver import TrunkDriver
from fabric.network.v1 import trunk_pb2
from fabric.runtime.errors import FabricError, NotFound
from fabric.runtime.node import NodeStore

Status = trunk_pb2.TrunkStatus
Store = NodeStore[trunk_pb2.Trunk, trunk_pb2.TrunkStatus]


class Trunks:
    """Its reconcile function; ports wait for their devices."""

    def __init__(self, store: Store, driver: TrunkDriver, wake_port: Callable[[str], None]) -> None:
        self._store = store
        self._driver = driver
        self._wake_port = wake_port
        self._made: dict[str, tuple[str, dict[str, int]]] = {}  # trunk -> parent and tags

    def has(self, port_id: str) -> bool:
        """Whether the device of a port with a tag is there."""
        return any(port_id in tags for _, tags in self._made.values())

    def of_parent(self, port_id: str) -> list[str]:
        """The trunks whose parent the port is."""
        trunks = ((id_, self._store.get(id_)) for id_ in self._store.ids())
        return [id_ for id_, trunk in trunks if trunk is not None and trunk.spec.port_id == port_id]

    async def reconcile(self, trunk_id: str) -> timedelta | None:
        """The devices of one trunk."""
        trunk = self._store.get(trunk_id)
        parent_id, before = self._made.get(trunk_id, ("", {}))
        if trunk is None or not trunk.spec.admin_state_up:
            if parent_id:
                with contextlib.suppress(NotFound):  # the parent is gone, and its filters with it
                    await self._driver.ensure(parent_id, {})
                await self._driver.remove(before)
                del self._made[trunk_id]
            if trunk is not None:
                await self._report(trunk, Status(state=Status.STATE_DOWN))
            else:
                await self._store.forget(trunk_id)
            return None
        tags = {sub.port_id: sub.segmentation_id for sub in trunk.spec.sub_ports}
        try:
            await self._driver.ensure(trunk.spec.port_id, tags)
            await self._driver.remove(before.keys() - tags.keys())
        except NotFound:
            await self._report(trunk, Status(state=Status.STATE_BUILDING, reason="WAITING_FOR_PORT"))
            return None  # the parent's tap wakes it
        except FabricError as error:
            await self._report(trunk, Status(state=Status.STATE_ERROR, reason=error.reason))
            raise
        self._made[trunk_id] = (trunk.spec.port_id, tags)
        await self._report(trunk, Status(state=Status.STATE_ACTIVE))
        for port_id in tags.keys() - before.keys():
            self._wake_port(port_id)
        return None

    async def _report(self, trunk: trunk_pb2.Trunk, status: Status) -> None:
        status.observed_generation = trunk.meta.generation
        await self._store.report(trunk.meta.id, status)
