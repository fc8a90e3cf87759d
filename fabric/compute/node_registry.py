"""The leader's loop of a compute node: its record and its limits, as its agent last said."""

from datetime import UTC, datetime, timedelta

import structlog

from fabric.compute.aggregate import metadata
from fabric.compute.inventory import capacity, inventories
from fabric.compute.node import NODES, inventory, life, lives, node_id
from fabric.compute.server import capacity_owner
from fabric.compute.v1 import compute_node_pb2
from fabric.runtime.config import Config
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store

log = structlog.get_logger(__name__)


class NodeRegistry:
    """Keeps a record of every node whose compute agent was ever alive."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._config = config

    def names(self) -> set[str]:
        """The nodes that are alive now or ever were."""
        return {*lives(self._store), *(node.meta.name for node in self._store.table(NODES))}

    async def reconcile(self, name: str) -> timedelta | None:
        """Make the record and the limits say what the agent says."""
        alive, record = life(self._store, name), self._store.find(NODES, node_id(name))
        if alive is None:
            await self._note_end(record)
            return None
        found = inventory(alive)
        said = compute_node_pb2.ComputeNode(inventory=found, spec=record.spec if record else None)
        limits = capacity(inventories(said, metadata(self._store).get(name, {}), self._config.compute))
        owner = capacity_owner(name)
        stale = {
            resource: limit
            for resource, limit in limits.items()
            if self._store.quota(owner, resource).limit != limit
        }
        renewed = record is not None and (record.inventory != found or record.HasField("end_time"))
        if record is not None and not renewed and not stale:
            return None
        async with self._store.transaction() as txn:
            for resource, limit in stale.items():
                txn.set_limit(owner, resource, limit)
            if record is None:
                made = compute_node_pb2.ComputeNode(inventory=found)
                made.meta.id, made.meta.name = node_id(name), name
                txn.create(NODES, made)
                log.info("compute node appeared", node=name)
            elif renewed:
                changed = copy_of(record)
                changed.inventory.CopyFrom(found)
                changed.ClearField("end_time")
                txn.update(NODES, changed)
        return None

    async def _note_end(self, record: compute_node_pb2.ComputeNode | None) -> None:
        """When the agent was last alive, for those who ask later."""
        if record is None or record.HasField("end_time"):
            return
        ended = copy_of(record)
        ended.end_time.FromDatetime(datetime.now(UTC))
        async with self._store.transaction() as txn:
            txn.update(NODES, ended)
