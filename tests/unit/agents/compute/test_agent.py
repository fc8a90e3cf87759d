import asyncio
import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from agents.compute.driver import PAUSED, RUNNING, STOPPED, SUSPENDED, Power
from agents.compute.fake import FakeDriver, FakeSettings
from agents.compute.step import STATES
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import LeaseLost, Unavailable
from tests.unit.agents.compute.agents import Bench
from tests.unit.agents.compute.wants import PORT_ID, SERVER_ID, a_nic, a_want

ACTIVE, IN_ERROR = pb.ServerStatus.STATE_ACTIVE, pb.ServerStatus.STATE_ERROR


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def running(bench: Bench, want: pb.ServerWant) -> None:
    bench.store.bind(SERVER_ID, want)
    await bench.settle(SERVER_ID)
    assert bench.status(SERVER_ID).state == ACTIVE


def changed(want: pb.ServerWant, change: Callable[[pb.ServerSpec], Any]) -> pb.ServerWant:
    """The want after another call of the API."""
    want.server.meta.generation += 1
    change(want.server.spec)
    return want


async def test_a_wanted_server_becomes_active_with_one_report(bench: Bench) -> None:
    await running(bench, a_want(nics=(a_nic(),)))
    status = bench.status(SERVER_ID)
    assert status.observed_generation == 1
    assert list(status.port_ids) == [PORT_ID]
    assert status.HasField("launch_time")
    assert len(bench.store.reports) == 1


async def test_at_rest_nothing_is_reported_again(bench: Bench) -> None:
    await running(bench, a_want())
    await bench.settle(SERVER_ID)
    bench.restart()
    await bench.settle(SERVER_ID)
    assert len(bench.store.reports) == 1


class LosesReply:
    """A driver whose nth changing call works, but whose answer is lost."""

    def __init__(self, driver: FakeDriver, nth: int) -> None:
        self._driver = driver
        self._left = nth

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._driver, name)
        if not name.startswith(("ensure", "remove", "press")):
            return verb

        async def call(*arguments: Any) -> None:
            await verb(*arguments)
            self._left -= 1
            if self._left == 0:
                raise Unavailable("the reply was lost")

        return call


@pytest.mark.parametrize("nth", range(1, 7))
async def test_it_becomes_active_and_goes_whichever_reply_is_lost(nth: int) -> None:
    fake = FakeDriver()
    bench = Bench(fake=fake, driver=LosesReply(fake, nth))
    want = a_want(nics=(a_nic(),))
    bench.store.bind(SERVER_ID, want)
    await settle_through(bench)
    assert bench.status(SERVER_ID).state == ACTIVE
    want.server.meta.delete_time.GetCurrentTime()
    bench.store.bind(SERVER_ID, want)
    await settle_through(bench)
    assert bench.status(SERVER_ID).released
    assert not fake.domains


async def settle_through(bench: Bench) -> None:
    """Settle as the loop does it: what raises is looked at again by a restarted agent."""
    try:
        await bench.settle(SERVER_ID)
    except Unavailable:
        bench.restart()
        await bench.settle(SERVER_ID)


@pytest.mark.parametrize("first", [RUNNING, STOPPED, PAUSED, SUSPENDED])
@pytest.mark.parametrize("then", [RUNNING, STOPPED, PAUSED, SUSPENDED])
async def test_every_power_state_is_reached_from_every_other(bench: Bench, first: Power, then: Power) -> None:
    want = a_want()
    for power in (first, then):
        bench.store.bind(SERVER_ID, changed(want, functools.partial(set_power, power)))
        await settle_with_work(bench)
        assert bench.status(SERVER_ID).state == STATES[power]
        assert bench.status(SERVER_ID).observed_generation == want.server.meta.generation


def set_power(power: Power, spec: pb.ServerSpec) -> None:
    spec.power = power


async def settle_with_work(bench: Bench) -> None:
    """Settle, and again when work beside the loop is done."""
    for _ in range(5):
        await bench.settle(SERVER_ID)
        for _ in range(3):
            await asyncio.sleep(0)


async def test_a_guest_that_ignores_the_button_is_stopped_after_its_time() -> None:
    bench = Bench(fake=FakeDriver(FakeSettings(obeys_button=False)))
    want = a_want()
    await running(bench, want)
    bench.store.bind(SERVER_ID, changed(want, lambda spec: setattr(spec, "power", STOPPED)))
    began = bench.machine.now
    await bench.settle(SERVER_ID, patience=timedelta(seconds=30))
    status = bench.status(SERVER_ID)
    assert (status.state, status.reason, status.observed_generation) == (ACTIVE, "WAITING_FOR_GUEST", 1)
    await bench.settle(SERVER_ID)
    assert bench.status(SERVER_ID).state == pb.ServerStatus.STATE_STOPPED
    assert 59 <= bench.machine.now - began <= 63


async def test_a_delete_does_not_wait_for_a_guest_that_ignores_the_button() -> None:
    bench = Bench(fake=FakeDriver(FakeSettings(obeys_button=False)))
    want = a_want()
    await running(bench, want)
    bench.store.bind(SERVER_ID, changed(want, lambda spec: setattr(spec, "power", STOPPED)))
    await bench.agent.reconcile(SERVER_ID)
    want.server.meta.delete_time.GetCurrentTime()
    bench.store.bind(SERVER_ID, want)
    began = bench.machine.now
    await bench.settle(SERVER_ID)
    assert bench.status(SERVER_ID).released
    assert bench.machine.now == began


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("obeys", [False, True])
async def test_a_reboot_happens_once(hard: bool, obeys: bool) -> None:
    bench = Bench(fake=FakeDriver(FakeSettings(obeys_button=obeys)))
    want = a_want()
    await running(bench, want)
    want.server.spec.reboot_hard = hard
    bench.store.bind(SERVER_ID, changed(want, lambda spec: setattr(spec, "reboot_count", 1)))
    await bench.settle(SERVER_ID)
    bench.restart()
    await bench.settle(SERVER_ID)
    status = bench.status(SERVER_ID)
    assert (status.state, status.reboot_count) == (ACTIVE, 1)
    assert (await bench.fake.console_log(SERVER_ID, 0)).count(b"started") == 2


async def test_a_guest_that_powers_itself_off_stays_off_until_asked_to_start(bench: Bench) -> None:
    want = a_want()
    await running(bench, want)
    bench.fake.power_off_from_inside(SERVER_ID)
    await bench.settle(SERVER_ID)
    bench.restart()
    await bench.settle(SERVER_ID)
    status = bench.status(SERVER_ID)
    assert (status.state, status.reason) == (pb.ServerStatus.STATE_STOPPED, "GUEST_STOPPED")
    bench.store.bind(SERVER_ID, changed(want, lambda spec: setattr(spec, "power", RUNNING)))
    await bench.settle(SERVER_ID)
    assert bench.status(SERVER_ID).state == ACTIVE


async def test_start_after_a_stop_that_the_guest_was_still_busy_with(bench: Bench) -> None:
    bench.fake.settings.obeys_button = False
    want = a_want()
    await running(bench, want)
    bench.store.bind(SERVER_ID, changed(want, lambda spec: setattr(spec, "power", STOPPED)))
    await bench.agent.reconcile(SERVER_ID)
    bench.store.bind(SERVER_ID, changed(want, lambda spec: setattr(spec, "power", RUNNING)))
    await bench.settle(SERVER_ID)
    bench.fake.power_off_from_inside(SERVER_ID)  # only now it obeys
    await bench.settle(SERVER_ID)
    assert bench.status(SERVER_ID).state == ACTIVE


async def test_after_a_reboot_of_the_node_what_ran_is_started_again(bench: Bench) -> None:
    await running(bench, a_want())
    bench.fake.power_off_from_inside(SERVER_ID)
    bench.machine.boot_id = "boot-2"
    bench.restart()
    await bench.settle(SERVER_ID)
    assert bench.status(SERVER_ID).state == ACTIVE


async def test_it_waits_for_its_tap_and_says_so(bench: Bench) -> None:
    bench.machine.taps = set()
    nic = a_nic()
    bench.store.bind(SERVER_ID, a_want(nics=(nic,)))
    await bench.settle(SERVER_ID, patience=timedelta(seconds=5))
    status = bench.status(SERVER_ID)
    assert (status.state, status.reason) == (pb.ServerStatus.STATE_BUILDING, "WAITING_FOR_PORT")
    assert len(bench.store.reports) == 1
    bench.machine.taps.add(nic.tap)
    await bench.settle(SERVER_ID)
    status = bench.status(SERVER_ID)
    assert (status.state, status.reason) == (ACTIVE, "")


async def test_nics_come_and_go_while_it_runs(bench: Bench) -> None:
    first, second = a_nic(), a_nic("6c1f0000-1111-4222-8333-944445555666", "fa:16:3e:00:00:02")
    want = a_want(nics=(first,))
    await running(bench, want)
    want.server.nics.append(second)
    bench.store.bind(SERVER_ID, changed(want, lambda spec: None))
    await bench.settle(SERVER_ID)
    assert list(bench.status(SERVER_ID).port_ids) == [first.port_id, second.port_id]
    del want.server.nics[0]
    bench.store.bind(SERVER_ID, changed(want, lambda spec: None))
    await bench.settle(SERVER_ID)
    assert list(bench.status(SERVER_ID).port_ids) == [second.port_id]


async def test_a_refused_server_is_in_error_until_it_is_changed() -> None:
    bench = Bench(fake=FakeDriver(FakeSettings(ram_mib=64)))
    want = a_want(ram_mib=128)
    bench.store.bind(SERVER_ID, want)
    await bench.settle(SERVER_ID, patience=timedelta(seconds=30))
    status = bench.status(SERVER_ID)
    assert (status.state, status.reason) == (IN_ERROR, "HYPERVISOR_REFUSED")
    assert "memory" in status.message
    bench.fake.settings.ram_mib = 1024
    again = await bench.agent.reconcile(SERVER_ID)
    assert again is not None
    assert again > timedelta(minutes=1)
    bench.store.bind(SERVER_ID, changed(want, lambda spec: None))
    await bench.settle(SERVER_ID)
    assert bench.status(SERVER_ID).state == ACTIVE


async def test_what_nobody_wants_goes_after_a_time_of_grace(bench: Bench) -> None:
    await running(bench, a_want())
    bench.store.unbind(SERVER_ID)
    await bench.agent.reconcile(SERVER_ID)
    bench.machine.now += 59
    await bench.agent.reconcile(SERVER_ID)
    assert SERVER_ID in bench.fake.domains
    bench.machine.now += 2
    await bench.settle(SERVER_ID)
    assert not bench.fake.domains


async def test_what_is_wanted_again_within_the_grace_stays(bench: Bench) -> None:
    await running(bench, a_want())
    bench.store.unbind(SERVER_ID)
    assert await bench.agent.reconcile(SERVER_ID) is not None
    bench.machine.now += 59
    bench.store.bind(SERVER_ID, a_want())
    await bench.settle(SERVER_ID)
    bench.machine.now += 59
    bench.store.unbind(SERVER_ID)
    await bench.agent.reconcile(SERVER_ID)
    assert SERVER_ID in bench.fake.domains


async def test_a_lost_lease_ends_the_agent(bench: Bench) -> None:
    bench.store.failure = LeaseLost("gone")
    bench.store.bind(SERVER_ID, a_want())
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(bench.agent.run(), 30)


async def test_running_it_follows_wants_taps_and_guests(bench: Bench) -> None:
    bench.machine.taps = set()
    nic = a_nic()
    run = asyncio.create_task(bench.agent.run())
    try:
        bench.store.bind(SERVER_ID, a_want(nics=(nic,)))
        await until(lambda: SERVER_ID in bench.fake.domains)
        bench.machine.taps.add(nic.tap)
        bench.machine.changed.set()
        await until(lambda: is_state(bench, ACTIVE))
        bench.fake.power_off_from_inside(SERVER_ID)
        await until(lambda: is_state(bench, pb.ServerStatus.STATE_STOPPED))
    finally:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


def is_state(bench: Bench, state: int) -> bool:
    status = bench.store.status(SERVER_ID)
    return status is not None and status.state == state


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)
