"""The leader's loop of a server: place it, give it its ports, tell its node, release all when it goes."""

import asyncio
import time
from collections.abc import Iterable
from datetime import timedelta

import structlog

from fabric.compute import instance_action, shelf
from fabric.compute.absence import Absences
from fabric.compute.migration import is_moving
from fabric.compute.move import Moves, place_ports
from fabric.compute.network_view import has_old_addresses
from fabric.compute.nic import Nics
from fabric.compute.node import NODES, lives
from fabric.compute.placing import Placing
from fabric.compute.server import SERVERS, nics_ready
from fabric.compute.shelves import Shelves
from fabric.compute.snapshot import is_under_way
from fabric.compute.snapshots import Snapshots
from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.want import Wants
from fabric.runtime.config import Config
from fabric.runtime.errors import Conflict, FabricError, QuotaExceeded, Unavailable
from fabric.runtime.reconcile import Loop
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store

log = structlog.get_logger(__name__)

_PATIENCE_S = 60.0  # how long a server waits for a node that would fit and is down
_LOOK_AGAIN = timedelta(seconds=1)
_NICS_AT_ONCE = 3  # making them is work for this process and for the nodes: what is to be placed goes before
_PROMISED_S = 60.0  # longer than it can take to make a port


class Lifecycle:
    """Takes one step at a time; each can be repeated, and each is one transaction."""

    def __init__(
        self,
        store: Store,
        config: Config,
        nics: Nics,
        snapshots: Snapshots,
        shelves: Shelves,
        wants: Wants,
        absences: Absences,
    ) -> None:
        self._store = store
        self._nics = nics
        self._snapshots = snapshots
        self._shelves = shelves
        self._placing = Placing(store, config.compute)
        self._wants = wants
        self.nics = Loop("compute-nics", self.reconcile_nics, list, concurrency=_NICS_AT_ONCE)
        self._moves = Moves(store, config.compute, wants, absences, self._placing.choose)

    async def reconcile(self, server_id: str) -> timedelta | None:
        """One step towards what the record says."""
        server = self._store.find(SERVERS, server_id)
        if server is None:
            return None
        structlog.contextvars.bind_contextvars(request_id=server.meta.request_id)
        if server.meta.HasField("delete_time"):
            return await self._remove(server)
        if server.releasing and await self._release_nics(server):
            return timedelta(0)
        if server.promised_ports and await self._break_promises(server):
            return timedelta(0)
        if not server.node:
            rests = server.HasField("fault") or shelf.is_away(server)
            return None if rests else await self._place(server)
        if self._lacks_nics(server):
            self.nics.wake(server_id)
            return None
        if is_moving(server):
            if is_under_way(server) and await self._snapshots.step(server) is None:
                return timedelta(0)
            return await self._moves.step(server)
        if not server.HasField("fault"):
            await self._wants.tell(server)
        if is_under_way(server):
            return await self._snapshots.step(server)
        if shelf.is_put_away(server):
            return await self._shelves.step(server)
        return None

    # -- placing

    async def _place(self, server: pb.Server) -> timedelta | None:
        group_id = server.spec.scheduler_hints.get("group", "")
        if not group_id:
            return await self._place_now(server)
        async with self._store.lock(f"server group {group_id}"):  # each sees where the one before went
            return await self._place_now(server)

    async def _place_now(self, server: pb.Server) -> timedelta | None:
        choice = self._placing.choose(shelf.asked(server))
        for node in choice.nodes:
            placed = copy_of(server)
            try:
                async with self._placing.claim(placed, node) as txn:
                    txn.update(SERVERS, placed)
                    place_ports(self._store, txn, placed)  # those of a server that was shelved
            except QuotaExceeded:  # the node filled up meanwhile
                continue
            return timedelta(0)
        if self._worth_waiting(server):
            if server.waiting != "NODE_DOWN":
                waiting = copy_of(server)
                waiting.waiting = "NODE_DOWN"
                async with self._store.transaction() as txn:
                    txn.update(SERVERS, waiting)
            return _LOOK_AGAIN
        message = f"No valid host was found. {choice.explain()}."
        if shelf.is_put_away(server):
            await self._shelves.refuse(server, message)
        else:
            await self._fail(server, message)
        return None

    def _worth_waiting(self, server: pb.Server) -> bool:
        age_s = time.time() - server.meta.create_time.seconds
        if age_s > _PATIENCE_S:
            return False
        known = {node.meta.name for node in self._store.table(NODES)}
        if not known.issuperset(lives(self._store)):
            return True  # a node has just appeared
        return bool(self._placing.choose(server, as_if_alive=True).nodes)

    # -- ports

    async def reconcile_nics(self, server_id: str) -> timedelta | None:
        """Give it the ports that it lacks; the record that says so wakes the loop of its other steps."""
        async with self._ports(server_id):
            server = self._store.find(SERVERS, server_id)
            if server is None or server.meta.HasField("delete_time") or not server.node:
                return None
            if self._lacks_nics(server):
                structlog.contextvars.bind_contextvars(request_id=server.meta.request_id)
                await self._give_nics(server)
        return None

    def _ports(self, server_id: str) -> asyncio.Lock:
        """None is made anew while it is let go of."""
        return self._store.lock(f"ports of server {server_id}")

    def _lacks_nics(self, server: pb.Server) -> bool:
        return not server.HasField("fault") and not (nics_ready(server) and self._addresses_hold(server))

    def _addresses_hold(self, server: pb.Server) -> bool:
        return is_moving(server) or not has_old_addresses(self._store, server)

    async def _give_nics(self, server: pb.Server) -> None:
        """Bind the ports that are asked for to the node; those that are no longer asked for begin to go."""
        changed = copy_of(server)
        asked = {request.port_id for request in server.spec.networks}
        changed.releasing.extend(nic for nic in server.nics if nic.port_id not in asked)
        made = []
        for request in server.spec.networks:
            try:
                made.append(await self._nics.ensure(server, request))
            except (Unavailable, Conflict):
                raise
            except FabricError as error:
                if server.view.HasField("launch_time"):
                    await self._refuse_nic(server, request, error.message)
                else:
                    await self._fail(server, error.message)
                return
        del changed.nics[:]
        changed.nics.extend(made)
        async with self._store.transaction() as txn:
            txn.update(SERVERS, changed)
            self._wants.put(txn, changed)

    async def _refuse_nic(self, server: pb.Server, request: pb.NicRequest, message: str) -> None:
        """Go on without a port that a server which has run cannot have (any more), and say so beside its request."""
        changed = copy_of(server)
        changed.spec.networks.remove(request)
        kept = [nic for nic in server.nics if nic.port_id != request.port_id]
        del changed.nics[:]
        changed.nics.extend(kept)
        changed.releasing.add(port_id=request.port_id, owned=request.owned)
        async with self._store.transaction() as txn:
            txn.update(SERVERS, changed)
            instance_action.note_last_failure(self._store, txn, server.meta.id, "attach_interface", message)
            self._wants.put(txn, changed)
        log.warning("port refused", server=server.meta.id, port=request.port_id, cause=message)

    async def _release_nics(self, server: pb.Server) -> bool:
        """Let go of the ports that the domain no longer has. True: something changed."""
        held = set(server.status.port_ids)
        free = [nic for nic in server.releasing if nic.port_id not in held]
        if not free:
            return False
        await self._let_go(server.meta.id, free)
        gone = {nic.port_id for nic in free}
        changed = copy_of(server)
        del changed.releasing[:]
        changed.releasing.extend(nic for nic in server.releasing if nic.port_id not in gone)
        async with self._store.transaction() as txn:
            txn.update(SERVERS, changed)
        return True

    async def _let_go(self, server_id: str, nics: Iterable[pb.Nic]) -> None:
        async with self._ports(server_id):
            for nic in nics:
                await self._nics.release(server_id, nic)

    async def _break_promises(self, server: pb.Server) -> bool:
        """Let go of ports whose maker has died, or was refused them. True: something changed."""
        late = [promised for promised in server.promised_ports if _is_late(promised)]
        if not late:
            return False
        changed = copy_of(server)
        kept = [promised for promised in server.promised_ports if promised not in late]
        del changed.promised_ports[:]
        changed.promised_ports.extend(kept)
        changed.releasing.extend(pb.Nic(port_id=promised.port_id, owned=True) for promised in late)
        async with self._store.transaction() as txn:
            txn.update(SERVERS, changed)
        return True

    async def _fail(self, server: pb.Server, message: str) -> None:
        failed = copy_of(server)
        failed.waiting = ""
        failed.fault.code, failed.fault.message = 500, message
        failed.fault.time.GetCurrentTime()
        async with self._store.transaction() as txn:
            txn.update(SERVERS, failed)
        log.warning("server failed", server=server.meta.id, cause=message)

    # -- the end

    async def _remove(self, server: pb.Server) -> timedelta | None:
        # A node that it comes from or goes to, and that is down, lets go when it is back (migration.cleaning).
        alive = lives(self._store)
        holders = [node for node in SERVERS.nodes(server) if node == server.node or node in alive]
        if not await self._wants.let_go(server, holders):
            return None
        if is_under_way(server):
            await self._snapshots.drop(server)
        if shelf.is_put_away(server):
            await self._snapshots.delete_image(server.shelf.image.id)
        # Also those that were made just before a crash, and so are only asked for.
        asked = [pb.Nic(port_id=request.port_id, owned=request.owned) for request in server.spec.networks]
        asked += [pb.Nic(port_id=promised.port_id, owned=True) for promised in server.promised_ports]
        every = {nic.port_id: nic for nic in (*asked, *server.nics, *server.releasing)}
        await self._let_go(server.meta.id, every.values())
        async with self._store.transaction() as txn:
            txn.remove(SERVERS, server)
            for node in holders:
                txn.unwant(SERVERS, node, server.meta.id)
            self._moves.forget(txn, server)
        log.info("server removed", server=server.meta.id, node=server.node)
        return None


def _is_late(promised: pb.PromisedPort) -> bool:
    return time.time() - promised.create_time.seconds > _PROMISED_S
