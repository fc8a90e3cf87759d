"""The reconcile loop."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from fabric.runtime.errors import LeaseLost, Unavailable
from fabric.runtime.reconcile import Loop, Together


@asynccontextmanager
async def running(loop: Loop | Together) -> AsyncIterator[None]:
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_everything_is_looked_at_when_the_loop_starts() -> None:
    seen: set[str] = set()

    async def reconcile(id_: str) -> None:
        seen.add(id_)

    async with running(Loop("t", reconcile, lambda: ["a", "b"])):
        await until(lambda: seen == {"a", "b"})


async def test_one_id_is_never_worked_on_twice_at_once() -> None:
    inside: list[str] = []
    runs = 0

    async def reconcile(id_: str) -> None:
        nonlocal runs
        assert id_ not in inside
        inside.append(id_)
        await asyncio.sleep(0.005)
        inside.remove(id_)
        runs += 1

    loop = Loop("t", reconcile, list)
    async with running(loop):
        for _ in range(3):
            loop.wake("a")
            await asyncio.sleep(0.002)
        await until(lambda: runs >= 2 and not inside)


async def test_a_change_during_the_work_is_looked_at_after_it() -> None:
    values, done = [1], []

    async def reconcile(id_: str) -> None:
        value = values[-1]
        await asyncio.sleep(0.005)
        done.append(value)

    loop = Loop("t", reconcile, lambda: ["a"])
    async with running(loop):
        await asyncio.sleep(0.002)
        values.append(2)
        loop.wake("a")
        await until(lambda: done[-1:] == [2])


async def test_a_failure_is_tried_again() -> None:
    tries = 0

    async def reconcile(id_: str) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("not now")

    async with running(Loop("t", reconcile, lambda: ["a"])):
        await until(lambda: tries == 3)


async def test_a_returned_time_is_when_it_is_looked_at_again() -> None:
    times: list[float] = []

    async def reconcile(id_: str) -> timedelta | None:
        times.append(asyncio.get_running_loop().time())
        return timedelta(seconds=0.05) if len(times) == 1 else None

    async with running(Loop("t", reconcile, lambda: ["a"])):
        await until(lambda: len(times) == 2)
    assert times[1] - times[0] >= 0.045


async def test_a_lost_lease_ends_the_loop() -> None:
    async def reconcile(id_: str) -> None:
        raise LeaseLost("gone")

    with pytest.raises(LeaseLost):
        await asyncio.wait_for(Loop("t", reconcile, lambda: ["a"]).run(), 30)


async def test_no_more_work_than_allowed_at_once() -> None:
    most = now = 0

    async def reconcile(id_: str) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.002)
        now -= 1

    async with running(Loop("t", reconcile, lambda: map(str, range(20)), concurrency=3)):
        await until(lambda: most == 3 and now == 0)
    assert most == 3


async def test_many_changes_of_what_rests_are_looked_at_once() -> None:
    runs = 0

    async def reconcile(id_: str) -> None:
        nonlocal runs
        runs += 1

    loop = Loop("t", reconcile, list, rest=lambda _: timedelta(milliseconds=200))
    async with running(loop):
        loop.wake("a")
        await until(lambda: runs == 1)
        for _ in range(10):
            loop.wake("a")
            await asyncio.sleep(0)
        await until(lambda: runs == 2)
        await asyncio.sleep(0.3)
        assert runs == 2


async def test_what_is_woken_meanwhile_is_done_together() -> None:
    begun, let_go = asyncio.Queue[set[str]](), asyncio.Event()

    async def reconcile(ids: Collection[str]) -> None:
        begun.put_nowait(set(ids))
        await let_go.wait()

    async with running(loop := Together("t", reconcile, lambda: ["a", "b"])):
        assert await begun.get() == {"a", "b"}
        for id_ in "cdc":
            loop.wake(id_)
        let_go.set()
        assert await begun.get() == {"c", "d"}


async def test_what_failed_together_is_tried_again_with_what_came_since() -> None:
    tried: list[set[str]] = []
    done = asyncio.Event()

    async def reconcile(ids: Collection[str]) -> None:
        tried.append(set(ids))
        if len(tried) == 1:
            loop.wake("b")
            raise Unavailable("no")
        done.set()

    async with running(loop := Together("t", reconcile, lambda: ["a"])):
        await asyncio.wait_for(done.wait(), 30)
    assert tried == [{"a"}, {"a", "b"}]
