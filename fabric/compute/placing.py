"""Putting a server on a node: choosing it, and claiming its capacity in the transaction that says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from fabric.compute import placement
from fabric.compute.aggregate import zone
from fabric.compute.candidates import Candidates
from fabric.compute.collection import AGGREGATES
from fabric.compute.demand import demand
from fabric.compute.node import NODES, node_id
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.config import Compute
from fabric.runtime.store import Store, Transaction

log = structlog.get_logger(__name__)


class Placing:
    """What is being placed weighs on its node already, so that what is placed meanwhile goes elsewhere."""

    def __init__(self, store: Store, settings: Compute) -> None:
        self._store = store
        self._settings = settings
        self._candidates = Candidates(store, settings)

    def choose(self, server: pb.Server, *, as_if_alive: bool = False) -> placement.Choice:
        """The nodes that can take it, the best first."""
        candidates = self._candidates.all(as_if_alive=as_if_alive)
        return placement.choose(self._candidates.ask(server), candidates, self._settings)

    @asynccontextmanager
    async def claim(self, server: pb.Server, node: str) -> AsyncIterator[Transaction]:
        """The transaction that is to write the server, which is put on the node. Raises QuotaExceeded: it is full."""
        server.node, server.waiting = node, ""
        server.availability_zone = zone(self._store.table(AGGREGATES), self._store.get(NODES, node_id(node)))
        with self._candidates.promise(node, demand(server)):
            async with self._store.transaction() as txn:
                yield txn
        log.info("server placed", server=server.meta.id, node=node)
