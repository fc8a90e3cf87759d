"""Whatever a node writes where it may write: controllers go on, and believe it nothing of others."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aetcd import rpc  # type: ignore[import-untyped]

from fabric.runtime.codec import Codec
from fabric.runtime.etcd import Change, Etcd
from fabric.runtime.store import Store
from fabric.type.v1.node_pb2 import Life
from tests.functional.etcd import EtcdProcess
from tests.functional.runtime.test_store import KEY, PORTS, a_port, make

CODEC = Codec()
JUNK = [
    b"",
    b"[]",
    b'"x"',
    b"5",
    b"\xff",
    b"[" * 100_000,
    b'{"state": []}',
    b'{"state": {"a": 1}, "reason": {}}',
    b'{"observed_generation": 1e400}',
    b'{"observed_generation": "x"}',
    b'{"detail": 1, "start_time": 5}',
]


@pytest.fixture
def etcd_process() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@asynccontextmanager
async def a_store(process: EtcdProcess) -> AsyncIterator[Store]:
    etcd = Etcd([process.endpoint])
    store = Store(etcd, Codec([KEY]), [PORTS])
    running = asyncio.create_task(store.run())
    ready = asyncio.create_task(store.cache.ready.wait())
    await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
    assert ready.done()
    try:
        yield store
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await etcd.close()


async def write_junk(etcd: Etcd) -> int:
    """The revision of the last of it."""
    for at, value in enumerate(JUNK):
        parents = ("/fabric/nodes/n1", *(f"/fabric/network/node/n1/seen/{of}" for of in ("ports", "nothing")))
        await etcd.commit(Change(put={f"{parent}/{at}": value for parent in parents}))
    odd = rpc.PutRequest(key=b"/fabric/nodes/n1/\xff\xfe", value=b"{}")
    return int((await rpc.KVStub(etcd.channel).Put(odd)).header.revision)


async def test_what_cannot_be_read_breaks_no_controller(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as first:
        await make(first, a_port("a", node="n1"))
        await first.fresh(await write_junk(first.etcd))
        async with a_store(etcd_process) as second:  # which lists it
            await make(first, a_port("b"))
            await make(second, a_port("c"))
            for store in (first, second):
                await store.fresh(None)
                assert sorted(store.table(PORTS).ids()) == ["a", "b", "c"]
                assert store.get(PORTS, "a").status == PORTS.message().status


async def test_a_node_says_nothing_of_another_ones_life(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as store:
        heard: list[str] = []
        store.on_life(heard.append)
        true = Life(node="n2", agent="compute", epoch="true")
        forged = Life(node="n2", agent="compute", epoch="forged")
        put = {
            "/fabric/nodes/n2/compute": CODEC.encode(true),
            "/fabric/nodes/n1/n2/compute": CODEC.encode(forged),
            "/fabric/nodes/n1/compute": CODEC.encode(forged),
        }
        await store.fresh((await store.etcd.commit(Change(put=put))).revision)
        assert store.life("n2", "compute") == true
        assert sorted((life.node, life.epoch) for life in store.lives()) == [("n1", "forged"), ("n2", "true")]
        assert set(heard) == {"n1", "n2"}
