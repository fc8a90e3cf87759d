"""Lives of agents, fencing, and leadership, on a real etcd."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from fabric.network.v1.neighbor_pb2 import Neighbor, NeighborBundle
from fabric.network.v1.port_pb2 import Port, PortStatus
from fabric.runtime.codec import Codec
from fabric.runtime.errors import LeaseLost, StaleRevision
from fabric.runtime.etcd import Change, Etcd
from fabric.runtime.leader import lead
from fabric.runtime.node import Bundled, Life, NodeCache, NodeStore
from fabric.type.v1.node_pb2 import Life as Sign
from tests.functional.etcd import EtcdProcess

CODEC = Codec()


@pytest.fixture(scope="module")
def etcd_process() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@pytest.fixture
async def etcd(etcd_process: EtcdProcess) -> AsyncIterator[Etcd]:
    found = Etcd([etcd_process.endpoint])
    yield found
    await found.close()


async def live(etcd: Etcd, ttl_s: int = 10, *, lingers: bool = False) -> tuple[Life, asyncio.Task[None]]:
    life = Life(etcd, CODEC, Sign(node="n1", agent="network"), ttl_s=ttl_s, lingers=lingers)
    ready = asyncio.Event()
    task = asyncio.create_task(life.hold(ready))
    await ready.wait()
    return life, task


async def end(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_life_that_ends_takes_its_sign_with_it(etcd: Etcd) -> None:
    life, task = await live(etcd)
    assert await etcd.get(life.key) is not None
    await end(task)
    assert await etcd.get(life.key) is None


async def test_a_life_that_lingers_is_over_when_its_lease_has_run_out(etcd: Etcd) -> None:
    life, task = await live(etcd, 1, lingers=True)
    await end(task)
    assert await etcd.get(life.key) is not None
    with pytest.raises(LeaseLost):
        await life.write("/x", b"1")
    async with asyncio.timeout(30):
        while await etcd.get(life.key) is not None:
            await asyncio.sleep(0.1)


async def test_an_agent_without_its_lease_writes_nothing_more(etcd: Etcd) -> None:
    life, task = await live(etcd)
    await etcd.commit(Change(delete={life.key}))  # as when the lease expires
    with pytest.raises(LeaseLost):
        await life.write("/fabric/network/node/n1/seen/ports/p", b"{}")
    assert await etcd.get("/fabric/network/node/n1/seen/ports/p") is None
    await end(task)


async def test_a_second_life_ends_the_first_ones_right_to_write(etcd: Etcd) -> None:
    first, one = await live(etcd)
    second, two = await live(etcd)
    with pytest.raises(LeaseLost):
        await first.write("/x", b"1")
    await second.write("/x", b"2")
    found = await etcd.get("/x")
    assert found is not None
    assert found.value == b"2"
    await end(one, two)


async def test_a_paused_process_loses_its_life(etcd: Etcd, etcd_process: EtcdProcess) -> None:
    _, task = await live(etcd, 1)
    etcd_process.kill()
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(task, 30)
    await asyncio.to_thread(etcd_process.start)


async def test_a_node_sees_its_wants_and_reports_on_them_once(etcd: Etcd) -> None:
    life, task = await live(etcd)
    cache = NodeCache(etcd, CODEC, "network", "n1")
    store = NodeStore(cache, life, CODEC, "ports", Port, PortStatus)
    running = asyncio.create_task(cache.cache.run())
    changed: asyncio.Queue[str] = asyncio.Queue()
    store.on_change(changed.put_nowait)
    want = Port()
    want.meta.id = "p1"
    await etcd.commit(Change(put={"/fabric/network/node/n1/want/ports/p1": CODEC.encode(want)}))
    assert await asyncio.wait_for(changed.get(), 30) == "p1"
    assert store.get("p1") == want
    assert store.ids() == ["p1"]
    status = PortStatus(state=PortStatus.STATE_ACTIVE)
    await store.report("p1", status)
    assert store.status("p1") == status
    before = await etcd.revision()
    await store.report("p1", status)
    assert await etcd.revision() == before
    await end(task, running)


async def test_wants_that_come_together_change_one_by_one(etcd: Etcd) -> None:
    cache = NodeCache(etcd, CODEC, "network", "n2")

    def parts(bundle: NeighborBundle) -> dict[str, Neighbor]:
        return {neighbor.port_id: neighbor for neighbor in bundle.neighbors if neighbor.node != "n2"}

    wants = Bundled(cache, "neighbors", NeighborBundle, parts)
    running = asyncio.create_task(cache.cache.run())
    changed: asyncio.Queue[str] = asyncio.Queue()
    wants.on_change(changed.put_nowait)

    async def told(number: int, *neighbors: Neighbor) -> set[str]:
        key, value = f"{cache.prefix}/want/neighbors/net.{number}", NeighborBundle(neighbors=neighbors)
        change = Change(put={key: CODEC.encode(value)}) if neighbors else Change(delete={key})
        await cache.cache.wait((await etcd.commit(change)).revision)
        return {changed.get_nowait() for _ in range(changed.qsize())}

    one, two, here = (Neighbor(port_id=f"p{n}", node=node) for n, node in enumerate(["n1", "n3", "n2"]))
    moved = Neighbor(port_id="p0", node="n3")
    assert await told(0, one, two, here) == {"p0", "p1"}
    assert await told(0, moved, two, here) == {"p0"}
    assert wants.get("p0") == moved
    assert await told(1, two) == set()
    assert await told(0, moved) == set()  # another bundle has it now
    assert await told(0) == {"p0"}
    assert wants.ids() == ["p1"]
    assert await told(1) == {"p1"}
    assert wants.get("p1") is None
    await end(running)


async def test_nothing_is_reported_of_what_is_wanted_no_more(etcd: Etcd) -> None:
    life, task = await live(etcd)
    cache = NodeCache(etcd, CODEC, "network", "n1")
    store = NodeStore(cache, life, CODEC, "ports", Port, PortStatus)
    want, seen = (f"/fabric/network/node/n1/{part}/ports/p2" for part in ("want", "seen"))
    await etcd.commit(Change(put={want: CODEC.encode(Port())}))
    running = asyncio.create_task(cache.cache.run())
    await cache.cache.ready.wait()
    await end(running)  # from now on the cache is behind
    await etcd.commit(Change(delete={want}))
    with pytest.raises(StaleRevision):
        await store.report("p2", PortStatus(state=PortStatus.STATE_ACTIVE))
    assert await etcd.get(seen) is None
    with pytest.raises(StaleRevision):  # the same when the cache knows
        await store.report("never wanted", PortStatus(state=PortStatus.STATE_ACTIVE))
    await life.write("/fabric/network/node/n1/seen/ports/p3", b"{}")  # the lease is not lost by it
    await end(task)


async def test_the_report_of_what_is_wanted_no_more_is_taken_back(etcd: Etcd) -> None:
    seen = "/fabric/network/node/n1/seen/ports/p4"
    await etcd.commit(Change(put={seen: CODEC.encode(PortStatus(state=PortStatus.STATE_ACTIVE))}))
    life, task = await live(etcd)
    cache = NodeCache(etcd, CODEC, "network", "n1")
    store = NodeStore(cache, life, CODEC, "ports", Port, PortStatus)
    running = asyncio.create_task(cache.cache.run())
    await cache.cache.ready.wait()
    await store.forget("p4")
    assert await etcd.get(seen) is None
    await end(task, running)


async def test_one_of_two_leads_and_the_other_follows_when_it_goes(etcd: Etcd) -> None:
    leading: list[str] = []

    def work(name: str):  # type: ignore[no-untyped-def]
        async def run() -> None:
            leading.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                leading.remove(name)

        return {"loop": run}

    async def until(names: list[str]) -> None:
        async with asyncio.timeout(30):
            while leading != names:
                await asyncio.sleep(0.01)

    one = asyncio.create_task(lead(etcd, "one", work("one"), ttl_s=10))
    await until(["one"])
    two = asyncio.create_task(lead(etcd, "two", work("two"), ttl_s=10))
    await asyncio.sleep(0.1)
    assert leading == ["one"]
    await end(one)
    await until(["two"])
    await end(two)
