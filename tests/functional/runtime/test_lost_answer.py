"""A transaction that was done although its answer was lost, while another controller writes too."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from fabric.runtime.codec import Codec
from fabric.runtime.consistency import disagreements
from fabric.runtime.errors import AlreadyExists, NotFound, Unavailable
from fabric.runtime.etcd import Change, Etcd, Outcome
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store
from tests.functional.etcd import EtcdProcess
from tests.functional.runtime.test_store import KEY, PORTS, a_port, make


class LosesAnswers(Etcd):
    """Does what it is asked, and then fails, as often as told."""

    losses = 0
    lost: asyncio.Event

    async def commit(self, change: Change) -> Outcome:
        outcome = await super().commit(change)
        if self.losses:
            self.losses -= 1
            self.lost.set()
            raise Unavailable("the answer was lost")
        return outcome


@pytest.fixture(scope="module")
def etcd_process() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@asynccontextmanager
async def a_store(etcd: Etcd) -> AsyncIterator[Store]:
    store = Store(etcd, Codec([KEY]), [PORTS])
    running = asyncio.create_task(store.run())
    await store.cache.ready.wait()
    try:
        yield store
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await etcd.close()


async def test_neither_the_count_nor_the_etag_is_wrong_afterwards(etcd_process: EtcdProcess) -> None:
    flaky = LosesAnswers([etcd_process.endpoint])
    flaky.lost = asyncio.Event()
    async with a_store(flaky) as ours, a_store(Etcd([etcd_process.endpoint])) as theirs:
        flaky.losses = 1
        making = asyncio.create_task(make(ours, a_port("1")))
        await flaky.lost.wait()
        await make(theirs, a_port("2"))  # before we try again
        ported = await making
        assert ours.quota("p1", "network.port").usage == 2
        changed = copy_of(ported)
        changed.spec.admin_state_up = True
        async with ours.transaction() as txn:
            txn.update(PORTS, changed)
        await make(ours, a_port("3"))
        flaky.losses = 1
        async with ours.transaction() as txn:
            txn.delete(PORTS, ours.get(PORTS, "2"))
        assert ours.quota("p1", "network.port").usage == 2
        await theirs.fresh(None)
        for store in (ours, theirs):
            assert list(disagreements(store)) == []
            assert sorted(store.table(PORTS).ids()) == ["1", "3"]


class AnswersLate(Etcd):
    """Tells what it has done when it is let."""

    async def commit(self, change: Change) -> Outcome:
        outcome = await super().commit(change)
        self.done.set()
        await self.let.wait()
        return outcome

    done: asyncio.Event
    let: asyncio.Event


async def test_what_is_gone_when_the_answer_comes_stays_gone(etcd_process: EtcdProcess) -> None:
    late = AnswersLate([etcd_process.endpoint])
    late.done, late.let = asyncio.Event(), asyncio.Event()
    async with a_store(late) as ours, a_store(Etcd([etcd_process.endpoint])) as theirs:
        making = asyncio.create_task(make(ours, a_port("4")))
        await late.done.wait()
        await theirs.fresh(None)
        async with theirs.transaction() as txn:
            txn.delete(PORTS, theirs.get(PORTS, "4"))
        await ours.fresh(None)
        late.let.set()
        with pytest.raises(NotFound):
            await making
        for store in (ours, theirs):
            assert list(disagreements(store)) == []


class TriesAgainLate(AnswersLate):
    """Does what it is asked, fails, and does nothing more before it is let."""

    async def commit(self, change: Change) -> Outcome:
        again = self.done.is_set()
        if again:
            await self.let.wait()
        outcome = await Etcd.commit(self, change)
        if not again:
            self.done.set()
            raise Unavailable("the answer was lost")
        return outcome


async def test_what_was_made_is_made_though_another_has_changed_it_since(etcd_process: EtcdProcess) -> None:
    late = TriesAgainLate([etcd_process.endpoint])
    late.done, late.let = asyncio.Event(), asyncio.Event()
    async with a_store(late) as ours, a_store(Etcd([etcd_process.endpoint])) as theirs:
        making = asyncio.create_task(make(ours, a_port("5")))
        await late.done.wait()
        await theirs.fresh(None)
        changed = copy_of(theirs.get(PORTS, "5"))
        changed.meta.name = "changed"
        async with theirs.transaction() as txn:
            txn.update(PORTS, changed)
        late.let.set()
        assert (await making).meta.name == "changed"
        with pytest.raises(AlreadyExists):  # another one's is not ours
            await make(ours, a_port("5"))
        for store in (ours, theirs):
            assert list(disagreements(store)) == []
