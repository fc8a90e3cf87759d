"""ComputeDriver without guests, for tests and scale tests of what is above it: domains are only remembered."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from agents.compute import disk
from agents.compute.driver import (
    NO_DOMAIN,
    PAUSED,
    RUNNING,
    STOPPED,
    SUSPENDED,
    ChangedMeanwhile,
    Console,
    Found,
    FoundNic,
    GuestAgentAway,
    HypervisorRefused,
    Marks,
    Piece,
    Power,
)
from agents.compute.shelf import FakeDomain, Shelf
from fabric.compute.v1 import console_pb2, migration_pb2, node_pb2, server_pb2
from fabric.runtime.errors import NotFound

_DISK = "disk"
_COPY = disk.empty_qcow2()  # of which image agents make an image


@dataclass
class FakeSettings:
    """What the node pretends to be."""

    vcpus: int = 1024
    ram_mib: int = 4 * 1024 * 1024
    disk_gb: int = 1024 * 1024
    start_time: timedelta = timedelta(0)  # what a domain takes to start
    send_time: timedelta = timedelta(0)  # what it takes to go to another node, for each GiB of memory
    obeys_button: bool = True  # guests power themselves off when asked to
    agent_user: str = "root"  # whose password the guests' agents set; empty: guests have no agent
    directory: Path | None = (
        None  # where domains outlive the process, and come from other nodes; None: in memory
    )


@dataclass
class FakeDriver:
    """With a directory, its domains are there for whoever looks, as QEMU's processes are without their agent."""

    settings: FakeSettings = field(default_factory=FakeSettings)
    domains: MutableMapping[str, FakeDomain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._events: asyncio.Queue[str] = asyncio.Queue()
        self._sending: dict[str, asyncio.Event] = {}  # set: it is hurried or stopped
        self._stopped: set[str] = set()
        if self.settings.directory is not None:
            self.domains = Shelf(self.settings.directory)

    async def inventory(self) -> node_pb2.ComputeInventory:
        return node_pb2.ComputeInventory(
            hypervisor_type="fake",
            hypervisor_version="1.0.0",
            vcpus=self.settings.vcpus,
            ram_mib=self.settings.ram_mib,
            disk_gb=self.settings.disk_gb,
            cpu_arch="x86_64",
            cpu_model="fake",
            migration_address=str(self.settings.directory or ""),
        )

    async def ids(self) -> list[str]:
        return list(self.domains)

    async def find(self, server_id: str) -> Found | None:
        domain = self.domains.get(server_id)
        if domain is None:
            return None
        return replace(domain.found, sending=_progress(domain) if server_id in self._sending else None)

    async def ensure_disk(self, want: server_pb2.ServerWant, base: Path | None) -> None:
        server_id, build = want.server.meta.id, want.server.spec.rebuild_generation
        domain = self.domains.get(server_id)
        if domain is None:
            self.domains[server_id] = FakeDomain(Found(power=NO_DOMAIN, build=build))
        elif domain.found.build < build:
            self._put(server_id, replace(domain, disk=b"", console=b""), build=build)

    async def ensure_rescue_disk(self, want: server_pb2.ServerWant, base: Path | None) -> None:
        server_id = want.server.meta.id
        self._put(server_id, self._domain(server_id), rescue=want.server.rescue.generation)

    async def ensure_defined(self, want: server_pb2.ServerWant, marks: Marks) -> None:
        server = want.server
        domain = self._domain(server.meta.id)
        if domain.found.power not in (NO_DOMAIN, STOPPED):
            raise ChangedMeanwhile("the domain is not off", server=server.meta.id)
        nics = tuple(FoundNic(nic.port_id, nic.mac_address, nic.tap) for nic in server.nics)
        found = Found(
            power=STOPPED,
            build=domain.found.build,
            copies=domain.found.copies,
            rescue=domain.found.rescue,
            marks=marks,
            nics=nics,
            domain_name=f"instance-{server.meta.id}",
            why=domain.found.why,
        )
        self.domains[server.meta.id] = replace(domain, found=found, ram_mib=server.spec.flavor.ram_mib)

    async def ensure_power(self, server_id: str, power: Power) -> None:
        domain = self._domain(server_id)
        if domain.found.power == power:
            return
        if domain.found.power == NO_DOMAIN or (domain.found.power == STOPPED and power != RUNNING):
            raise ChangedMeanwhile("the domain does not run", server=server_id)
        if power == RUNNING and domain.found.power in (STOPPED, SUSPENDED):
            self._has_room_for(domain)
            console = domain.console + f"[    0.000000] fake guest {server_id} started\r\n".encode()
            domain = replace(domain, console=console)
        self._put(server_id, domain, power=power, why="")  # before the delay: nothing starts twice
        if power == RUNNING and self.settings.start_time:
            await asyncio.sleep(self.settings.start_time.total_seconds())

    async def press_power_button(self, server_id: str) -> None:
        domain = self._domain(server_id)
        if domain.found.power != RUNNING:
            raise ChangedMeanwhile("the domain does not run", server=server_id)
        if self.settings.obeys_button:
            self.power_off_from_inside(server_id)

    async def ensure_marks(self, server_id: str, marks: Marks) -> None:
        self._put(server_id, self._domain(server_id), marks=marks)

    async def ensure_nic(self, server_id: str, nic: server_pb2.Nic) -> None:
        domain = self._domain(server_id)
        others = tuple(present for present in domain.found.nics if present.port_id != nic.port_id)
        self._put(server_id, domain, nics=(*others, FoundNic(nic.port_id, nic.mac_address, nic.tap)))

    async def remove_nic(self, server_id: str, port_id: str) -> None:
        domain = self._domain(server_id)
        nics = tuple(present for present in domain.found.nics if present.port_id != port_id)
        self._put(server_id, domain, nics=nics)

    async def remove(self, server_id: str) -> None:
        self.domains.pop(server_id, None)

    async def ensure_received(
        self, want: server_pb2.ServerWant, base: Path | None, pieces: AsyncIterator[Piece]
    ) -> None:
        received = b"".join([piece.data async for piece in pieces])
        server_id, build = want.server.meta.id, want.server.spec.rebuild_generation
        if server_id not in self.domains:
            self.domains[server_id] = FakeDomain(Found(power=NO_DOMAIN, build=build), disk=received)

    async def read_files(self, server_id: str, *, fixed_only: bool) -> AsyncIterator[Piece]:
        if server_id not in self.domains:
            raise NotFound("no such domain on this node", server=server_id)
        held = self.domains[server_id].disk
        if not fixed_only:
            yield Piece(_DISK, len(held), 0, held)

    async def directory(self, server_id: str) -> str:
        return str(self.settings.directory or "")

    async def send(self, server_id: str, transfer: server_pb2.Transfer) -> None:
        domain = self._domain(server_id)
        if domain.found.power not in (RUNNING, PAUSED):
            raise ChangedMeanwhile("the domain does not run", server=server_id)
        takes_s = self.settings.send_time.total_seconds() * domain.ram_mib / 1024
        told = self._sending[server_id] = asyncio.Event()
        self._stopped.discard(server_id)
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), takes_s)
            domain = self._domain(server_id)
            there = Path(transfer.address)
            if server_id in self._stopped or not await asyncio.to_thread(there.is_dir):
                raise HypervisorRefused("the domain was not sent", server=server_id)
            self.domains.pop(server_id)
            Shelf(there)[server_id] = domain
            self.domains[server_id] = FakeDomain(Found(power=NO_DOMAIN))
        finally:
            del self._sending[server_id]
            self._events.put_nowait(server_id)

    async def stop_sending(self, server_id: str) -> None:
        if server_id in self._sending:
            self._stopped.add(server_id)
            self._sending[server_id].set()

    async def hurry(self, server_id: str) -> None:
        if server_id in self._sending:
            self._sending[server_id].set()

    async def ensure_copy(self, server_id: str, copy: str) -> None:
        domain = self._domain(server_id)
        if copy not in domain.found.copies:
            self._put(server_id, domain, copies=(*domain.found.copies, copy))

    async def copy_size_bytes(self, server_id: str, copy: str) -> int:
        self._check_copy(server_id, copy)
        return len(_COPY)

    async def read_copy(self, server_id: str, copy: str) -> AsyncIterator[bytes]:
        self._check_copy(server_id, copy)
        yield _COPY

    async def clean(self, server_id: str, copy: str = "", *, rescue: bool = False) -> None:
        if (domain := self.domains.get(server_id)) is not None:
            kept = tuple(found for found in domain.found.copies if found == copy)
            self._put(server_id, domain, copies=kept, rescue=domain.found.rescue if rescue else 0)

    async def console_log(self, server_id: str, max_bytes: int) -> bytes:
        if server_id not in self.domains:
            raise NotFound("no such domain on this node", server=server_id)
        return self.domains[server_id].console[-max_bytes:]

    async def console(self, server_id: str, kind: console_pb2.ConsoleKind.ValueType) -> Console:
        domain = self.domains.get(server_id)
        if domain is None or domain.found.power not in (RUNNING, PAUSED):
            raise NotFound("no such domain runs on this node", server=server_id)
        return Echo()

    async def ensure_password(self, server_id: str, user: str, password: str) -> None:
        domain = self.domains.get(server_id)
        if domain is None or domain.found.power != RUNNING:
            raise NotFound("no such domain runs on this node", server=server_id)
        if not self.settings.agent_user:
            raise GuestAgentAway("there is no agent in fake guests", server=server_id)
        if user != self.settings.agent_user:
            raise HypervisorRefused("there is no such user", user=user)

    async def events(self) -> AsyncIterator[str]:
        while True:
            yield await self._events.get()

    def power_off_from_inside(self, server_id: str) -> None:
        """What a guest does with `poweroff`."""
        self._put(server_id, self._domain(server_id), power=STOPPED, why="SHUTDOWN")
        self._events.put_nowait(server_id)

    def _put(self, server_id: str, domain: FakeDomain, **changes: object) -> None:
        self.domains[server_id] = replace(domain, found=replace(domain.found, **changes))  # type: ignore[arg-type]

    def _domain(self, server_id: str) -> FakeDomain:
        if server_id not in self.domains:
            raise ChangedMeanwhile("the domain is gone", server=server_id)
        return self.domains[server_id]

    def _check_copy(self, server_id: str, copy: str) -> None:
        domain = self.domains.get(server_id)
        if domain is None or copy not in domain.found.copies:
            raise NotFound("no such copy on this node", server=server_id, copy=copy)

    def _has_room_for(self, domain: FakeDomain) -> None:
        up = (RUNNING, PAUSED)
        taken = sum(other.ram_mib for other in self.domains.values() if other.found.power in up)
        if taken + domain.ram_mib > self.settings.ram_mib:
            raise HypervisorRefused("cannot allocate memory", ram_mib=domain.ram_mib)


class Echo:
    """The console of a guest that says what it is told."""

    def __init__(self) -> None:
        self._said: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes:
        return await self._said.get()

    async def write(self, data: bytes) -> None:
        self._said.put_nowait(data)

    def close(self) -> None:
        self._said.put_nowait(b"")


def _progress(domain: FakeDomain) -> migration_pb2.Progress:
    memory_bytes = domain.ram_mib << 20
    found = migration_pb2.Progress(memory_total_bytes=memory_bytes, memory_remaining_bytes=memory_bytes)
    found.time.GetCurrentTime()
    return found


def power_off(directory: Path, server_id: str) -> bool:
    """What a killed QEMU is to a real node. True: it ran."""
    shelf = Shelf(directory)
    domain = shelf.get(server_id)
    if domain is None or domain.found.power not in (RUNNING, PAUSED):
        return False
    shelf[server_id] = replace(domain, found=replace(domain.found, power=STOPPED, why="CRASHED"))
    return True
