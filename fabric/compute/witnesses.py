"""The leader's loop that keeps the panel: the nodes that are known longest."""

from datetime import timedelta

import structlog

from fabric.compute.node import NODES, life
from fabric.runtime.panel import SIZE
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store
from fabric.runtime.witness import PANEL
from fabric.type.v1 import witness_pb2

log = structlog.get_logger(__name__)


async def keep(store: Store, node: str) -> timedelta | None:
    """A node is in the panel, with the address that its agent had last, or it is not."""
    known = store.find(PANEL, node)
    alive = life(store, node)
    if node not in members(store):
        if known is not None:
            async with store.transaction() as txn:
                txn.delete(PANEL, known)
            log.info("node left the panel", node=node)
        return None
    if alive is None or (known is not None and known.address == alive.address):
        return None
    witness = witness_pb2.Witness() if known is None else copy_of(known)
    witness.address = alive.address
    async with store.transaction() as txn:
        if known is None:
            witness.meta.id = node
            txn.create(PANEL, witness)
        else:
            txn.update(PANEL, witness)
    log.info("node is in the panel", node=node, address=alive.address)
    return None


def members(store: Store) -> list[str]:
    """Those that belong into it: a dead one is not replaced, or the living could outvote who is cut off."""
    nodes = sorted(store.table(NODES), key=lambda n: (n.meta.create_time.ToNanoseconds(), n.meta.name))
    return [node.meta.name for node in nodes[:SIZE]]
