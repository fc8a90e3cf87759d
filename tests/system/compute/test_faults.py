"""Killed processes: guests do not notice, and everything reaches its target."""

import asyncio
import random
import uuid

import libvirt  # type: ignore[import-untyped]
import pytest

from agents.compute.driver import PAUSED
from fabric.compute.v1 import server_pb2 as pb
from tests.system.compute.machine import Machine
from tests.unit.agents.compute.wants import a_want

ACTIVE = pb.ServerStatus.STATE_ACTIVE


def small(name: str = "") -> pb.ServerWant:
    """A server with an empty disk: its firmware runs, which is enough."""
    want = a_want(name or str(uuid.uuid4()), ram_mib=32)
    want.ClearField("image")
    return want


async def test_guests_do_not_notice_a_killed_libvirtd(machine: Machine) -> None:
    want = small()
    await machine.reaches(want, ACTIVE)
    pids = machine.qemus()
    await asyncio.to_thread(machine.libvirtd.kill)
    want.server.spec.power = PAUSED
    want.server.meta.generation += 1
    machine.store.bind(want.server.meta.id, want)  # asked for while nobody can do it
    await asyncio.sleep(1)
    assert machine.qemus() == pids
    assert machine.status(want.server.meta.id).state == ACTIVE
    await asyncio.to_thread(machine.libvirtd.start)
    await machine.reaches(want, pb.ServerStatus.STATE_PAUSED)
    assert machine.qemus() == pids


async def test_guests_do_not_notice_a_killed_agent(machine: Machine) -> None:
    want = small()
    await machine.reaches(want, ACTIVE)
    pids, reports = machine.qemus(), len(machine.store.reports)
    await machine.kill()
    machine.start()
    other = small()
    await machine.reaches(other, ACTIVE)
    assert set(pids) < set(machine.qemus())
    about_it = [id_ for id_, _ in machine.store.reports[reports:] if id_ == want.server.meta.id]
    assert about_it == []


async def test_what_went_off_while_libvirtd_and_agent_were_away_is_seen(machine: Machine) -> None:
    want = small()
    await machine.reaches(want, ACTIVE)
    (pid,) = machine.qemus()
    await machine.kill()
    await asyncio.to_thread(machine.libvirtd.kill)
    await (await asyncio.create_subprocess_exec("kill", "-9", str(pid))).wait()
    await asyncio.to_thread(machine.libvirtd.start)
    machine.start()
    await machine.until(lambda: machine.is_in(want.server, pb.ServerStatus.STATE_STOPPED))


async def test_what_nobody_wants_goes_after_the_grace_and_foreign_domains_stay(machine: Machine) -> None:
    foreign, name = str(uuid.uuid4()), "theirs"
    connection = libvirt.open(machine.libvirtd.uri)
    connection.defineXML(
        f"<domain type='qemu'><name>{name}</name><uuid>{foreign}</uuid><memory>32768</memory>"
        "<os><type>hvm</type></os></domain>"
    )
    want = small()
    await machine.reaches(want, ACTIVE)
    await machine.kill()
    machine.store.unbind(want.server.meta.id)
    machine.start()
    await asyncio.sleep(1)
    assert len(machine.qemus()) == 1
    await machine.until(lambda: machine.leftovers() == [f"{machine.libvirtd.directory}/etc/qemu/{name}.xml"])
    connection.lookupByUUIDString(foreign).undefine()
    connection.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_killed_at_random_points_all_come_and_all_go(machine: Machine, seed: int) -> None:
    """Creates, then deletes, while libvirtd and the agent are killed again and again."""
    chance = random.Random(seed)
    wants = [small() for _ in range(10)]
    for want in wants:
        machine.store.bind(want.server.meta.id, want)
    await trouble(machine, chance, rounds=6)
    for want in wants:
        await machine.until(lambda want=want: machine.is_in(want.server, ACTIVE))  # type: ignore[misc]
    assert len(machine.qemus()) == len(wants)
    for want in wants:
        want.server.meta.delete_time.GetCurrentTime()
        want.server.meta.generation += 1
        machine.store.bind(want.server.meta.id, want)
    await trouble(machine, chance, rounds=4)
    for want in wants:
        await machine.until(lambda want=want: machine.status(want.server.meta.id).released)  # type: ignore[misc]
    assert machine.leftovers() == []
    assert all(status.state != pb.ServerStatus.STATE_ERROR for _, status in machine.store.reports)


async def trouble(machine: Machine, chance: random.Random, rounds: int) -> None:
    for _ in range(rounds):
        await asyncio.sleep(chance.uniform(0.05, 0.6))
        if chance.random() < 0.3:
            await machine.kill()
            machine.start()
        else:
            await asyncio.to_thread(machine.libvirtd.kill)
            await asyncio.to_thread(machine.libvirtd.start)
