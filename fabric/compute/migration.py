"""What a migration is and what to do next about it: which node is told what, who has won. No I/O, no clock."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from fabric.compute.v1 import migration_pb2 as pb
from fabric.compute.v1 import server_pb2
from fabric.runtime.collection import copy_of
from fabric.runtime.store import Collection

MIGRATIONS = Collection(
    service="compute",
    name="migrations",
    message=pb.Migration,
    indexes={
        "server_id": lambda migration: (migration.server_id,),
        "cleaning": lambda migration: (migration.cleaning,) if migration.cleaning else (),
    },
    output_only=("progress",),
)

Transfer, Seen, Power = server_pb2.Transfer, server_pb2.TransferStatus, server_pb2.ServerSpec
LIVE, COLD = pb.MIGRATION_KIND_LIVE, pb.MIGRATION_KIND_COLD
RESIZE, EVACUATION = pb.MIGRATION_KIND_RESIZE, pb.MIGRATION_KIND_EVACUATION
ACCEPTED, PREPARING = pb.MIGRATION_STATE_ACCEPTED, pb.MIGRATION_STATE_PREPARING
RUNNING, POST_MIGRATING = pb.MIGRATION_STATE_RUNNING, pb.MIGRATION_STATE_POST_MIGRATING
FINISHED, DONE, COMPLETED = (
    pb.MIGRATION_STATE_FINISHED,
    pb.MIGRATION_STATE_DONE,
    pb.MIGRATION_STATE_COMPLETED,
)
CONFIRMING, CONFIRMED = pb.MIGRATION_STATE_CONFIRMING, pb.MIGRATION_STATE_CONFIRMED
REVERTING, REVERTED = pb.MIGRATION_STATE_REVERTING, pb.MIGRATION_STATE_REVERTED
ABORTING, CANCELLED, ERROR = (
    pb.MIGRATION_STATE_ABORTING,
    pb.MIGRATION_STATE_CANCELLED,
    pb.MIGRATION_STATE_ERROR,
)
OVER = frozenset({CONFIRMED, REVERTED, CANCELLED, COMPLETED, ERROR, DONE})
TO_BE_CONFIRMED = frozenset({COLD, RESIZE})


class Step(enum.Enum):
    """One transaction each, but for WAIT."""

    WAIT = enum.auto()
    CHOOSE = enum.auto()  # a target, and claim its capacity
    SEND = enum.auto()  # the target is ready: the source may begin
    FLIP = enum.auto()  # the server is the target's from now on
    FINISH = enum.auto()  # it is there as asked: wait for the confirmation, or all is done
    CONFIRM = enum.auto()  # the source lets go
    REVERT = enum.auto()  # the server is the source's again
    ABORT = enum.auto()  # give up, unless it turns out that the server is there
    END = enum.auto()  # it has been given up


@dataclass(frozen=True)
class Side:
    """A node of the migration, as the controller sees it."""

    alive: bool  # its agent has its lease
    lost: bool = False  # it has had none for so long that what is fenced there is off
    condemned: bool = False  # an operator says that it is down
    status: server_pb2.ServerStatus = field(default_factory=server_pb2.ServerStatus)  # its last report


def is_moving(server: server_pb2.Server) -> bool:
    """Whether a migration of it goes on or waits to be confirmed."""
    return bool(server.move.migration_id)


def is_over_there(move: server_pb2.Move) -> bool:
    """Whether the server is the target's already."""
    return move.phase in (POST_MIGRATING, FINISHED, CONFIRMING, REVERTING)


def stays(move: server_pb2.Move) -> bool:
    """A resize within the node."""
    return bool(move.target) and move.source == move.target


def next_step(server: server_pb2.Server, source: Side, target: Side) -> Step:
    """The one step that brings the migration closer to its end, from what both nodes say."""
    match server.move.kind:
        case pb.MIGRATION_KIND_LIVE:
            return _live(server, source, target)
        case pb.MIGRATION_KIND_EVACUATION:
            return _evacuation(server, source, target)
    return _cold(server, source, target)


def _live(server: server_pb2.Server, source: Side, target: Side) -> Step:
    move = server.move
    here, there = _seen(move, source), _seen(move, target)
    arrived = there == Seen.STATE_ARRIVED or here == Seen.STATE_SENT
    match move.phase:
        case pb.MIGRATION_STATE_ACCEPTED:
            return Step.CHOOSE if source.alive else Step.END
        case pb.MIGRATION_STATE_PREPARING:
            if there == Seen.STATE_FAILED or not (source.alive and target.alive):
                return Step.ABORT
            return Step.SEND if there == Seen.STATE_PREPARED else Step.WAIT
        case pb.MIGRATION_STATE_RUNNING:
            if arrived:
                return Step.FLIP
            failed = Seen.STATE_FAILED in (here, there) or source.lost
            return Step.ABORT if failed else Step.WAIT
        case pb.MIGRATION_STATE_ABORTING:
            if arrived:
                return Step.FLIP
            # A guest that the source has kept cannot run on the target, and one that the target has not, not there.
            kept, gone = here == Seen.STATE_KEPT, target.status.released
            ended = (gone and (kept or not source.alive)) or (kept and not target.alive)
            return Step.END if ended else Step.WAIT
        case pb.MIGRATION_STATE_POST_MIGRATING:
            return Step.FINISH if _is_settled(server, target) or not target.alive else Step.WAIT
    return Step.WAIT


def _cold(server: server_pb2.Server, source: Side, target: Side) -> Step:
    move = server.move
    there = _seen(move, target)
    match move.phase:
        case pb.MIGRATION_STATE_ACCEPTED:
            return Step.CHOOSE if source.alive else Step.END
        case pb.MIGRATION_STATE_PREPARING:
            if not (source.alive and target.alive):
                return Step.ABORT
            if not _is_off(server, source):
                return Step.WAIT
            return Step.FLIP if stays(move) else Step.SEND
        case pb.MIGRATION_STATE_RUNNING:
            if there == Seen.STATE_FAILED or source.lost or not target.alive:
                return Step.ABORT
            return Step.FLIP if there == Seen.STATE_PREPARED else Step.WAIT
        case pb.MIGRATION_STATE_POST_MIGRATING:
            return Step.FINISH if _is_settled(server, target) else Step.WAIT
        case pb.MIGRATION_STATE_CONFIRMING:
            return Step.CONFIRM
        case pb.MIGRATION_STATE_REVERTING:
            gone = _is_off(server, target) if stays(move) else target.status.released or target.lost
            return Step.REVERT if gone else Step.WAIT
        case pb.MIGRATION_STATE_ABORTING:
            gone = stays(move) or target.status.released or not target.alive  # it has never run there
            return Step.END if gone else Step.WAIT
    return Step.WAIT


def _evacuation(server: server_pb2.Server, source: Side, target: Side) -> Step:
    match server.move.phase:
        case pb.MIGRATION_STATE_ACCEPTED:
            if source.alive and not source.condemned:
                return Step.END  # it came back
            return Step.CHOOSE if source.alive or source.lost else Step.WAIT
        case pb.MIGRATION_STATE_PREPARING:
            if not target.alive:
                return Step.CHOOSE  # another one
            gone = source.status.released if source.alive else source.lost
            return Step.FLIP if gone else Step.WAIT
        case pb.MIGRATION_STATE_POST_MIGRATING:
            if target.lost:
                return Step.END
            return Step.FINISH if _is_settled(server, target) else Step.WAIT
    return Step.WAIT


def _seen(move: server_pb2.Move, side: Side) -> "server_pb2.TransferStatus.State.ValueType":
    transfer = side.status.transfer
    return transfer.state if transfer.migration_id == move.migration_id else Seen.STATE_UNSPECIFIED


def _is_settled(server: server_pb2.Server, side: Side) -> bool:
    return side.status.observed_generation >= server.meta.generation and not side.status.released


def _is_off(server: server_pb2.Server, side: Side) -> bool:
    return _is_settled(server, side) and side.status.state == server_pb2.ServerStatus.STATE_STOPPED


def other_node(server: server_pb2.Server) -> str:
    """The node that is charged for what it is on the other side; empty: none."""
    move = server.move
    if not is_over_there(move):
        return move.target
    return move.source if move.kind in TO_BE_CONFIRMED else ""


# -- what the nodes are told


def told(server: server_pb2.Server) -> Mapping[str, server_pb2.ServerWant]:
    """What each of its nodes must make true; addresses, tickets and the image's source are filled in later.

    The node that it has left for good is told in the transaction that takes it from there.
    """
    move = server.move
    if not move.target:
        return {server.node: server_pb2.ServerWant(server=server)}
    if move.kind == LIVE:
        return _told_live(server)
    if move.kind == EVACUATION:
        there = server if is_over_there(move) else removed(server)  # should the source be alive
        return {server.node: server_pb2.ServerWant(server=there)}
    return _told_cold(server)


def _told_live(server: server_pb2.Server) -> Mapping[str, server_pb2.ServerWant]:
    move = server.move
    if is_over_there(move):
        return {move.target: server_pb2.ServerWant(server=server)}
    source, target = server_pb2.ServerWant(server=server), server_pb2.ServerWant(server=server)
    target.transfer.role = Transfer.ROLE_RECEIVE
    if move.phase == RUNNING:
        source.transfer.role, source.transfer.forced = Transfer.ROLE_SEND, move.forced
    if move.phase == ABORTING:
        source.transfer.role = target.transfer.role = Transfer.ROLE_KEEP
        target.server.CopyFrom(removed(server))
    return {move.source: source, move.target: target}


def _told_cold(server: server_pb2.Server) -> Mapping[str, server_pb2.ServerWant]:
    move = server.move
    if stays(move):
        stops = move.phase in (PREPARING, REVERTING)
        return {server.node: server_pb2.ServerWant(server=switched_off(server) if stops else server)}
    off = server_pb2.ServerWant(server=switched_off(server))
    if is_over_there(move):
        off.server.CopyFrom(with_other_flavor(off.server))
        there = removed(server) if move.phase == REVERTING else server
        return {move.source: off, move.target: server_pb2.ServerWant(server=there)}
    if move.phase == ABORTING:
        gone = server_pb2.ServerWant(server=removed(server))
        return {move.source: server_pb2.ServerWant(server=server), move.target: gone}
    if move.phase == PREPARING:
        return {move.source: off}
    fetch = server_pb2.ServerWant(server=with_other_flavor(off.server))
    fetch.transfer.role = Transfer.ROLE_FETCH
    return {move.source: off, move.target: fetch}


def removed(server: server_pb2.Server) -> server_pb2.Server:
    """As a node is told of it that must let go of it."""
    gone = copy_of(server)
    if not gone.meta.HasField("delete_time"):
        gone.meta.delete_time.CopyFrom(server.meta.update_time)
    return gone


def switched_off(server: server_pb2.Server) -> server_pb2.Server:
    """As a node is told of it that must have it off, whatever its owner wants."""
    off = copy_of(server)
    off.spec.power, off.spec.power_generation = Power.POWER_STOPPED, server.meta.generation
    return off


def other_flavor(server: server_pb2.Server) -> server_pb2.FlavorCopy:
    """The flavor that the server has on the other side."""
    return server.move.flavor if server.move.HasField("flavor") else server.spec.flavor


def with_other_flavor(server: server_pb2.Server) -> server_pb2.Server:
    """As it is on the other side."""
    other = copy_of(server)
    other.spec.flavor.CopyFrom(other_flavor(server))
    return other


def swap_flavors(server: server_pb2.Server) -> None:
    """A resize takes effect, or is taken back."""
    if server.move.HasField("flavor"):
        now = copy_of(server.spec.flavor)
        server.spec.flavor.CopyFrom(server.move.flavor)
        server.move.flavor.CopyFrom(now)


def ask_for_power(server: server_pb2.Server) -> None:
    """Its node switched it off for the migration: it is to be again as its owner wants."""
    server.spec.power_generation = server.meta.generation + 1


def ports_go_to(server: server_pb2.Server) -> str:
    """The node on which its ports are made beside its own; empty: none."""
    move = server.move
    there = is_over_there(move) or stays(move) or move.kind == EVACUATION
    return "" if there else move.target


# -- how it begins


def begin(
    server: server_pb2.Server, kind: "pb.MigrationKind.ValueType", id_: str, user_id: str = "", node: str = ""
) -> pb.Migration:
    """Change the server to be on its way; returns the migration's record. node: the target that is named."""
    migration = pb.Migration(
        server_id=server.meta.id,
        kind=kind,
        state=ACCEPTED,
        source=server.node,
        asked_node=node,
        user_id=user_id,
        old_flavor_id=server.spec.flavor.id,
        new_flavor_id=server.spec.flavor.id,
    )
    migration.meta.id, migration.meta.project_id = id_, server.meta.project_id
    server.move.Clear()
    server.move.migration_id, server.move.kind, server.move.phase = id_, kind, ACCEPTED
    server.move.source = server.node
    if kind != LIVE and server.view.vm_state == "stopped":
        # perhaps by itself: it is not to be started by this
        server.spec.power = Power.POWER_STOPPED
    return migration
