"""A server that is put away: what its node is told, and what to do next about it. No I/O, no clock."""

import enum
from datetime import datetime, timedelta

from fabric.compute import guest_password, migration, snapshot
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.collection import copy_of

Shelf, State = pb.Shelf, pb.ServerStatus
STORING, KEPT, LEAVING = Shelf.PHASE_STORING, Shelf.PHASE_KEPT, Shelf.PHASE_LEAVING
AWAY, RETURNING, WAKING = Shelf.PHASE_AWAY, Shelf.PHASE_RETURNING, Shelf.PHASE_WAKING


class Step(enum.Enum):
    """One transaction each, but for WAIT."""

    WAIT = enum.auto()
    OFFLOAD = enum.auto()  # its node shall let go of it
    LEAVE = enum.auto()  # its node has let go of it
    GIVE_UP = enum.auto()  # it cannot come back: its node shall let go of it again
    END = enum.auto()  # it is back, and its image goes


def is_put_away(server: pb.Server) -> bool:
    """Whether it is shelved, or on its way there or back."""
    return server.shelf.phase != Shelf.PHASE_UNSPECIFIED


def is_away(server: pb.Server) -> bool:
    """Whether it rests on no node."""
    return server.shelf.phase == AWAY


def next_step(server: pb.Server, now: datetime, keep_s: float) -> tuple[Step, timedelta | None]:
    """The step, and when it will be due. keep_s: how long its node keeps its disks; negative: for ever."""
    status, shelf = server.status, server.shelf
    settled = status.observed_generation >= server.meta.generation
    match shelf.phase:
        case Shelf.PHASE_KEPT if keep_s >= 0:
            left = timedelta(seconds=keep_s) - (now - shelf.keep_time.ToDatetime(now.tzinfo))
            return (Step.WAIT, left) if left > timedelta(0) else (Step.OFFLOAD, None)
        case Shelf.PHASE_LEAVING if status.released:
            return Step.LEAVE, None
        case Shelf.PHASE_RETURNING if settled and status.state == State.STATE_ERROR:
            return Step.GIVE_UP, None
        case Shelf.PHASE_RETURNING | Shelf.PHASE_WAKING if settled:
            return Step.END, None
    return Step.WAIT, None


# -- what becomes of the record


def begin(server: pb.Server, image_id: str) -> None:
    """Put it away once its image is recorded."""
    server.shelf.phase, server.shelf.image.id = STORING, image_id


def keep(server: pb.Server, image: pb.ImageRef, now: datetime) -> None:
    """Its image is complete. What its node said of it outlasts the node's report."""
    server.shelf.phase = KEPT
    server.shelf.image.CopyFrom(image)
    server.shelf.keep_time.FromDatetime(now)
    server.shelf.launch_time.CopyFrom(server.status.launch_time)
    server.guest_password = guest_password.left(server, server.status)


def leave(server: pb.Server) -> None:
    """It has no node any more."""
    server.node = server.availability_zone = ""
    stay_away(server)


def stay_away(server: pb.Server) -> None:
    """Until somebody asks for it again."""
    server.shelf.phase, server.shelf.request_id, server.shelf.asked_node = AWAY, "", ""


def bring_back(server: pb.Server, request_id: str, node: str) -> None:
    """Have it run again. node: where, of one that has none; empty: anywhere."""
    server.spec.power = pb.ServerSpec.POWER_RUNNING
    migration.ask_for_power(server)
    if not is_away(server):
        server.shelf.phase = WAKING
        return
    server.shelf.phase, server.shelf.request_id, server.shelf.asked_node = RETURNING, request_id, node
    server.whole_disk = True


def put_back(server: pb.Server) -> None:
    """It is as any other server."""
    server.ClearField("shelf")
    migration.ask_for_power(server)


def asked(server: pb.Server) -> pb.Server:
    """As it is to be placed: who forced it onto a node when it was made did not speak of now."""
    if not is_put_away(server):
        return server
    ask = copy_of(server)
    ask.spec.forced_node, ask.spec.requested_node = "", server.shelf.asked_node
    return ask


# -- what its node is told


def told(server: pb.Server) -> pb.Server:
    """As its node must make it true."""
    match server.shelf.phase:
        case Shelf.PHASE_STORING if snapshot.is_being_made(server):
            return migration.switched_off(server)
        case Shelf.PHASE_KEPT:
            return migration.switched_off(server)
        case Shelf.PHASE_LEAVING:
            return migration.removed(server)
        case Shelf.PHASE_RETURNING:
            back = copy_of(server)
            back.spec.image.CopyFrom(server.shelf.image)
            return back
    return server


def may_copy(server: pb.Server) -> bool:
    """Whether its disk rests, so that an image can be made of it."""
    return server.shelf.phase != STORING or server.status.state == State.STATE_STOPPED


# -- how it stands


def is_shelved(server: pb.Server) -> bool:
    """Whether it shows as shelved."""
    return is_put_away(server) and server.shelf.phase != STORING


def view(server: pb.Server) -> tuple[str, str]:
    """Status and vm_state of what is shelved."""
    if server.shelf.phase in (KEPT, WAKING, LEAVING):
        return "SHELVED", "shelved"
    return "SHELVED_OFFLOADED", "shelved_offloaded"


def task_state(server: pb.Server) -> str:
    """The Compute API's word for what goes on."""
    match server.shelf.phase:
        case Shelf.PHASE_STORING if snapshot.is_being_made(server) and may_copy(server):
            is_sent = server.snapshot.phase == pb.Snapshot.PHASE_UPLOADING
            return "shelving_image_uploading" if is_sent else "shelving_image_pending_upload"
        case Shelf.PHASE_STORING:
            return "shelving"
        case Shelf.PHASE_LEAVING:
            return "shelving_offloading"
        case Shelf.PHASE_RETURNING:
            return "spawning" if server.node else "unshelving"
        case Shelf.PHASE_WAKING:
            return "powering-on"
    return ""
