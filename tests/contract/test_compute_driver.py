"""What every compute driver must do, checked on each of them."""

import asyncio
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.compute import disk
from agents.compute.driver import (
    NO_DOMAIN,
    PAUSED,
    RUNNING,
    STOPPED,
    SUSPENDED,
    ChangedMeanwhile,
    ComputeDriver,
    Found,
    GuestAgentAway,
    HypervisorRefused,
    Marks,
)
from agents.compute.fake import FakeDriver, FakeSettings
from agents.compute.libvirt import LibvirtDriver
from agents.compute.libvirtd import PrivateLibvirtd
from agents.compute.settings import ComputeSettings
from fabric.compute.v1 import console_pb2
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import NotFound
from tests.unit.agents.compute.wants import a_nic, a_want

TOO_MUCH_RAM_MIB = 64 * 1024 * 1024


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateLibvirtd]:
    if shutil.which("libvirtd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("no libvirtd here")
    daemon = PrivateLibvirtd(tmp_path_factory.mktemp("lv"))
    daemon.start()
    yield daemon
    daemon.wipe()


@pytest.fixture(params=["fake", "libvirt"])
async def driver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ComputeDriver]:
    if request.param == "fake":
        yield FakeDriver(FakeSettings(ram_mib=4096, agent_user=""))
        return
    daemon = request.getfixturevalue("libvirtd")
    settings = ComputeSettings(connection_uri=daemon.uri)
    made = LibvirtDriver("n1", tmp_path, settings)
    yield made
    for server_id in await made.ids():
        await made.remove(server_id)
    made.close()


@pytest.fixture
def want() -> pb.ServerWant:
    return a_want(str(uuid.uuid4()), ram_mib=64)


@pytest.fixture
def nic() -> Iterator[pb.Nic]:
    """A NIC with a tap that exists."""
    made = a_nic(str(uuid.uuid4()))
    subprocess.run(["ip", "tuntap", "add", made.tap, "mode", "tap"], check=True)
    yield made
    subprocess.run(["ip", "tuntap", "del", made.tap, "mode", "tap"], check=True)


def files_of(server_id: str, directory: Path) -> list[Path]:
    return list(directory.rglob(f"*{server_id}*"))


async def found(driver: ComputeDriver, want: pb.ServerWant) -> Found:
    seen = await driver.find(want.server.meta.id)
    assert seen is not None
    return seen


async def defined(driver: ComputeDriver, want: pb.ServerWant, marks: Marks | None = None) -> str:
    await driver.ensure_disk(want, None)
    await driver.ensure_defined(want, marks or Marks())
    return want.server.meta.id


async def started(driver: ComputeDriver, want: pb.ServerWant) -> str:
    server_id = await defined(driver, want)
    await driver.ensure_power(server_id, RUNNING)
    return server_id


async def test_what_was_never_made_is_not_found(driver: ComputeDriver, want: pb.ServerWant) -> None:
    assert await driver.find(want.server.meta.id) is None
    assert want.server.meta.id not in await driver.ids()


async def test_files_alone_are_found_without_a_domain(driver: ComputeDriver, want: pb.ServerWant) -> None:
    await driver.ensure_disk(want, None)
    assert (await found(driver, want)).power == NO_DOMAIN
    assert want.server.meta.id in await driver.ids()


async def test_defined_is_stopped_with_its_marks_and_nics(
    driver: ComputeDriver, want: pb.ServerWant, nic: pb.Nic
) -> None:
    want.server.nics.append(nic)
    marks = Marks(generation=3, reboot_count=2, boot_id="b", launch_time=datetime(2026, 1, 2, tzinfo=UTC))
    await defined(driver, want, marks)
    seen = await found(driver, want)
    assert seen.power == STOPPED
    assert seen.has_disk
    assert seen.marks == marks
    assert [(got.port_id, got.mac_address, got.tap) for got in seen.nics] == [
        (nic.port_id, nic.mac_address, nic.tap)
    ]


async def test_defining_again_replaces_the_nics(
    driver: ComputeDriver, want: pb.ServerWant, nic: pb.Nic
) -> None:
    want.server.nics.append(nic)
    await defined(driver, want)
    del want.server.nics[:]
    await defined(driver, want)
    assert (await found(driver, want)).nics == ()


async def test_a_running_domain_is_not_redefined(driver: ComputeDriver, want: pb.ServerWant) -> None:
    await started(driver, want)
    with pytest.raises(ChangedMeanwhile):
        await driver.ensure_defined(want, Marks())


async def test_power_goes_wherever_it_is_sent_and_again(driver: ComputeDriver, want: pb.ServerWant) -> None:
    server_id = await defined(driver, want)
    for power in (RUNNING, PAUSED, RUNNING, STOPPED, RUNNING, SUSPENDED, RUNNING, PAUSED, STOPPED):
        for _ in range(2):
            await driver.ensure_power(server_id, power)
            assert (await found(driver, want)).power == power


async def test_what_is_suspended_can_be_stopped(driver: ComputeDriver, want: pb.ServerWant) -> None:
    server_id = await started(driver, want)
    await driver.ensure_power(server_id, SUSPENDED)
    await driver.ensure_power(server_id, STOPPED)
    assert (await found(driver, want)).power == STOPPED


async def test_what_is_off_cannot_be_paused(driver: ComputeDriver, want: pb.ServerWant) -> None:
    server_id = await defined(driver, want)
    with pytest.raises(ChangedMeanwhile):
        await driver.ensure_power(server_id, PAUSED)


async def test_marks_are_kept_through_all_states(driver: ComputeDriver, want: pb.ServerWant) -> None:
    server_id = await started(driver, want)
    marks = Marks(generation=7, reboot_count=1, boot_id="b")
    await driver.ensure_marks(server_id, marks)
    assert (await found(driver, want)).marks == marks
    await driver.ensure_power(server_id, STOPPED)
    assert (await found(driver, want)).marks == marks
    await driver.ensure_marks(server_id, replace(marks, generation=8))
    assert (await found(driver, want)).marks.generation == 8


async def test_a_nic_is_plugged_into_a_running_domain_once(
    driver: ComputeDriver, want: pb.ServerWant, nic: pb.Nic
) -> None:
    server_id = await started(driver, want)
    await driver.ensure_nic(server_id, nic)
    await driver.ensure_nic(server_id, nic)
    seen = await found(driver, want)
    assert [got.port_id for got in seen.nics] == [nic.port_id]
    await driver.ensure_power(server_id, STOPPED)
    assert [got.port_id for got in (await found(driver, want)).nics] == [nic.port_id]


async def test_removing_a_nic_that_is_not_there_is_nothing(
    driver: ComputeDriver, want: pb.ServerWant
) -> None:
    server_id = await started(driver, want)
    await driver.remove_nic(server_id, str(uuid.uuid4()))


async def test_a_nic_that_a_guest_keeps_may_be_asked_for_again_and_again(
    driver: ComputeDriver, want: pb.ServerWant, nic: pb.Nic
) -> None:
    want.server.nics.append(nic)
    server_id = await started(driver, want)
    for _ in range(3):
        await driver.remove_nic(server_id, nic.port_id)
    await driver.ensure_power(server_id, STOPPED)
    assert (await found(driver, want)).nics == ()


async def test_a_nic_is_removed_from_a_stopped_domain(
    driver: ComputeDriver, want: pb.ServerWant, nic: pb.Nic
) -> None:
    want.server.nics.append(nic)
    server_id = await defined(driver, want)
    await driver.remove_nic(server_id, nic.port_id)
    assert (await found(driver, want)).nics == ()


@pytest.mark.parametrize("power", [STOPPED, RUNNING, PAUSED, SUSPENDED])
async def test_removed_in_any_state_nothing_is_left(
    driver: ComputeDriver, want: pb.ServerWant, power: int, tmp_path: Path
) -> None:
    server_id = await defined(driver, want)
    if power != STOPPED:
        await driver.ensure_power(server_id, RUNNING)
        await driver.ensure_power(server_id, pb.ServerSpec.Power.ValueType(power))
    await driver.remove(server_id)
    assert await driver.find(server_id) is None
    assert server_id not in await driver.ids()
    assert not await asyncio.to_thread(files_of, server_id, tmp_path)
    await driver.remove(server_id)


async def test_files_without_a_domain_are_removed(driver: ComputeDriver, want: pb.ServerWant) -> None:
    await driver.ensure_disk(want, None)
    await driver.remove(want.server.meta.id)
    assert await driver.find(want.server.meta.id) is None


async def test_what_needs_more_memory_than_there_is_is_refused(
    driver: ComputeDriver, want: pb.ServerWant
) -> None:
    want.server.spec.flavor.ram_mib = TOO_MUCH_RAM_MIB
    with pytest.raises(HypervisorRefused):
        await started(driver, want)
    assert (await found(driver, want)).power == STOPPED


async def test_verbs_on_what_is_gone_say_so(driver: ComputeDriver, want: pb.ServerWant) -> None:
    server_id = want.server.meta.id
    with pytest.raises(ChangedMeanwhile):
        await driver.ensure_power(server_id, RUNNING)
    with pytest.raises(ChangedMeanwhile):
        await driver.ensure_marks(server_id, Marks())
    with pytest.raises(ChangedMeanwhile):
        await driver.press_power_button(server_id)
    with pytest.raises(NotFound):
        await driver.console_log(server_id, 0)


async def test_the_console_log_of_a_fresh_domain_can_be_read(
    driver: ComputeDriver, want: pb.ServerWant
) -> None:
    server_id = await started(driver, want)
    assert len(await driver.console_log(server_id, 10)) <= 10


async def test_inventory_says_what_the_node_has(driver: ComputeDriver) -> None:
    inventory = await driver.inventory()
    assert inventory.vcpus > 0
    assert inventory.ram_mib > 0
    assert inventory.disk_gb > 0
    assert inventory.hypervisor_version.count(".") == 2


async def test_many_at_once(driver: ComputeDriver) -> None:
    wants = [a_want(str(uuid.uuid4()), ram_mib=64) for _ in range(4)]
    ids = await asyncio.gather(*(defined(driver, want) for want in wants))
    assert set(ids) <= set(await driver.ids())
    await asyncio.gather(*(driver.remove(server_id) for server_id in ids))


async def test_disks_of_a_later_build_replace_those_of_the_first_once(
    driver: ComputeDriver, want: pb.ServerWant, tmp_path: Path
) -> None:
    marks = Marks(generation=1, reboot_count=2, boot_id="b")
    server_id = await defined(driver, want, marks)
    want.server.spec.rebuild_generation = 5
    for _ in range(2):
        await driver.ensure_disk(want, None)
        seen = await found(driver, want)
        assert (seen.build, seen.power, seen.marks, seen.has_disk) == (5, STOPPED, marks, True)
    assert len(await asyncio.to_thread(files_of, server_id, tmp_path)) <= 1
    await driver.ensure_power(server_id, RUNNING)
    assert (await found(driver, want)).build == 5


@pytest.mark.parametrize("power", [STOPPED, RUNNING, PAUSED, SUSPENDED])
async def test_a_copy_of_the_disk_is_whole_and_the_guest_stays_as_it_is(
    driver: ComputeDriver, want: pb.ServerWant, power: int, tmp_path: Path
) -> None:
    server_id = await defined(driver, want)
    if power != STOPPED:
        await driver.ensure_power(server_id, RUNNING)
        await driver.ensure_power(server_id, pb.ServerSpec.Power.ValueType(power))
    for _ in range(2):
        await driver.ensure_copy(server_id, "image-1")
        seen = await found(driver, want)
        assert (seen.power, seen.copies, seen.has_rest) == (power, ("image-1",), False)
    copied = b"".join([piece async for piece in driver.read_copy(server_id, "image-1")])
    assert len(copied) == await driver.copy_size_bytes(server_id, "image-1")
    copy = tmp_path / "copy.qcow2"
    await asyncio.to_thread(copy.write_bytes, copied)
    assert await disk.inspect(copy, "qcow2")  # and it has no backing file
    await driver.clean(server_id)
    assert (await found(driver, want)).copies == ()
    with pytest.raises(NotFound):
        await driver.copy_size_bytes(server_id, "image-1")


async def test_a_copy_that_is_broken_off_is_begun_again(driver: ComputeDriver, want: pb.ServerWant) -> None:
    server_id = await started(driver, want)
    copying = asyncio.create_task(driver.ensure_copy(server_id, "image-1"))
    await asyncio.sleep(0)
    copying.cancel()
    await asyncio.gather(copying, return_exceptions=True)
    await driver.clean(server_id, "image-2")
    seen = await found(driver, want)
    assert (seen.copies, seen.has_rest) == ((), False)
    await driver.ensure_copy(server_id, "image-2")
    assert (await found(driver, want)).copies == ("image-2",)


async def test_a_rescued_domain_boots_from_another_disk_that_goes_with_the_rescue(
    driver: ComputeDriver, want: pb.ServerWant
) -> None:
    server_id = await defined(driver, want)
    for generation in (5, 7):
        want.server.rescue.generation = generation
        for _ in range(2):
            await driver.ensure_rescue_disk(want, None)
        await driver.ensure_defined(want, Marks(rescue=generation))
        await driver.ensure_power(server_id, RUNNING)
        await driver.clean(server_id, rescue=True)
        seen = await found(driver, want)
        assert (seen.power, seen.rescue, seen.marks.rescue) == (RUNNING, generation, generation)
        await driver.ensure_power(server_id, STOPPED)
    want.server.ClearField("rescue")
    await driver.ensure_defined(want, Marks())
    await driver.clean(server_id)
    seen = await found(driver, want)
    assert (seen.rescue, seen.marks.rescue, seen.has_disk, seen.has_rest) == (0, 0, True, False)


async def test_only_a_running_guest_with_an_agent_is_given_a_password(
    driver: ComputeDriver, want: pb.ServerWant
) -> None:
    server_id = await defined(driver, want)
    with pytest.raises(NotFound):
        await driver.ensure_password(server_id, "root", "secret")
    await driver.ensure_power(server_id, RUNNING)
    with pytest.raises(GuestAgentAway):
        await driver.ensure_password(server_id, "root", "secret")


async def test_a_running_guest_has_a_screen_and_a_serial_port(
    driver: ComputeDriver, want: pb.ServerWant
) -> None:
    server_id = await defined(driver, want)
    kinds = (console_pb2.CONSOLE_KIND_VNC, console_pb2.CONSOLE_KIND_SERIAL)
    for kind in kinds:
        with pytest.raises(NotFound):
            await driver.console(server_id, kind)
    await driver.ensure_power(server_id, RUNNING)
    screen, port = [await driver.console(server_id, kind) for kind in kinds]
    await screen.write(b"RFB 003.008\n")  # as the screen says, too
    assert (await asyncio.wait_for(screen.read(), 30)).startswith(b"RFB 003.008\n")
    await port.write(b"\r")
    for console in (screen, port):
        console.close()
        while await asyncio.wait_for(console.read(), 30):
            pass
