"""ComputeDriver on libvirt and QEMU."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt  # type: ignore[import-untyped]

from agents.compute import backup_job, console, cpu, disk, domain, live_migration, stray
from agents.compute.connection import Connection
from agents.compute.driver import (
    NO_DOMAIN,
    PAUSED,
    RUNNING,
    STOPPED,
    SUSPENDED,
    ChangedMeanwhile,
    Console,
    Found,
    GuestAgentAway,
    Marks,
    Piece,
    Power,
)
from agents.compute.files import ServerFiles
from agents.compute.libvirtd import LIB, client_parameters, domain_log_directory, seen_from_outside
from agents.compute.settings import ComputeSettings
from fabric.compute.v1 import console_pb2, node_pb2, server_pb2
from fabric.runtime.errors import FabricError, NotFound, Unavailable

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
_BUSY_PAUSES = (  # paused by the hypervisor for its own work, not by somebody's wish
    libvirt.VIR_DOMAIN_PAUSED_SAVE,
    libvirt.VIR_DOMAIN_PAUSED_DUMP,
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT,
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
)
_OFF = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: "SHUTDOWN",
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: "DESTROYED",
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: "CRASHED",
    libvirt.VIR_DOMAIN_SHUTOFF_SAVED: "SAVED",
    libvirt.VIR_DOMAIN_SHUTOFF_FAILED: "FAILED",
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: "DAEMON",
}
_RECONNECT_EVERY_S = 1.0
_LOOK_AT_JOB_EVERY_S = 0.2
_NO_AGENT = (
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_AGENT_UNSYNCED,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,  # the domain was started without a port for it
)
_AGENT_S = 5  # what an agent inside a guest has to answer in


class LibvirtDriver:
    """Domains of one libvirtd that carry this node's mark, and the files below one directory."""

    def __init__(self, node: str, directory: Path, settings: ComputeSettings) -> None:
        self._node = node
        self._directory = directory
        self._settings = settings
        self._files = ServerFiles(directory / "servers", availability_zone=settings.availability_zone)
        self._host = domain.Host(node, cpu.virt_type(settings.virt_type), settings.machine)
        self._connection = Connection(settings.connection_uri)

    def close(self) -> None:
        """Let go of libvirtd; domains run on."""
        self._connection.close()

    async def inventory(self) -> node_pb2.ComputeInventory:
        def ask(connection: libvirt.virConnect) -> node_pb2.ComputeInventory:
            arch, _, vcpus, *_ = connection.getInfo()
            return node_pb2.ComputeInventory(
                hypervisor_type="KVM" if self._host.virt_type == "kvm" else "QEMU",
                hypervisor_version=_version(connection.getVersion()),
                libvirt_version=_version(connection.getLibVersion()),
                vcpus=vcpus,
                ram_mib=max(0, cpu.ram_mib() - self._settings.reserved_ram_mib),
                cpu_arch=arch,
                cpu_model=cpu.model_name(),
                migration_address=self._settings.migration_address,
                cpu_features=cpu.features() if self._host.virt_type == "kvm" else (),
            )

        inventory = await self._connection.run(ask)
        self._directory.mkdir(parents=True, exist_ok=True)
        room = os.statvfs(self._directory)
        inventory.disk_gb = max(0, (room.f_blocks * room.f_frsize >> 30) - self._settings.reserved_disk_gb)
        inventory.availability_zone = self._settings.availability_zone
        return inventory

    async def ids(self) -> list[str]:
        def ask(connection: libvirt.virConnect) -> set[str]:
            found = set()
            for dom in connection.listAllDomains():
                marked = domain.parse_mark(ET.fromstring(dom.XMLDesc()))
                if marked is not None and marked[0] == self._node:
                    found.add(dom.UUIDString())
            return found

        return sorted(await self._connection.run(ask) | set(self._files.ids()))

    async def find(self, server_id: str) -> Found | None:
        return await self._connection.run(lambda connection: self._find(connection, server_id))

    async def ensure_disk(self, want: server_pb2.ServerWant, base: Path | None) -> None:
        await self._files.ensure(want, base)

    async def ensure_rescue_disk(self, want: server_pb2.ServerWant, base: Path | None) -> None:
        await self._files.ensure_rescue(want, base)

    async def ensure_defined(self, want: server_pb2.ServerWant, marks: Marks) -> None:
        server = want.server
        await self._grow(server)
        disks = self._files.disks(server.meta.id, rescued=server.rescue.generation != 0)
        console_log = str(self._files.console_log(server.meta.id))
        xml = domain.domain_xml(server, marks, disks, console_log, self._host)

        def define(connection: libvirt.virConnect) -> None:
            known = self._lookup(connection, server.meta.id)
            if known is not None and known.isActive():
                raise ChangedMeanwhile("the domain is not off", server=server.meta.id)
            connection.defineXML(xml)

        await self._connection.run(define)

    async def ensure_power(self, server_id: str, power: Power) -> None:
        def change(connection: libvirt.virConnect) -> None:
            dom = self._existing(connection, server_id)
            active, state = bool(dom.isActive()), dom.state()[0]
            if power == RUNNING:
                if not active:
                    self._create(dom, server_id)
                elif state == libvirt.VIR_DOMAIN_PAUSED:
                    dom.resume()
            elif power == STOPPED:
                if active:
                    dom.destroy()
                if dom.hasManagedSaveImage():
                    dom.managedSaveRemove()
            elif not active:
                if not (power == SUSPENDED and dom.hasManagedSaveImage()):
                    raise ChangedMeanwhile("the domain does not run", server=server_id)
            elif power == PAUSED:
                if state != libvirt.VIR_DOMAIN_PAUSED:
                    dom.suspend()
            elif power == SUSPENDED:
                dom.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)

        await self._connection.run(change)

    async def press_power_button(self, server_id: str) -> None:
        await self._connection.run(
            lambda connection: self._existing(connection, server_id).shutdownFlags(
                libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
            )
        )

    async def ensure_marks(self, server_id: str, marks: Marks) -> None:
        def write(connection: libvirt.virConnect) -> None:
            dom = self._existing(connection, server_id)
            dom.setMetadata(
                libvirt.VIR_DOMAIN_METADATA_ELEMENT,
                domain.mark_xml(self._node, marks),
                domain.PREFIX,
                domain.NAMESPACE,
                _both(dom),
            )

        await self._connection.run(write)

    async def ensure_nic(self, server_id: str, nic: server_pb2.Nic) -> None:
        def attach(connection: libvirt.virConnect) -> None:
            dom = self._existing(connection, server_id)
            present = domain.parse_nics(ET.fromstring(dom.XMLDesc()))
            if all(found.port_id != nic.port_id for found in present):
                dom.attachDeviceFlags(domain.interface_xml(nic), _both(dom))

        await self._connection.run(attach)

    async def remove_nic(self, server_id: str, port_id: str) -> None:
        def detach(connection: libvirt.virConnect) -> None:
            dom = self._existing(connection, server_id)
            present = domain.parse_nics(ET.fromstring(dom.XMLDesc()))
            if any(found.port_id == port_id for found in present):
                _detach(dom, domain.alias(port_id))

        await self._connection.run(detach)

    async def remove(self, server_id: str) -> None:
        def undefine(connection: libvirt.virConnect) -> None:
            dom = self._lookup(connection, server_id)
            if dom is not None:
                if dom.isActive():
                    dom.destroy()
                dom.undefineFlags(_UNDEFINE)
            stray.end({server_id}, self._lib())
            logs = domain_log_directory(self._settings.connection_uri)
            for path in logs.glob(f"{domain.name(server_id)}.log*"):
                path.unlink(missing_ok=True)
            self._files.remove(server_id)

        await self._connection.run(undefine)

    async def ensure_received(
        self, want: server_pb2.ServerWant, base: Path | None, pieces: AsyncIterator[Piece]
    ) -> None:
        await self._files.receive(want, base, pieces)

    def read_files(self, server_id: str, *, fixed_only: bool) -> AsyncIterator[Piece]:
        return self._files.read(server_id, fixed_only=fixed_only)

    async def directory(self, server_id: str) -> str:
        return str(self._files.folder(server_id))

    async def send(self, server_id: str, transfer: server_pb2.Transfer) -> None:
        folder = str(self._files.folder(server_id))

        def migrate(connection: libvirt.virConnect) -> None:
            dom = self._existing(connection, server_id)
            live_migration.send(dom, folder, transfer, client_parameters(self._settings.connection_uri))

        await self._connection.run(migrate)

    async def stop_sending(self, server_id: str) -> None:
        def abort(connection: libvirt.virConnect) -> None:
            dom = self._existing(connection, server_id)
            if live_migration.progress(dom) is not None:
                dom.abortJob()

        await self._connection.run(abort)

    async def hurry(self, server_id: str) -> None:
        def pause(connection: libvirt.virConnect) -> None:
            dom = self._existing(connection, server_id)
            if dom.state()[0] == libvirt.VIR_DOMAIN_RUNNING and live_migration.progress(dom) is not None:
                dom.suspend()

        await self._connection.run(pause)

    async def ensure_copy(self, server_id: str, copy: str) -> None:
        async with self._files.copying(server_id, copy) as part:
            if part is None:
                return
            root = self._files.root(server_id)
            await self._end_job(server_id)
            if await self._connection.run(lambda found: self._begin_job(found, server_id, root, part)):
                await self._follow_job(server_id)
            else:
                await disk.copy(root, part)

    async def copy_size_bytes(self, server_id: str, copy: str) -> int:
        return self._files.copy_size_bytes(server_id, copy)

    def read_copy(self, server_id: str, copy: str) -> AsyncIterator[bytes]:
        return self._files.read_copy(server_id, copy)

    async def clean(self, server_id: str, copy: str = "", *, rescue: bool = False) -> None:
        await self._end_job(server_id)
        await asyncio.to_thread(self._files.clean, server_id, copy, rescue=rescue)

    async def console_log(self, server_id: str, max_bytes: int) -> bytes:
        if not self._files.exist(server_id):
            raise NotFound("no such domain on this node", server=server_id)
        return await asyncio.to_thread(self._files.read_console_log, server_id, max_bytes)

    async def console(self, server_id: str, kind: console_pb2.ConsoleKind.ValueType) -> Console:
        def look(connection: libvirt.virConnect) -> str:
            dom = self._lookup(connection, server_id)
            return console.place(ET.fromstring(dom.XMLDesc()), kind) if dom and dom.isActive() else ""

        path = await self._connection.run(look)
        if not path:
            raise NotFound("no such domain runs on this node", server=server_id)
        if kind == console_pb2.CONSOLE_KIND_SERIAL:
            return await console.open_terminal(Path(path))
        return await console.open_socket(self._lib() / Path(path).relative_to(LIB))

    async def ensure_password(self, server_id: str, user: str, password: str) -> None:
        def change(connection: libvirt.virConnect) -> None:
            dom = self._lookup(connection, server_id)
            if dom is None or not dom.isActive():
                raise NotFound("no such domain runs on this node", server=server_id)
            dom.agentSetResponseTimeout(_AGENT_S)  # its own patience has no end
            try:
                dom.setUserPassword(user, password)
            except libvirt.libvirtError as error:
                if error.get_error_code() not in _NO_AGENT:
                    raise
                raise GuestAgentAway(error.get_error_message(), server=server_id) from error

        await self._connection.run(change)

    async def events(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        changed: asyncio.Queue[str | None] = asyncio.Queue()

        def tell(server_id: str | None) -> None:
            loop.call_soon_threadsafe(changed.put_nowait, server_id)

        self._connection.listen(tell)
        try:
            while True:
                try:
                    await self._connection.run(lambda connection: connection.isAlive())
                except Unavailable:
                    await asyncio.sleep(_RECONNECT_EVERY_S)
                    continue
                yield ""  # much may have happened while nobody listened
                while (server_id := await changed.get()) is not None:
                    yield server_id
        finally:
            self._connection.listen(lambda _: None)

    def _lib(self) -> Path:
        return seen_from_outside(self._settings.connection_uri, "lib")

    def _find(self, connection: libvirt.virConnect, server_id: str) -> Found | None:
        dom = self._lookup(connection, server_id)
        if dom is None:
            if not self._files.any_left(server_id):
                return None
            return Found(
                NO_DOMAIN,
                self._files.exist(server_id),
                self._files.build(server_id),
                copies=self._files.copies(server_id),
                rescue=self._files.rescue(server_id),
                has_rest=self._files.has_rest(server_id),
            )
        tree = ET.fromstring(dom.XMLDesc())
        marked = domain.parse_mark(tree)
        power, why, in_between = _power(dom)
        return Found(
            power=power,
            has_disk=self._files.exist(server_id),
            build=self._files.build(server_id),
            marks=Marks() if marked is None else marked[1],
            nics=domain.parse_nics(tree),
            domain_name=dom.name(),
            why=why,
            in_between=in_between,
            halted=live_migration.is_halted(dom),
            sending=live_migration.progress(dom),
            copies=self._files.copies(server_id),
            rescue=self._files.rescue(server_id),
            has_rest=self._files.has_rest(server_id),
        )

    def _begin_job(self, connection: libvirt.virConnect, server_id: str, root: Path, part: Path) -> bool:
        """False: the domain is off."""
        dom = self._lookup(connection, server_id)
        if dom is None or not dom.isActive():
            return False
        backup_job.begin(dom, root, part)
        return True

    async def _follow_job(self, server_id: str) -> None:
        """Return when the disk is copied."""

        def is_over(connection: libvirt.virConnect) -> bool:
            dom = self._existing(connection, server_id)
            if backup_job.is_running(dom):
                return False
            backup_job.check_result(dom)
            return True

        try:
            await self._until(is_over)
        except asyncio.CancelledError:
            with suppress(FabricError):
                await self._end_job(server_id)
            raise

    async def _end_job(self, server_id: str) -> None:
        """Have no backup job of it under way: one of an earlier agent is of no use to this one."""

        def abort(connection: libvirt.virConnect) -> bool:
            dom = self._lookup(connection, server_id)
            if dom is None or not backup_job.is_running(dom):
                return True
            dom.abortJob()
            return False

        await self._until(abort)

    async def _until(self, is_so: Callable[[libvirt.virConnect], bool]) -> None:
        """Ask again and again: libvirt has no event for the end of a job."""
        while True:
            if await self._connection.run(is_so):
                return
            await asyncio.sleep(_LOOK_AT_JOB_EVERY_S)

    async def _grow(self, server: server_pb2.Server) -> None:
        """A domain that is off, or not there yet, may have larger disks than before."""
        found = await self.find(server.meta.id)
        if found is not None and found.has_disk and found.power in (NO_DOMAIN, STOPPED):
            await self._files.grow(server)

    def _create(self, dom: libvirt.virDomain, server_id: str) -> None:
        try:
            dom.create()
        except libvirt.libvirtError:
            # Perhaps a QEMU is in the way that an earlier libvirtd started and did not live to record.
            if dom.isActive() or not stray.end({server_id}, self._lib()):
                raise
            dom.create()

    def _existing(self, connection: libvirt.virConnect, server_id: str) -> libvirt.virDomain:
        dom = self._lookup(connection, server_id)
        if dom is None:
            raise ChangedMeanwhile("the domain is gone", server=server_id)
        return dom

    def _lookup(self, connection: libvirt.virConnect, server_id: str) -> libvirt.virDomain | None:
        """The domain of the server; None also when the domain with its id is not ours."""
        try:
            dom = connection.lookupByUUIDString(server_id)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        return dom if dom.name() == domain.name(server_id) else None


def _power(dom: libvirt.virDomain) -> tuple[Power, str, bool]:
    """The power state, why it is what it is, and whether it is changing."""
    state, reason = dom.state()
    if state in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_NOSTATE):
        if dom.hasManagedSaveImage():
            return SUSPENDED, "", False
        return STOPPED, _OFF.get(reason, "") if state == libvirt.VIR_DOMAIN_SHUTOFF else "CRASHED", False
    if state == libvirt.VIR_DOMAIN_PAUSED and reason not in _BUSY_PAUSES:
        return PAUSED, "IOERROR" if reason == libvirt.VIR_DOMAIN_PAUSED_IOERROR else "", False
    starting = state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP
    return RUNNING, "", starting or state == libvirt.VIR_DOMAIN_SHUTDOWN


def _detach(dom: libvirt.virDomain, alias: str) -> None:
    """Also where the definition has it no more and the domain still does: its guest has yet to let go of it."""
    for flags in (_both(dom), libvirt.VIR_DOMAIN_AFFECT_LIVE):
        try:
            dom.detachDeviceAlias(alias, flags)
            return
        except libvirt.libvirtError as error:
            if "in the process of unplug" in str(error):
                return
            if "no device found with alias" not in str(error):
                raise
        if not dom.isActive():
            return


def _both(dom: libvirt.virDomain) -> int:
    """Change the definition, and the running domain if it runs."""
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE if dom.isActive() else 0
    return int(libvirt.VIR_DOMAIN_AFFECT_CONFIG | live)


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
