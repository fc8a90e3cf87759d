"""A running guest goes from one libvirtd to another, with its disk, and both say so."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from agents.compute.driver import NO_DOMAIN, PAUSED, RUNNING, Found, HypervisorRefused, Marks
from agents.compute.image_cache import ImageCache
from agents.compute.libvirt import LibvirtDriver
from agents.compute.libvirtd import PrivateLibvirtd
from agents.compute.settings import ComputeSettings
from fabric.compute.v1 import server_pb2 as pb
from tests.system.compute.daemons import Daemons, daemons
from tests.unit.agents.compute.wants import SERVER_ID, a_want


@dataclass
class Host:
    """A libvirtd that takes guests from others, and the driver of its node."""

    name: str
    daemon: PrivateLibvirtd
    directory: Path
    listen: str
    image: Path

    def __post_init__(self) -> None:
        self.address = f"qemu+tls://{self.listen}/system"
        settings = ComputeSettings(connection_uri=self.daemon.uri, migration_address=self.address)
        self.driver = LibvirtDriver(self.name, self.directory, settings)

    async def base(self, want: pb.ServerWant) -> Path:
        async def fetch(_: pb.ImageSource) -> AsyncIterator[bytes]:
            yield self.image.read_bytes()

        cache = ImageCache(self.directory / "images", fetch, max_bytes=1 << 30, max_age=timedelta(days=1))
        return await cache.ensure(want.image)

    def console(self) -> bytes:
        path = self.directory / "servers" / SERVER_ID / "console.log"
        return path.read_bytes() if path.exists() else b""

    async def clean(self) -> None:
        for server_id in await self.driver.ids():
            await self.driver.remove(server_id)
        self.driver.close()


@pytest.fixture(scope="module")
def libvirtds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    with daemons(tmp_path_factory) as made:
        yield made


@pytest.fixture
async def hosts(libvirtds: Daemons, image: Path, tmp_path: Path) -> AsyncIterator[tuple[Host, Host]]:
    source, target = (
        Host(f"n{at}", daemon, tmp_path / f"n{at}", listen, image)
        for at, (daemon, listen) in enumerate(libvirtds)
    )
    yield source, target
    await source.clean()
    await target.clean()


async def running(host: Host, want: pb.ServerWant) -> None:
    await host.driver.ensure_disk(want, await host.base(want))
    await host.driver.ensure_defined(want, Marks(generation=1))
    await host.driver.ensure_power(SERVER_ID, RUNNING)
    async with asyncio.timeout(90):
        while b"login:" not in host.console() and b"fabric-guest" not in host.console():
            await asyncio.sleep(0.1)


async def seen(host: Host) -> Found:
    found = await host.driver.find(SERVER_ID)
    assert found is not None
    return found


async def prepared(source: Host, target: Host, want: pb.ServerWant) -> pb.Transfer:
    """Have the target's files, and say where the source shall send it."""
    want.transfer.role = pb.Transfer.ROLE_RECEIVE
    pieces = source.driver.read_files(SERVER_ID, fixed_only=True)
    await target.driver.ensure_received(want, await target.base(want), pieces)
    return pb.Transfer(
        role=pb.Transfer.ROLE_SEND,
        address=target.address,
        node=target.name,
        directory=await target.driver.directory(SERVER_ID),
    )


async def test_a_guest_goes_and_comes_back_as_it_is_and_one_that_cannot_go_stays(
    hosts: tuple[Host, Host],
) -> None:
    source, target = hosts
    want = a_want(ram_mib=96)
    want.server.spec.config_drive = True
    await running(source, want)
    transfer = await prepared(source, target, want)
    wrong = pb.Transfer()
    wrong.CopyFrom(transfer)
    wrong.directory = "/nowhere"
    with pytest.raises(HypervisorRefused):
        await source.driver.send(SERVER_ID, wrong)
    here = await seen(source)
    assert (here.power, here.halted, here.sending) == (RUNNING, False, None)
    assert (await seen(target)).power == NO_DOMAIN

    await source.driver.send(SERVER_ID, transfer)
    await arrived(source, target, RUNNING)
    await target.driver.ensure_power(SERVER_ID, PAUSED)
    await target.driver.send(SERVER_ID, await prepared(target, source, want))
    await arrived(target, source, PAUSED)


async def arrived(source: Host, target: Host, power: pb.ServerSpec.Power.ValueType) -> None:
    """It is there and nowhere else, also when its old node has cleaned up."""
    assert (await seen(source)).power == NO_DOMAIN
    await source.driver.remove(SERVER_ID)
    there = await seen(target)
    assert (there.power, there.halted, there.marks.generation) == (power, False, 1)
