"""What a server holds, how it stands and what may be done with it. No I/O, no clock."""

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp

from fabric.compute import guest_password, migration, rescue, shelf, snapshot
from fabric.compute.demand import demand
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import FailedPrecondition
from fabric.runtime.store import Collection

LIFECYCLE = "lifecycle"  # the finalizer of the controller's loop

NO_POWER, RUNNING, PAUSED, SHUT_DOWN = 0, 1, 3, 4  # view.power_state
Power = pb.ServerSpec
State = pb.ServerStatus


def charges(server: pb.Server) -> Mapping[str | tuple[str, str], int]:
    """The project's quota and, once it is placed, the capacity of its node."""
    flavor, other = server.spec.flavor, migration.other_flavor(server)
    taken: dict[str | tuple[str, str], int] = {
        "compute.instances": 1,
        "compute.cores": max(flavor.vcpus, other.vcpus),
        "compute.ram": max(flavor.ram_mib, other.ram_mib),
    }
    if server.node:
        _take(taken, server.node, server)
    if node := migration.other_node(server):
        _take(taken, node, migration.with_other_flavor(server))
    return taken


def _take(taken: dict[str | tuple[str, str], int], node: str, server: pb.Server) -> None:
    owner = capacity_owner(node)
    for counted, amount in demand(server).items():
        taken[owner, counted] = max(amount, taken.get((owner, counted), 0))  # a resize may stay on its node


def capacity_owner(node: str) -> str:
    """Under which name the limits and allocations of a node are counted."""
    return f"node:{node}"


def _is_building(server: pb.Server) -> bool:
    return server.view.vm_state == "building" and server.node != ""


def _has_failed(server: pb.Server) -> bool:
    """Its node could not start it."""
    return server.status.state == State.STATE_ERROR and not server.status.HasField("launch_time")


def derive(server: pb.Server) -> None:
    """Fill the view."""
    server.view.CopyFrom(view(server))


SERVERS = Collection(
    service="compute",
    name="servers",
    message=pb.Server,
    charges=charges,
    indexes={
        "node": lambda server: (server.node,),
        "spec.user_id": lambda server: (server.spec.user_id,),
        "group": lambda server: (server.spec.scheduler_hints.get("group", ""),),
        "building": lambda server: (server.node,) if _is_building(server) else (),
        "failed": lambda server: (server.node,) if _has_failed(server) else (),
        "moving": lambda server: {server.move.source, server.move.target} - {""},
    },
    node=lambda server: server.node,
    also=lambda server: {server.move.source, server.move.target} - {""},
    want=pb.ServerWant,
    status=pb.ServerStatus,
    output_only=("view",),
    derive=derive,
)

_STATES = {
    State.STATE_UNSPECIFIED: ("BUILD", "building", NO_POWER),
    State.STATE_BUILDING: ("BUILD", "building", NO_POWER),
    State.STATE_ACTIVE: ("ACTIVE", "active", RUNNING),
    State.STATE_STOPPED: ("SHUTOFF", "stopped", SHUT_DOWN),
    State.STATE_PAUSED: ("PAUSED", "paused", PAUSED),
    State.STATE_SUSPENDED: ("SUSPENDED", "suspended", SHUT_DOWN),
    State.STATE_ERROR: ("ERROR", "error", NO_POWER),
}
_ON_THE_WAY = {
    ("active", Power.POWER_STOPPED): "powering-off",
    ("active", Power.POWER_PAUSED): "pausing",
    ("active", Power.POWER_SUSPENDED): "suspending",
    ("stopped", Power.POWER_RUNNING): "powering-on",
    ("paused", Power.POWER_RUNNING): "unpausing",
    ("paused", Power.POWER_STOPPED): "powering-off",
    ("suspended", Power.POWER_RUNNING): "resuming",
    ("suspended", Power.POWER_STOPPED): "powering-off",
}


_RESIZED = {
    migration.FINISHED: "VERIFY_RESIZE",
    migration.CONFIRMING: "VERIFY_RESIZE",
    migration.REVERTING: "REVERT_RESIZE",
}
_MOVING: dict[tuple[int, int], str] = {
    (int(migration.LIVE), 0): "migrating",
    (int(migration.EVACUATION), 0): "rebuilding",
} | {
    (int(kind), int(phase)): task_state
    for kind in migration.TO_BE_CONFIRMED
    for phase, task_state in {
        migration.ACCEPTED: "resize_prep",
        migration.PREPARING: "resize_migrating",
        migration.RUNNING: "resize_migrating",
        migration.ABORTING: "resize_migrating",
        migration.POST_MIGRATING: "resize_finish",
        migration.REVERTING: "resize_reverting",
    }.items()
}


def view(server: pb.Server) -> pb.ServerView:
    """How it stands, in the Compute API's words."""
    status, vm_state, power_state = _STATES[server.status.state]
    if server.HasField("fault") and vm_state == "building":
        status, vm_state, power_state = "ERROR", "error", NO_POWER
    if server.spec.marked_error:
        status, vm_state = "ERROR", "error"
    if is_rebuilding(server) and not server.spec.marked_error:
        status, vm_state = "REBUILD", "stopped" if server.spec.power == Power.POWER_STOPPED else "active"
    if rescue.concerns(server) and vm_state != "error":
        status, vm_state = rescue.view(server)
    if shelf.is_shelved(server) and not server.spec.marked_error:
        (status, vm_state), power_state = shelf.view(server), SHUT_DOWN
    if migration.is_moving(server) and vm_state != "error":
        status, vm_state, power_state = _moving(server, vm_state, power_state)
    task_state = _task_state(server, vm_state)
    if task_state in ("rebooting", "rebooting_hard"):
        status = "REBOOT" if task_state == "rebooting" else "HARD_REBOOT"
    host_status = "UP" if server.node else ""
    progress = 100 if vm_state == "active" and not task_state else 0
    seen = pb.ServerView(
        status=status,
        vm_state=vm_state,
        task_state=task_state,
        power_state=power_state,
        host_status=host_status,
        progress=progress,
        addresses=[fixed.ip_address for nic in server.nics for fixed in nic.fixed_ips],
        guest_password=guest_password.left(server, server.status),
        update_time=Timestamp(
            seconds=max(server.meta.update_time.seconds, server.status.observe_time.seconds)
        ),
    )
    for known in (server.shelf, server.status):
        if known.HasField("launch_time"):
            seen.launch_time.CopyFrom(known.launch_time)
    return seen


def _moving(server: pb.Server, vm_state: str, power_state: int) -> tuple[str, str, int]:
    """Status, vm_state and power_state of a server on its way."""
    move = server.move
    if move.kind in migration.TO_BE_CONFIRMED and move.phase in _RESIZED:
        return _RESIZED[move.phase], "resized", power_state
    if move.kind in (migration.LIVE, migration.EVACUATION) and vm_state == "building":
        vm_state, power_state = "active", RUNNING
    if move.kind == migration.LIVE:
        return "MIGRATING", vm_state, power_state
    stopped = server.spec.power == Power.POWER_STOPPED
    status = "REBUILD" if move.kind == migration.EVACUATION else "RESIZE"
    return status, "stopped" if stopped else "active", power_state


def _task_state(server: pb.Server, vm_state: str) -> str:
    if server.meta.HasField("delete_time"):
        return "deleting"
    if vm_state == "error":
        return ""
    if migration.is_moving(server):
        move = server.move
        return _MOVING.get((move.kind, move.phase), _MOVING.get((move.kind, 0), ""))
    if shelf.is_put_away(server):
        return shelf.task_state(server)
    if is_rebuilding(server):
        return "rebuilding"
    if snapshot.is_under_way(server):
        return snapshot.task_state(server)
    if rescue.concerns(server):
        return rescue.task_state(server)
    if vm_state == "building":
        if not server.node:
            return "scheduling"
        return "spawning" if nics_ready(server) else "networking"
    if server.spec.reboot_count > server.status.reboot_count and vm_state != "error":
        return "rebooting_hard" if server.spec.reboot_hard else "rebooting"
    if power_pending(server):
        return _ON_THE_WAY.get((vm_state, server.spec.power), "")
    return ""


def is_rebuilding(server: pb.Server) -> bool:
    """Whether the agent has yet to make it anew, or to say that it cannot."""
    return server.status.observed_generation < server.spec.rebuild_generation


def power_pending(server: pb.Server) -> bool:
    """Whether the agent has yet to reach the power state that was last asked for."""
    return server.status.observed_generation < (server.spec.power_generation or 1)


def nics_ready(server: pb.Server) -> bool:
    """Whether the server has the ports that it should have."""
    return [nic.port_id for nic in server.nics] == [nic.port_id for nic in server.spec.networks]


def fault(server: pb.Server) -> pb.Fault | None:
    """Why it is in ERROR: the controller's fault, or what its agent says."""
    if server.status.state == State.STATE_ERROR:
        text = server.status.message or server.status.reason
        return pb.Fault(code=500, message=text, time=server.status.observe_time)
    if server.view.status == "ERROR" and server.HasField("fault"):
        return server.fault
    if server.spec.marked_error:
        return pb.Fault(
            code=500, message="An administrator set the state to error.", time=server.meta.update_time
        )
    return None


_ALLOWED: dict[str, tuple[str, ...]] = {
    "start": ("stopped",),
    "stop": ("active", "error"),
    "reboot": ("active",),
    "hard reboot": ("active", "stopped", "paused", "suspended", "error"),
    "pause": ("active",),
    "unpause": ("paused",),
    "suspend": ("active",),
    "resume": ("suspended",),
    "attach_interface": ("active", "paused", "stopped"),
    "detach_interface": ("active", "paused", "stopped"),
    "live-migration": ("active", "paused"),
    "migrate": ("active", "stopped"),
    "resize": ("active", "stopped"),
    "confirmResize": ("resized",),
    "revertResize": ("resized",),
    "evacuate": ("active", "stopped", "error"),
    "rebuild": ("active", "stopped", "error"),
    "createImage": ("active", "stopped", "paused", "suspended"),
    "createBackup": ("active", "stopped", "paused", "suspended"),
    "shelve": ("active", "stopped", "paused", "suspended"),
    "shelveOffload": ("shelved",),
    "unshelve": ("shelved", "shelved_offloaded"),
    "rescue": ("active", "stopped", "error"),
    "changePassword": ("active",),
    "unrescue": ("rescued", "error"),
}
_HURRIED = {
    "hard reboot": ("rebooting", "rebooting_hard", "pausing", "unpausing", "suspending", "resuming"),
    "evacuate": ("rebuilding", *snapshot.TASK_STATES),
}


def check(server: pb.Server, action: str, *, task_states: tuple[str, ...] = ()) -> None:
    """Raise FailedPrecondition unless the server is in a state in which the action can be done."""
    seen = server.view
    if seen.vm_state not in _ALLOWED[action]:
        where = f"vm_state {seen.vm_state}"
    elif seen.task_state and seen.task_state not in (*task_states, *_HURRIED.get(action, ())):
        where = f"task_state {seen.task_state}"
    else:
        return
    raise _wrong_state(server, "reboot" if action == "hard reboot" else action, where)


def check_migrates(server: pb.Server, action: str) -> None:
    """Raise FailedPrecondition unless a live migration of it goes on."""
    if server.view.task_state != "migrating":
        raise _wrong_state(server, action, f"task_state {server.view.task_state or None}")


def _wrong_state(server: pb.Server, action: str, where: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"Cannot '{action}' instance {server.meta.id} while it is in {where}",
        reason="INSTANCE_INVALID_STATE",
        id=server.meta.id,
        state=server.view.vm_state,
        task_state=server.view.task_state,
    )


def check_launched(server: pb.Server, action: str) -> None:
    """Raise FailedPrecondition for a server that has never run."""
    if not server.status.HasField("launch_time"):
        raise FailedPrecondition(
            f"Cannot '{action}' an instance which has never been active",
            reason="INSTANCE_INVALID_STATE",
            id=server.meta.id,
        )


def check_rebuild(server: pb.Server) -> None:
    """Raise FailedPrecondition unless the server can be rebuilt."""
    check(server, "rebuild")
    check_launched(server, "rebuild")


def rebuild(server: pb.Server) -> None:
    """Ask for new disks; what is off stays off."""
    server.spec.marked_error = False
    server.ClearField("fault")
    server.whole_disk = False
    was_off = server.view.vm_state == "stopped"
    server.spec.power = Power.POWER_STOPPED if was_off else Power.POWER_RUNNING
    server.spec.power_generation = server.spec.rebuild_generation = server.meta.generation + 1


def check_rescue(server: pb.Server) -> None:
    """Raise FailedPrecondition unless the server can be rescued."""
    check(server, "rescue")
    check_launched(server, "rescue")


def unrescue(server: pb.Server) -> None:
    """Also one that could not be rescued. Raises FailedPrecondition."""
    check(server, "unrescue")
    if not server.rescue.generation:
        raise _wrong_state(server, "unrescue", f"vm_state {server.view.vm_state}")
    rescue.end(server)


def check_unlocked(server: pb.Server, *, override: bool) -> None:
    """Raise FailedPrecondition for a locked server, unless the caller may override the lock."""
    if server.spec.locked and not override:
        raise FailedPrecondition(
            f"Instance {server.meta.id} is locked", reason="INSTANCE_IS_LOCKED", id=server.meta.id
        )


_POWER = {
    "start": Power.POWER_RUNNING,
    "stop": Power.POWER_STOPPED,
    "pause": Power.POWER_PAUSED,
    "unpause": Power.POWER_RUNNING,
    "suspend": Power.POWER_SUSPENDED,
    "resume": Power.POWER_RUNNING,
}


def change_power(server: pb.Server, action: str) -> None:
    """Ask for the power state that the action names. Raises FailedPrecondition."""
    check(server, action)
    server.spec.marked_error = False
    server.spec.power = _POWER[action]
    server.spec.power_generation = server.meta.generation + 1


def reboot(server: pb.Server, *, hard: bool) -> None:
    """Ask for one more reboot; a hard one also starts what is stopped, paused or suspended."""
    check(server, "hard reboot" if hard else "reboot")
    server.spec.marked_error = False
    server.spec.reboot_count += 1
    server.spec.reboot_hard = hard
    if hard or server.spec.power != Power.POWER_RUNNING:
        server.spec.power = Power.POWER_RUNNING
        server.spec.power_generation = server.meta.generation + 1
