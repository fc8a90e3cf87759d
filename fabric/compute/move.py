"""The leader's steps of a server that migrates; each is one transaction over all that moves with it."""

import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from fabric.compute import guest_password
from fabric.compute import migration as rules
from fabric.compute.absence import Absences
from fabric.compute.aggregate import zones
from fabric.compute.instance_action import note_failure
from fabric.compute.migration import MIGRATIONS, Side, Step
from fabric.compute.node import NODES, inventory, lives, node_id
from fabric.compute.placement import Choice, Removal
from fabric.compute.server import SERVERS
from fabric.compute.v1 import migration_pb2
from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.want import Wants
from fabric.runtime.config import Compute
from fabric.runtime.errors import QuotaExceeded
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction

log = structlog.get_logger(__name__)

_AGAIN = timedelta(0)
# for what only time brings: a node that is lost, a confirmation that is due
_LOOK_AGAIN = timedelta(seconds=1)
_NODES_AWAY = {
    "source": "the node that it leaves is down",
    "target": "the node that it goes to is down",
}


class Moves:
    """What changes with the server's node changes with it or not at all: capacity, ports, wants, the migration."""

    def __init__(
        self,
        store: Store,
        settings: Compute,
        wants: Wants,
        absences: Absences,
        choose: Callable[[pb.Server], Choice],
    ) -> None:
        """choose: the nodes that could take a server."""
        self._store = store
        self._settings = settings
        self._wants = wants
        self._absences = absences
        self._choose_among = choose

    async def step(self, server: pb.Server) -> timedelta | None:
        """One step of its migration."""
        source, target = self._side(server, server.move.source), self._side(server, server.move.target)
        step = rules.next_step(server, source, target)
        if step is Step.WAIT:
            return await self._wait(server)
        log.info(
            "migration step",
            server=server.meta.id,
            migration=server.move.migration_id,
            step=step.name,
            phase=migration_pb2.MigrationState.Name(server.move.phase),
        )
        if step is Step.CHOOSE:
            return await self._choose(server)
        changed = copy_of(server)
        record = copy_of(self._store.get(MIGRATIONS, server.move.migration_id))
        leaves = ""
        match step:
            case Step.SEND:
                changed.move.phase = rules.RUNNING
            case Step.FLIP:
                leaves = self._flip(changed)
            case Step.FINISH:
                self._finish(changed)
            case Step.CONFIRM:
                leaves = "" if rules.stays(changed.move) else changed.move.source
                self._end(changed, rules.CONFIRMED)
            case Step.REVERT:
                leaves = self._revert(changed)
            case Step.ABORT:
                changed.move.phase = rules.ABORTING
                changed.move.message = changed.move.message or _why(source, target)
            case Step.END:
                leaves = self._give_up(changed)
        await self._commit(server, changed, record, leaves)
        return _AGAIN

    async def _wait(self, server: pb.Server) -> timedelta | None:
        await self._wants.tell(server)
        move = server.move
        if move.phase == rules.FINISHED:
            return await self._confirm_when_due(server)
        away = [node for node in (move.source, move.target) if node and node not in lives(self._store)]
        return _LOOK_AGAIN if away else None

    async def _confirm_when_due(self, server: pb.Server) -> timedelta | None:
        limit_s = self._settings.resize_confirm_s
        record = self._store.get(MIGRATIONS, server.move.migration_id)
        if not limit_s:
            return None
        left_s = record.meta.update_time.seconds + limit_s - time.time()
        if left_s > 0:
            return timedelta(seconds=left_s)
        changed = copy_of(server)
        changed.move.phase = rules.CONFIRMING
        await self._commit(server, changed, copy_of(record))
        return _AGAIN

    # -- a target

    async def _choose(self, server: pb.Server) -> timedelta | None:
        record = self._store.get(MIGRATIONS, server.move.migration_id)
        ask = rules.with_other_flavor(server)
        ask.spec.forced_node, ask.spec.requested_node = "", record.asked_node
        fit = self._choose_among(ask)
        choice = self._eligible(server, record, fit)
        for node in choice.nodes:
            changed, noted = copy_of(server), copy_of(record)
            changed.move.target, changed.move.phase = node, rules.PREPARING
            noted.message = ""
            try:
                await self._commit(server, changed, noted)
            except QuotaExceeded:  # the node filled up meanwhile
                continue
            return _AGAIN
        message = f"No valid host was found. {choice.explain()}."
        soon = self._letting_go(server) & set(fit.nodes) & set(lives(self._store))
        if soon or server.move.kind == rules.EVACUATION:
            await self._note(record, message)
            return _LOOK_AGAIN
        changed, noted = copy_of(server), copy_of(record)
        changed.move.message = message
        await self._commit(server, changed, noted, self._give_up(changed))
        return _AGAIN

    def _eligible(self, server: pb.Server, record: migration_pb2.Migration, fit: Choice) -> Choice:
        """Without its own node, those that have yet to let go of it, and those that take no running guests."""
        why: dict[str, str] = {}
        if server.move.kind == rules.LIVE:
            alive = lives(self._store)
            deaf = [n for n in fit.nodes if n not in alive or not inventory(alive[n]).migration_address]
            why = dict.fromkeys(deaf, "it takes no running servers: [compute] migration_listen")
        why |= dict.fromkeys(self._letting_go(server), "it has yet to let go of the server")
        why[server.node] = "the server is there"
        found = [node for node in fit.nodes if node not in why]
        may_stay = server.move.kind == rules.RESIZE and self._settings.resize_on_same_node
        if may_stay and record.asked_node in ("", server.node):
            found.append(server.node)
        removals = [Removal("Migration", node, why[node]) for node in fit.nodes if node in why]
        return Choice(found, [*fit.removals, *removals])

    def _letting_go(self, server: pb.Server) -> set[str]:
        """The nodes that still hold what they had of it before an earlier migration."""
        others = self._store.table(MIGRATIONS).by("server_id", server.meta.id)
        return {other.cleaning for other in others} - {""}

    async def _note(self, record: migration_pb2.Migration, message: str) -> None:
        if record.message != message:
            noted = copy_of(record)
            noted.message = message
            async with self._store.transaction() as txn:
                txn.update(MIGRATIONS, noted)

    # -- what the steps make of the server; each returns the node that it leaves for good

    def _flip(self, server: pb.Server) -> str:
        move = server.move
        move.phase = rules.POST_MIGRATING
        if move.kind in rules.TO_BE_CONFIRMED:
            rules.swap_flavors(server)
            rules.ask_for_power(server)
        if rules.stays(move):
            return ""
        server.whole_disk = server.whole_disk and move.kind != rules.EVACUATION
        self._go(server, move.target)
        return move.source if move.kind not in rules.TO_BE_CONFIRMED else ""

    def _finish(self, server: pb.Server) -> None:
        if server.move.kind in rules.TO_BE_CONFIRMED:
            server.move.phase = rules.FINISHED
        else:
            done = rules.DONE if server.move.kind == rules.EVACUATION else rules.COMPLETED
            self._end(server, done)

    def _revert(self, server: pb.Server) -> str:
        move = server.move
        leaves = "" if rules.stays(move) else move.target
        rules.swap_flavors(server)
        rules.ask_for_power(server)
        self._go(server, move.source)
        self._end(server, rules.REVERTED)
        return leaves

    def _give_up(self, server: pb.Server) -> str:
        move = server.move
        over_there = rules.is_over_there(move)
        leaves = "" if rules.stays(move) or over_there else move.target
        if move.kind in rules.TO_BE_CONFIRMED:
            rules.ask_for_power(server)
        self._end(server, rules.ERROR if move.message or over_there else rules.CANCELLED)
        return leaves

    def _end(self, server: pb.Server, state: "migration_pb2.MigrationState.ValueType") -> None:
        """It is on its way no more; the phase is what the migration ended as, until it is written."""
        server.move.phase = state

    def _go(self, server: pb.Server, node: str) -> None:
        server.guest_password = guest_password.left(server, server.status)
        server.node = node
        server.availability_zone = zones(self._store).get(node, "")

    def forget(self, txn: Transaction, server: pb.Server) -> None:
        """In the transaction that removes the server: what its migrations still wait for."""
        move = server.move
        for record in self._store.table(MIGRATIONS).by("server_id", server.meta.id):
            changed = copy_of(record)
            if record.meta.id == move.migration_id:
                changed.state = rules.CONFIRMED if move.phase == rules.FINISHED else rules.CANCELLED
                changed.message = "The server was deleted."
                down = [n for n in SERVERS.nodes(server) if n != server.node and n not in lives(self._store)]
                changed.cleaning = changed.cleaning or "".join(down)
            if changed.cleaning and self._wants.dismissed(txn, server.meta.id, changed.cleaning):
                changed.cleaning = ""
            if changed != record:
                txn.update(MIGRATIONS, changed)

    # -- writing

    async def _commit(
        self, old: pb.Server, server: pb.Server, record: migration_pb2.Migration, leaves: str = ""
    ) -> None:
        """All of it at one revision. leaves: a node that is told to let go of what it holds."""
        record.state, record.target = server.move.phase, server.move.target
        record.message = server.move.message or record.message
        if server.move.phase in rules.OVER:
            server.ClearField("move")
        async with self._store.transaction() as txn:
            txn.update(SERVERS, server)
            place_ports(self._store, txn, server)
            self._wants.put(txn, server)
            if leaves and self._wants.dismiss(txn, server, leaves):
                record.cleaning = leaves
            txn.update(MIGRATIONS, record)
            if record.state == rules.ERROR:
                asked_by = record.meta.request_id
                note_failure(self._store, txn, record.server_id, asked_by, record.message)
        if old.node != server.node:
            log.info("server moved", server=server.meta.id, source=old.node, node=server.node)

    def _side(self, server: pb.Server, node: str) -> Side:
        status = self._store.table(SERVERS).reported(server.meta.id).get(node)
        known = self._store.find(NODES, node_id(node))
        return Side(
            alive=node in lives(self._store),
            lost=bool(node) and self._absences.is_lost(node),
            condemned=known is not None and known.spec.forced_down,
            status=status if isinstance(status, pb.ServerStatus) else pb.ServerStatus(),
        )


def place_ports(store: Store, txn: Transaction, server: pb.Server) -> None:
    """Where the server is. They are the network service's; how one is placed, its collection says."""
    ports = store.collection("network", "ports")
    if ports is None:
        return
    comes_to = rules.ports_go_to(server)
    for nic in server.nics:
        port = store.find(ports, nic.port_id)
        if port is not None and ports.nodes(port) != {server.node, comes_to} - {""}:
            txn.place(ports, port, server.node, comes_to)


async def clean(store: Store, wants: Wants, migration_id: str) -> timedelta | None:
    """The node that a server has left has let go of it: the migration has nothing more to do."""
    record = store.find(MIGRATIONS, migration_id)
    if record is None or not record.cleaning:
        return None
    server = store.find(SERVERS, record.server_id)
    if server is not None and record.cleaning in SERVERS.nodes(server):
        return None
    done = copy_of(record)
    async with store.transaction() as txn:
        if not wants.dismissed(txn, record.server_id, record.cleaning):
            return None
        done.cleaning = ""
        if done.state == rules.DONE:
            done.state = rules.COMPLETED
        txn.update(MIGRATIONS, done)
    return None


def _why(source: Side, target: Side) -> str:
    for side in (source, target):
        if side.status.transfer.message:
            return side.status.transfer.message
    return _NODES_AWAY["source" if not source.alive else "target"]
