"""What to do next about a server on its node. No I/O, no clock, no randomness."""

import enum
from dataclasses import dataclass, replace

from agents.compute.driver import NO_DOMAIN, PAUSED, RUNNING, STOPPED, SUSPENDED, Found, Marks, Power
from fabric.compute.v1 import server_pb2 as pb

STATES = {
    NO_DOMAIN: pb.ServerStatus.STATE_BUILDING,
    RUNNING: pb.ServerStatus.STATE_ACTIVE,
    STOPPED: pb.ServerStatus.STATE_STOPPED,
    PAUSED: pb.ServerStatus.STATE_PAUSED,
    SUSPENDED: pb.ServerStatus.STATE_SUSPENDED,
}


class Step(enum.Enum):
    """One action each; after all but the waiting and the last ones the agent looks again."""

    FETCH = enum.auto()  # get the image into the cache
    MAKE_DISK = enum.auto()
    FETCH_RESCUE = enum.auto()  # the image that a rescued server boots from
    MAKE_RESCUE_DISK = enum.auto()
    DEFINE = enum.auto()  # make or rewrite the stopped domain
    WAIT_FOR_TAPS = enum.auto()
    START = enum.auto()  # define and run, or restore what was suspended
    PRESS_BUTTON = enum.auto()  # ask the guest to power off, and wait
    STOP = enum.auto()  # at once
    PAUSE = enum.auto()
    RESUME = enum.auto()  # from paused
    SUSPEND = enum.auto()
    PLUG = enum.auto()
    WAIT = enum.auto()  # for the hypervisor
    MARK = enum.auto()  # what was reached is written on the domain
    UNPLUG = enum.auto()  # the only step whose end is up to the guest: it comes last and settles meanwhile
    SETTLE = enum.auto()
    REMOVE = enum.auto()
    FORGET = enum.auto()
    RECEIVE = enum.auto()  # its files from the node that it leaves
    SEND = enum.auto()
    STOP_SENDING = enum.auto()
    REPORT_TRANSFER = enum.auto()  # what transfer_state says
    COPY_DISK = enum.auto()  # for a snapshot
    WAIT_FOR_COPY = enum.auto()
    SEND_COPY = enum.auto()  # to the image agent
    CLEAN = enum.auto()  # what a crash, or a snapshot that is over, has left


@dataclass(frozen=True)
class Around:
    """What else the decision hangs on."""

    boot_id: str  # of the node
    image_ready: bool = True
    rescue_image_ready: bool = True
    taps: frozenset[str] = frozenset()  # those of the wanted taps that exist
    button_pressed: bool = False  # lately, by us: a guest that is off now was not off by its own will
    patience_over: bool = False  # the guest had its time to power off
    fenced: bool = False  # it is off because the node had lost its lease
    sending: bool = False  # we are at it
    send_failed: str = ""  # why the present migration could not be sent
    copying: bool = False  # the disk, for the snapshot that is wanted
    copy_failed: bool = False
    copy_unsent: bool = False  # it has a place to go to, and we have not begun


def next_step(want: pb.ServerWant, found: Found | None, around: Around) -> Step:
    """The one action that brings the server closer to what is wanted; None found: nothing is here."""
    server = want.server
    if want.transfer.role in _TRANSFERS:
        return _TRANSFERS[want.transfer.role](want, found, around)
    if server.meta.HasField("delete_time"):
        return Step.FORGET if found is None else Step.REMOVE
    if found is None or not found.has_disk or found.build < server.spec.rebuild_generation:
        return _disk_step(found, around)
    if found.in_between:
        return Step.WAIT
    if (boot := _boot_step(server, found, around)) is not None:
        return boot
    step = _snapshot_step(want, found, around)
    step = step or _power_step(server, found, around) or _nic_step(server, found, around)
    if step is not None and step is not Step.UNPLUG:
        return step
    if marks_reached(server, found, around) != found.marks:
        return Step.MARK
    surplus = set(found.copies) - {want.snapshot.image_id}
    if found.has_rest or surplus or (found.rescue and not server.rescue.generation):
        return Step.CLEAN
    return step or Step.SETTLE


def _boot_step(server: pb.Server, found: Found, around: Around) -> Step | None:
    """There is a domain, and it boots from the disk that it should boot from: its own, or that of its rescue."""
    rescue, in_use = server.rescue.generation, found.power not in (NO_DOMAIN, STOPPED)
    lacks_disk = rescue != 0 and found.rescue != rescue
    if lacks_disk and not around.rescue_image_ready:
        return Step.FETCH_RESCUE
    if in_use and found.marks.rescue != rescue:
        soft = found.power == RUNNING and not around.patience_over
        return Step.PRESS_BUTTON if soft else Step.STOP
    if lacks_disk:
        return Step.MAKE_RESCUE_DISK
    is_defined = found.power != NO_DOMAIN and found.marks.rescue == rescue
    return None if is_defined else Step.DEFINE


def _snapshot_step(want: pb.ServerWant, found: Found, around: Around) -> Step | None:
    """While the disk is copied nothing else is done: who is off must stay off."""
    if not want.snapshot.image_id or around.copy_failed:
        return None
    if want.snapshot.image_id not in found.copies:
        return Step.WAIT_FOR_COPY if around.copying else Step.COPY_DISK
    return Step.SEND_COPY if around.copy_unsent else None


def _disk_step(found: Found | None, around: Around) -> Step:
    """The guest runs on its old disks until the new image is here."""
    if not around.image_ready:
        return Step.FETCH
    in_use = found is not None and found.has_disk and found.power not in (NO_DOMAIN, STOPPED)
    return Step.STOP if in_use else Step.MAKE_DISK


def _receive(want: pb.ServerWant, found: Found | None, around: Around) -> Step:
    if found is None or not found.has_disk:
        return Step.RECEIVE if around.image_ready else Step.FETCH
    if found.halted or found.in_between:
        return Step.WAIT
    if found.power == NO_DOMAIN and not _has_taps(want.server, around):
        return Step.WAIT_FOR_TAPS
    return Step.REPORT_TRANSFER


def _fetch(want: pb.ServerWant, found: Found | None, around: Around) -> Step:
    if found is None or not found.has_disk:
        return Step.RECEIVE if around.image_ready else Step.FETCH
    return Step.REPORT_TRANSFER


def _send(want: pb.ServerWant, found: Found | None, around: Around) -> Step:
    if found is None or found.power == NO_DOMAIN or around.send_failed:
        return Step.REPORT_TRANSFER
    if around.sending or found.sending is not None:
        return Step.WAIT
    # Halted, and nobody sends it: a migration was broken off in its last moment; the other node knows how.
    return Step.REPORT_TRANSFER if found.halted or found.power not in (RUNNING, PAUSED) else Step.SEND


def _keep(want: pb.ServerWant, found: Found | None, around: Around) -> Step:
    if want.server.meta.HasField("delete_time"):  # the target
        if found is None:
            return Step.FORGET
        is_here = found.power != NO_DOMAIN and not found.halted and not found.in_between
        return Step.REPORT_TRANSFER if is_here else Step.REMOVE
    if found is not None and found.sending is not None:
        return Step.STOP_SENDING
    return Step.WAIT if around.sending else Step.REPORT_TRANSFER


_TRANSFERS = {
    pb.Transfer.ROLE_RECEIVE: _receive,
    pb.Transfer.ROLE_FETCH: _fetch,
    pb.Transfer.ROLE_SEND: _send,
    pb.Transfer.ROLE_KEEP: _keep,
}


def transfer_status(want: pb.ServerWant, found: Found | None, around: Around) -> pb.TransferStatus:
    """What the other side of a migration must know of this one."""
    seen = pb.TransferStatus(migration_id=want.transfer.migration_id)
    has_domain = found is not None and found.power != NO_DOMAIN
    match want.transfer.role:
        case pb.Transfer.ROLE_RECEIVE:
            seen.state = seen.STATE_ARRIVED if has_domain else seen.STATE_PREPARED
        case pb.Transfer.ROLE_FETCH:
            seen.state = seen.STATE_PREPARED
        case pb.Transfer.ROLE_SEND:
            if not has_domain:
                seen.state = seen.STATE_SENT
            elif around.sending or (found is not None and found.sending is not None):
                seen.state = seen.STATE_SENDING
                if found is not None and found.sending is not None:
                    seen.progress.CopyFrom(found.sending)
            else:
                seen.state = seen.STATE_FAILED
                seen.message = around.send_failed or "The guest could not be sent as it is."
        case pb.Transfer.ROLE_KEEP if want.server.meta.HasField("delete_time"):
            seen.state = seen.STATE_ARRIVED
        case pb.Transfer.ROLE_KEEP:
            seen.state = seen.STATE_KEPT if has_domain else seen.STATE_SENT
    return seen


def intent_generation(server: pb.Server) -> int:
    """The generation that last asked for a power state: only a newer one overrules what the guest does."""
    return server.spec.power_generation or server.meta.generation


def reboot_pending(server: pb.Server, found: Found) -> bool:
    return found.marks.reboot_count < server.spec.reboot_count


def goal(server: pb.Server, found: Found, around: Around) -> Power:
    """The power state to reach: what is asked for, unless the guest went off by itself after that."""
    asked = server.spec.power or RUNNING
    by_itself = (
        found.power == STOPPED
        and found.marks.generation >= intent_generation(server)
        and found.marks.boot_id == around.boot_id  # else it went down with the node
        and not around.button_pressed
        and not around.fenced
        and not reboot_pending(server, found)
    )
    return STOPPED if by_itself else asked


def marks_reached(server: pb.Server, found: Found, around: Around) -> Marks:
    """The marks of a domain that is where it should be."""
    marks = replace(found.marks, generation=max(found.marks.generation, intent_generation(server)))
    if found.power == STOPPED:  # there is nothing to reboot
        marks = replace(marks, reboot_count=max(marks.reboot_count, server.spec.reboot_count))
    if found.power in (RUNNING, PAUSED):
        marks = replace(marks, boot_id=around.boot_id)
    return marks


def guest_stopped(server: pb.Server, found: Found) -> bool:
    """Whether it is off though asked to run."""
    return found.power == STOPPED and (server.spec.power or RUNNING) != STOPPED


def _power_step(server: pb.Server, found: Found, around: Around) -> Step | None:
    aim = goal(server, found, around)
    if found.power == STOPPED:
        return None if aim == STOPPED else _start(server, around)
    if reboot_pending(server, found) and aim != STOPPED:
        soft = found.power == RUNNING and not server.spec.reboot_hard and not around.patience_over
        return Step.PRESS_BUTTON if soft else Step.STOP
    if found.halted:  # a migration that was broken off has left it so
        return Step.RESUME
    if found.power == aim:
        return None
    if found.power == SUSPENDED:
        return Step.STOP if aim == STOPPED else _start(server, around)
    match aim:
        case pb.ServerSpec.POWER_STOPPED:
            soft = found.power == RUNNING and not around.patience_over
            return Step.PRESS_BUTTON if soft else Step.STOP
        case pb.ServerSpec.POWER_PAUSED:
            return Step.PAUSE
        case pb.ServerSpec.POWER_SUSPENDED:
            return Step.SUSPEND
    return Step.RESUME


def _start(server: pb.Server, around: Around) -> Step:
    return Step.START if _has_taps(server, around) else Step.WAIT_FOR_TAPS


def _has_taps(server: pb.Server, around: Around) -> bool:
    return all(nic.tap in around.taps for nic in server.nics)


def _nic_step(server: pb.Server, found: Found, around: Around) -> Step | None:
    wanted = {(nic.port_id, nic.mac_address): nic for nic in server.nics}
    present = {(nic.port_id, nic.mac_address) for nic in found.nics}
    if found.power == SUSPENDED or wanted.keys() == present:
        return None
    if found.power == STOPPED:
        return Step.DEFINE
    missing = [nic for key, nic in wanted.items() if key not in present]
    if any(nic.tap in around.taps for nic in missing):
        return Step.PLUG
    return Step.WAIT_FOR_TAPS if missing else Step.UNPLUG


def missing_nics(server: pb.Server, found: Found, around: Around) -> list[pb.Nic]:
    """The NICs that can be plugged in now."""
    present = {(nic.port_id, nic.mac_address) for nic in found.nics}
    return [
        nic for nic in server.nics if (nic.port_id, nic.mac_address) not in present and nic.tap in around.taps
    ]


def surplus_ports(server: pb.Server, found: Found) -> list[str]:
    """The ports that the domain should no longer have."""
    wanted = {(nic.port_id, nic.mac_address) for nic in server.nics}
    return [nic.port_id for nic in found.nics if (nic.port_id, nic.mac_address) not in wanted]


def observed(
    server: pb.Server, found: Found | None, *, settled: bool, reason: str = "", message: str = ""
) -> pb.ServerStatus:
    """The status that says what is found, and whether the present generation is reached."""
    status = pb.ServerStatus(reason=reason, message=message)
    if settled:
        status.observed_generation = server.meta.generation
    if found is None:
        status.state = pb.ServerStatus.STATE_BUILDING
        return status
    status.state = STATES[found.power]
    if found.marks.launch_time is None and found.power == STOPPED and not settled:
        status.state = pb.ServerStatus.STATE_BUILDING  # defined, never ran: still on its way
    status.reboot_count = found.marks.reboot_count
    status.domain_name = found.domain_name
    status.rescue_generation = found.marks.rescue
    status.port_ids.extend(nic.port_id for nic in found.nics)
    if found.marks.launch_time is not None:
        status.launch_time.FromDatetime(found.marks.launch_time)
    return status
