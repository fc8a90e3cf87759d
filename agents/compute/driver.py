"""What a hypervisor must be able to do for the compute agent."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias

from fabric.compute.v1 import console_pb2, migration_pb2, node_pb2, server_pb2
from fabric.runtime.errors import Conflict, FailedPrecondition

Power: TypeAlias = server_pb2.ServerSpec.Power.ValueType
NO_DOMAIN = server_pb2.ServerSpec.POWER_UNSPECIFIED
RUNNING = server_pb2.ServerSpec.POWER_RUNNING
STOPPED = server_pb2.ServerSpec.POWER_STOPPED
PAUSED = server_pb2.ServerSpec.POWER_PAUSED
SUSPENDED = server_pb2.ServerSpec.POWER_SUSPENDED


class HypervisorRefused(FailedPrecondition):
    """The hypervisor will not do it, and asking again soon would not help: no memory, a bad device..."""

    reason = "HYPERVISOR_REFUSED"


class ImageUnusable(FailedPrecondition):
    """The image cannot be booted from: damaged, of another format than said, larger than the disk..."""

    reason = "IMAGE_UNUSABLE"


class ChangedMeanwhile(Conflict):
    """The domain is no longer in the state in which this could be done; look again."""

    reason = "CHANGED_MEANWHILE"


class GuestAgentAway(FailedPrecondition):
    """There is no agent inside the guest, it has yet to start, or it does not answer."""

    reason = "GUEST_AGENT_AWAY"


@dataclass(frozen=True)
class Marks:
    """What the agent writes on a domain, so that it knows after a restart what it did."""

    generation: int = 0  # of the power intent that was reached; what happened since is the guest's doing
    reboot_count: int = 0  # reboots done
    boot_id: str = ""  # the boot of the node in which it last ran
    launch_time: datetime | None = None  # when it first ran
    rescue: int = 0  # the generation of the rescue whose disk it boots from; 0: its own


@dataclass(frozen=True)
class FoundNic:
    port_id: str
    mac_address: str
    tap: str


@dataclass(frozen=True)
class Found:
    """A server as it is on this node."""

    power: Power  # POWER_UNSPECIFIED: there are files but no domain
    has_disk: bool = True
    build: int = 0  # the rebuild_generation that the disks were made for
    marks: Marks = field(default_factory=Marks)
    nics: tuple[FoundNic, ...] = ()
    domain_name: str = ""
    why: str = ""  # why it is off or paused, as the hypervisor says: CRASHED, IOERROR...
    in_between: bool = False  # the hypervisor is about to change it: not yet up, not yet off
    halted: bool = False  # its guest does not run, for a live migration comes or goes, or was broken off
    sending: migration_pb2.Progress | None = None  # it goes to another node just now
    copies: tuple[str, ...] = ()  # the whole copies of its root disk
    rescue: int = 0  # the generation of the rescue that there is a disk for
    has_rest: bool = False  # there is something half made or half removed beside


@dataclass(frozen=True)
class Piece:
    """A part of a file of a server; what lies between the pieces of a file are holes."""

    name: str
    size_bytes: int  # of the whole file
    offset: int
    data: bytes


class Console(Protocol):
    """Both ways between a guest's console and whoever uses it."""

    async def read(self) -> bytes:
        """What it shows next; empty: it is over."""
        ...

    async def write(self, data: bytes) -> None:
        """What is typed."""
        ...

    def close(self) -> None:
        """Let go of it; reads end."""
        ...


class ComputeDriver(Protocol):
    """Each verb names an end state and may be repeated. All raise Unavailable without a hypervisor."""

    async def inventory(self) -> node_pb2.ComputeInventory:
        """What the node has and can do."""
        ...

    async def ids(self) -> list[str]:
        """The servers of which there is a domain with our mark, or files."""
        ...

    async def find(self, server_id: str) -> Found | None:
        """None: nothing of it is here."""
        ...

    async def ensure_disk(self, want: server_pb2.ServerWant, base: Path | None) -> None:
        """Make the files that the domain needs, all or none. base: the image, None: an empty disk.

        What exists is left as it is, or replaced at once when it is of an earlier build; no domain uses it then.
        Raises ImageUnusable, PoolFull.
        """
        ...

    async def ensure_rescue_disk(self, want: server_pb2.ServerWant, base: Path | None) -> None:
        """Make the disk that a rescued server boots from; no domain has one meanwhile. base as above.

        Raises ImageUnusable, PoolFull.
        """
        ...

    async def ensure_defined(self, want: server_pb2.ServerWant, marks: Marks) -> None:
        """Make a stopped domain, or an existing stopped one, exactly as wanted. Raises HypervisorRefused.

        One that is rescued has the rescue's disk before its own.
        """
        ...

    async def ensure_power(self, server_id: str, power: Power) -> None:
        """Make the domain run, be off (at once), paused or saved to disk. Raises HypervisorRefused."""
        ...

    async def press_power_button(self, server_id: str) -> None:
        """Ask a running guest to shut itself down; whether it does shows later."""
        ...

    async def ensure_marks(self, server_id: str, marks: Marks) -> None:
        """Write the marks, whatever state the domain is in."""
        ...

    async def ensure_nic(self, server_id: str, nic: server_pb2.Nic) -> None:
        """Make the running domain have the NIC; its tap exists. Raises HypervisorRefused."""
        ...

    async def remove_nic(self, server_id: str, port_id: str) -> None:
        """Ask the running guest to let go of the NIC; it is gone when find() no longer shows it."""
        ...

    async def remove(self, server_id: str) -> None:
        """Make the domain and all its files not exist."""
        ...

    async def ensure_received(
        self, want: server_pb2.ServerWant, base: Path | None, pieces: AsyncIterator[Piece]
    ) -> None:
        """Make the files of a server that comes from another node, all or none, those of pieces as they are.

        For a domain that comes running (ROLE_RECEIVE) the others are made as ensure_disk does: the domain
        brings what is in them. Raises ImageUnusable, PoolFull, and what pieces raises.
        """
        ...

    def read_files(self, server_id: str, *, fixed_only: bool) -> AsyncIterator[Piece]:
        """The server's files but for the image; fixed_only: those that no guest changes. Raises NotFound."""
        ...

    async def directory(self, server_id: str) -> str:
        """Where the server's files are, for who sends its domain here."""
        ...

    async def send(self, server_id: str, transfer: server_pb2.Transfer) -> None:
        """Return when the domain runs (or is paused) on the target as it did here, and is not here any more.

        Raises HypervisorRefused: it is still here. Cancelled or cut off from the hypervisor: find() tells.
        """
        ...

    async def stop_sending(self, server_id: str) -> None:
        """Make the domain stay here, if it is not there yet."""
        ...

    async def hurry(self, server_id: str) -> None:
        """Pause the guest that is being sent, so that it changes no more memory."""
        ...

    async def ensure_copy(self, server_id: str, copy: str) -> None:
        """Have a copy of the root disk as it was at one moment, a qcow2 of its own; a running guest goes on.

        A domain that is off stays off meanwhile. Raises HypervisorRefused, PoolFull, ImageUnusable;
        ChangedMeanwhile: the domain started or ended. Cancelled: perhaps a part is left, see clean().
        """
        ...

    async def copy_size_bytes(self, server_id: str, copy: str) -> int:
        """How long the copy's file is. Raises NotFound."""
        ...

    def read_copy(self, server_id: str, copy: str) -> AsyncIterator[bytes]:
        """The copy's file, in pieces. Raises NotFound."""
        ...

    async def clean(self, server_id: str, copy: str = "", *, rescue: bool = False) -> None:
        """Make not exist: copies but for the one, the disk of a rescue but for one that goes on, what is half
        made or half removed; nothing is being made.
        """
        ...

    async def console_log(self, server_id: str, max_bytes: int) -> bytes:
        """The tail of what the serial console printed; 0: all that is kept. Raises NotFound."""
        ...

    async def console(self, server_id: str, kind: console_pb2.ConsoleKind.ValueType) -> Console:
        """Use a console of a running guest. Raises NotFound."""
        ...

    async def ensure_password(self, server_id: str, user: str, password: str) -> None:
        """Have the agent inside a running guest give a user the password.

        Raises NotFound, GuestAgentAway; HypervisorRefused: the agent could not.
        """
        ...

    def events(self) -> AsyncIterator[str]:
        """The ids of servers whose domain changed by itself; empty string: look at all of them."""
        ...
