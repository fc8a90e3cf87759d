"""A node with a libvirtd of its own and a compute agent, driven by a store in memory."""

import asyncio
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from agents.compute.agent import ComputeAgent
from agents.compute.driver import GuestAgentAway
from agents.compute.image_cache import ImageCache
from agents.compute.libvirt import LibvirtDriver
from agents.compute.libvirtd import PrivateLibvirtd, domain_log_directory
from agents.compute.settings import ComputeSettings
from agents.compute.stray import qemus_below
from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2 import ImageSource
from tests.unit.agents.compute.wants import a_nic
from tests.unit.agents.node_store import MemoryNodeStore

PATIENCE_S = 90.0


@dataclass
class Machine:
    """The agent's process is a task here; killing it leaves what a killed process leaves."""

    libvirtd: PrivateLibvirtd
    directory: Path
    image: Path
    settings: ComputeSettings

    def __post_init__(self) -> None:
        self.store: MemoryNodeStore[pb.ServerWant, pb.ServerStatus] = MemoryNodeStore()

    def start(self) -> None:
        self.driver = LibvirtDriver("n1", self.directory, self.settings)
        images = ImageCache(
            self.directory / "images", self._fetch, max_bytes=1 << 30, max_age=timedelta(days=1)
        )
        self.images = images
        self.agent = ComputeAgent(self.store, self.driver, images, self.settings)
        self._run = asyncio.create_task(self.agent.run())

    async def kill(self) -> None:
        self._run.cancel()
        await asyncio.gather(self._run, return_exceptions=True)
        self.driver.close()

    async def clean(self) -> None:
        """Remove all servers, as an operator with another tool would."""
        driver = LibvirtDriver("n1", self.directory, self.settings)
        for server_id in await driver.ids():
            await driver.remove(server_id)
        driver.close()

    async def until(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
        """Wait for it; returns how long it took."""
        began = time.monotonic()
        while not condition():
            if self._run.done():
                self._run.result()
            if time.monotonic() - began > patience_s:
                raise TimeoutError(str(self.store.reports[-3:]))
            await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def reaches(self, want: pb.ServerWant, state: pb.ServerStatus.State.ValueType) -> float:
        """Bind it and wait until it is in the state; returns how long that took."""
        server = want.server
        self.store.bind(server.meta.id, want)
        return await self.until(lambda: self.is_in(server, state))

    def is_in(self, server: pb.Server, state: pb.ServerStatus.State.ValueType) -> bool:
        status = self.store.status(server.meta.id)
        if status is None or status.observed_generation != server.meta.generation:
            return False
        return status.state == state and status.reboot_count == server.spec.reboot_count

    async def delete(self, want: pb.ServerWant) -> float:
        """Mark it deleted and wait until it is released."""
        server_id = want.server.meta.id
        want.server.meta.delete_time.GetCurrentTime()
        want.server.meta.generation += 1
        self.store.bind(server_id, want)
        took_s = await self.until(lambda: self.status(server_id).released)
        self.store.unbind(server_id)
        return took_s

    async def says(self, want: pb.ServerWant, text: bytes, times: int = 1) -> float:
        """Wait until the guest's console has shown the text so often."""
        path = self.directory / "servers" / want.server.meta.id / "console.log"
        return await self.until(lambda: path.exists() and path.read_bytes().count(text) >= times)

    async def gives_password(self, want: pb.ServerWant) -> None:
        """Have the guest's agent, which may have yet to start, set root's."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return await self.driver.ensure_password(want.server.meta.id, "root", "secret")
            except GuestAgentAway:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)

    def status(self, server_id: str) -> pb.ServerStatus:
        status = self.store.status(server_id)
        assert status is not None
        return status

    def qemus(self) -> list[int]:
        return sorted(qemus_below(self.libvirtd.directory))

    def leftovers(self) -> list[str]:
        """What is left of servers on this node."""
        places = [self.directory / "servers", domain_log_directory(self.libvirtd.uri)]
        etc = self.libvirtd.directory / "etc/qemu"
        files = [str(path) for place in places if place.exists() for path in place.iterdir()]
        return files + [str(path) for path in etc.glob("*.xml")] + [f"pid {pid}" for pid in self.qemus()]

    async def _fetch(self, source: ImageSource) -> AsyncIterator[bytes]:
        with self.image.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk
                await asyncio.sleep(0)


def made_tap() -> pb.Nic:
    """A NIC whose tap exists; remove_tap() it."""
    nic = a_nic(str(uuid.uuid4()), "fa:16:3e:" + ":".join(f"{byte:02x}" for byte in uuid.uuid4().bytes[:3]))
    subprocess.run(["ip", "tuntap", "add", nic.tap, "mode", "tap"], check=True)
    return nic


def remove_tap(nic: pb.Nic) -> None:
    subprocess.run(["ip", "link", "del", nic.tap], check=True)


def cpu_s(pid: int) -> float:
    """The processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
