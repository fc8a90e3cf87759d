"""What every compute driver must do with servers that go to other nodes, between two drivers of a kind."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from agents.compute.driver import (
    NO_DOMAIN,
    PAUSED,
    RUNNING,
    STOPPED,
    ChangedMeanwhile,
    ComputeDriver,
    HypervisorRefused,
    Marks,
    Piece,
)
from agents.compute.fake import FakeDriver, FakeSettings
from agents.compute.libvirt import LibvirtDriver
from agents.compute.settings import ComputeSettings
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import NotFound, Unavailable
from tests.contract.test_compute_driver import defined, found, started
from tests.system.compute.daemons import Daemons, daemons
from tests.unit.agents.compute.wants import a_want

Pair: TypeAlias = tuple[ComputeDriver, ComputeDriver]
Contents: TypeAlias = dict[str, tuple[int, list[tuple[int, bytes]]]]


@pytest.fixture(scope="module")
def libvirtds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    with daemons(tmp_path_factory) as made:
        yield made


@pytest.fixture(params=["fake", "libvirt"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    """The driver of the node that a server leaves, and of the one that it goes to."""
    if request.param == "fake":
        here, there = (FakeDriver(FakeSettings(directory=tmp_path / name)) for name in ("a", "b"))
        yield here, there
        return
    made = []
    for name, (daemon, listen) in zip(("a", "b"), request.getfixturevalue("libvirtds"), strict=True):
        address = f"qemu+tls://{listen}/system"
        settings = ComputeSettings(connection_uri=daemon.uri, migration_address=address)
        made.append(LibvirtDriver(name, tmp_path / name, settings))
    yield made[0], made[1]
    for driver in made:
        for server_id in await driver.ids():
            await driver.remove(server_id)
        driver.close()


@pytest.fixture
def want() -> pb.ServerWant:
    made = a_want(str(uuid.uuid4()), ram_mib=64)
    made.server.spec.config_drive = True
    return made


async def contents(driver: ComputeDriver, server_id: str) -> Contents:
    """All that it would hand over, by file."""
    files: Contents = {}
    async for piece in driver.read_files(server_id, fixed_only=False):
        _, pieces = files.setdefault(piece.name, (piece.size_bytes, []))
        if piece.data:
            pieces.append((piece.offset, piece.data))
    return files


async def prepared(here: ComputeDriver, there: ComputeDriver, want: pb.ServerWant) -> pb.Transfer:
    """The target has what a running domain needs; returns what the source is told."""
    server_id = want.server.meta.id
    want.transfer.role = pb.Transfer.ROLE_RECEIVE
    await there.ensure_received(want, None, here.read_files(server_id, fixed_only=True))
    address = (await there.inventory()).migration_address
    directory = await there.directory(server_id)
    return pb.Transfer(role=pb.Transfer.ROLE_SEND, address=address, node="b", directory=directory)


async def test_files_are_there_as_they_were_here(pair: Pair, want: pb.ServerWant) -> None:
    here, there = pair
    server_id = await defined(here, want)
    want.transfer.role = pb.Transfer.ROLE_FETCH
    for _ in range(2):
        await there.ensure_received(want, None, here.read_files(server_id, fixed_only=False))
    assert (await found(there, want)).power == NO_DOMAIN
    assert await contents(there, server_id) == await contents(here, server_id)
    await there.ensure_defined(want, Marks(generation=2))
    assert (await found(there, want)).power == STOPPED


async def test_files_that_came_in_part_are_not_there(pair: Pair, want: pb.ServerWant) -> None:
    here, there = pair
    server_id = await defined(here, want)

    async def broken() -> AsyncIterator[Piece]:
        async for piece in here.read_files(server_id, fixed_only=False):
            yield piece
            raise Unavailable("the other node is gone")

    want.transfer.role = pb.Transfer.ROLE_FETCH
    with pytest.raises(Unavailable):
        await there.ensure_received(want, None, broken())
    seen = await there.find(server_id)
    assert seen is None or not seen.has_disk
    await there.ensure_received(want, None, here.read_files(server_id, fixed_only=False))
    assert await contents(there, server_id) == await contents(here, server_id)


async def test_files_of_what_is_not_here_are_not_found(pair: Pair, want: pb.ServerWant) -> None:
    with pytest.raises(NotFound):
        await contents(pair[0], want.server.meta.id)


@pytest.mark.parametrize("power", [RUNNING, PAUSED])
async def test_what_is_sent_is_there_as_it_was_and_not_here(
    pair: Pair, want: pb.ServerWant, power: pb.ServerSpec.Power.ValueType
) -> None:
    here, there = pair
    server_id = await started(here, want)
    marks = Marks(generation=5, reboot_count=1, boot_id="b")
    await here.ensure_marks(server_id, marks)
    await here.ensure_power(server_id, power)
    await here.send(server_id, await prepared(here, there, want))
    assert (await found(here, want)).power == NO_DOMAIN
    seen = await found(there, want)
    assert (seen.power, seen.halted, seen.sending, seen.marks) == (power, False, None, marks)
    await here.remove(server_id)
    assert await here.find(server_id) is None
    assert (await found(there, want)).power == power


async def test_what_cannot_be_sent_runs_on(pair: Pair, want: pb.ServerWant) -> None:
    here, there = pair
    server_id = await started(here, want)
    transfer = await prepared(here, there, want)
    transfer.address = transfer.directory = "/nowhere"
    with pytest.raises(HypervisorRefused):
        await here.send(server_id, transfer)
    seen = await found(here, want)
    assert (seen.power, seen.halted, seen.sending) == (RUNNING, False, None)
    assert (await found(there, want)).power == NO_DOMAIN


async def test_what_is_off_is_not_sent(pair: Pair, want: pb.ServerWant) -> None:
    here, there = pair
    server_id = await defined(here, want)
    with pytest.raises(ChangedMeanwhile):
        await here.send(server_id, await prepared(here, there, want))


async def test_what_is_not_being_sent_is_neither_stopped_nor_hurried(pair: Pair, want: pb.ServerWant) -> None:
    here, there = pair
    server_id = await started(here, want)
    await here.stop_sending(server_id)
    await here.hurry(server_id)
    assert (await found(here, want)).power == RUNNING
    await here.send(server_id, await prepared(here, there, want))
    assert (await found(there, want)).power == RUNNING
