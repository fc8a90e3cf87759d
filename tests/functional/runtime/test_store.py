"""The store on a real etcd."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from cryptography.fernet import Fernet

from fabric.network.v1 import port_pb2
from fabric.runtime import newer
from fabric.runtime.codec import Codec
from fabric.runtime.collection import copy_of
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, QuotaExceeded, StaleRevision
from fabric.runtime.etcd import Change, Etcd
from fabric.runtime.store import Collection, Store
from tests.functional.etcd import EtcdProcess

KEY = Fernet.generate_key()


def _place(port: port_pb2.Port, node: str, target: str) -> None:
    port.spec.node, port.spec.target_node = node, target


PORTS = Collection(
    service="network",
    name="ports",
    message=port_pb2.Port,
    claims=lambda port: [("mac", port.spec.mac_address)],
    charges=lambda _: {"network.port": 1},
    indexes={"network": lambda port: (port.spec.network_id,)},
    node=lambda port: port.spec.node,
    also=lambda port: (port.spec.target_node,) if port.spec.target_node else (),
    place=_place,
    wanted=True,
    status=port_pb2.PortStatus,
)


@pytest.fixture(scope="module")
def etcd_process() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@asynccontextmanager
async def a_store(process: EtcdProcess, limits: dict[str, int] | None = None) -> AsyncIterator[Store]:
    etcd = Etcd([process.endpoint])
    for kv in (await etcd.scan("/fabric/"))[0]:
        await etcd.commit(Change(delete={kv.key}))
    store = Store(etcd, Codec([KEY]), [PORTS], limits=limits)
    running = asyncio.create_task(store.run())
    await store.cache.ready.wait()
    try:
        yield store
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await etcd.close()


def a_port(id_: str, mac: str = "", project: str = "p1", node: str = "") -> port_pb2.Port:
    port = port_pb2.Port()
    port.meta.id, port.meta.project_id = id_, project
    port.spec.mac_address, port.spec.network_id, port.spec.node = mac or f"fa:16:3e:{id_}", "n1", node
    return port


async def make(store: Store, port: port_pb2.Port) -> port_pb2.Port:
    async with store.transaction() as txn:
        txn.create(PORTS, port)
    return store.get(PORTS, port.meta.id)


async def test_a_created_resource_is_read_back_at_once_with_its_claims_and_charge(
    etcd_process: EtcdProcess,
) -> None:
    async with a_store(etcd_process) as store:
        port = await make(store, a_port("a"))
        assert port.meta.generation == 1
        assert store.owner(PORTS, "mac", "fa:16:3e:a") == "a"
        assert store.quota("p1", "network.port").usage == 1
        assert store.table(PORTS).by("network", "n1") == [port]


async def test_a_taken_claim_refuses_the_whole_transaction(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as store:
        await make(store, a_port("a", mac="m"))
        with pytest.raises(AlreadyExists) as caught:
            await make(store, a_port("b", mac="m"))
        assert caught.value.facts["index"] == "mac"
        assert store.find(PORTS, "b") is None
        assert store.quota("p1", "network.port").usage == 1


async def test_concurrent_creates_never_exceed_the_quota(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process, {"network.port": 10}) as store:
        results = await asyncio.gather(
            *(make(store, a_port(str(n))) for n in range(50)), return_exceptions=True
        )
        assert sum(isinstance(r, port_pb2.Port) for r in results) == 10
        assert sum(isinstance(r, QuotaExceeded) for r in results) == 40
        assert store.quota("p1", "network.port").usage == len(store.table(PORTS)) == 10


async def test_whom_another_process_has_forestalled_reads_what_it_wrote(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as one, a_store(etcd_process) as two:
        known = await make(one, a_port("a"))
        await two.fresh(None)
        for turn in range(50):
            changed, late = copy_of(known), copy_of(two.get(PORTS, "a"))
            changed.meta.name = late.meta.description = str(turn)
            async with one.transaction() as txn:
                txn.update(PORTS, changed)
            known = one.get(PORTS, "a")
            with pytest.raises(StaleRevision):
                async with two.transaction() as txn:
                    txn.update(PORTS, late)
            assert two.get(PORTS, "a").meta.name == str(turn)


async def test_records_are_in_the_order_of_their_making_whoever_made_them(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as one, a_store(etcd_process) as two:
        assert len(one.table(PORTS).in_order("p1")) == len(two.table(PORTS).in_order()) == 0
        made = [await make(one, a_port(id_)) for id_ in "cab"]
        await two.fresh(None)
        async with two.transaction() as txn:
            txn.remove(PORTS, two.get(PORTS, made[1].meta.id))
        await one.fresh(None)
        for order in (one.table(PORTS).in_order("p1"), two.table(PORTS).in_order()):
            assert [port.meta.id for port in order.walk(None, descending=False)] == ["c", "b"]


async def test_an_account_is_closed_only_when_nothing_is_used(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as store:
        port = await make(store, a_port("a"))
        with pytest.raises(FailedPrecondition):
            async with store.transaction() as txn:
                txn.close("p1", "network.port")
        async with store.transaction() as txn:
            txn.remove(PORTS, port)
        async with store.transaction() as txn:
            txn.close("p1", "network.port")
        assert (await store.etcd.scan("/fabric/quota/"))[0] == []


async def test_two_stores_share_one_quota(etcd_process: EtcdProcess) -> None:
    limits = {"network.port": 20}
    async with a_store(etcd_process, limits) as one, a_store(etcd_process, limits) as two:
        results = await asyncio.gather(
            *(make((one, two)[n % 2], a_port(str(n))) for n in range(40)), return_exceptions=True
        )
        made = [r for r in results if isinstance(r, port_pb2.Port)]
        assert len(made) == 20, results
        await one.fresh(None)
        assert one.quota("p1", "network.port").usage == 20


async def test_an_update_of_what_changed_meanwhile_is_refused(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as store:
        old = port_pb2.Port()
        old.CopyFrom(await make(store, a_port("a")))
        async with store.transaction() as txn:
            newer = port_pb2.Port()
            newer.CopyFrom(old)
            newer.meta.name = "newer"
            txn.update(PORTS, newer)
        assert store.get(PORTS, "a").meta.generation == 2
        with pytest.raises(StaleRevision):
            async with store.transaction() as txn:
                txn.update(PORTS, old)


async def test_a_bound_resource_is_wanted_of_its_node_and_joined_with_its_report(
    etcd_process: EtcdProcess,
) -> None:
    async with a_store(etcd_process) as store:
        await make(store, a_port("a", node="n1"))
        assert store.wanted(PORTS, "n1").get("a") is not None
        status = port_pb2.PortStatus(state=port_pb2.PortStatus.STATE_ACTIVE)
        put = {PORTS.seen_key("n1", "a"): store.codec.encode(status)}
        revision = (await store.etcd.commit(Change(put=put))).revision
        await store.fresh(revision)
        assert store.get(PORTS, "a").status.state == port_pb2.PortStatus.STATE_ACTIVE
        async with store.transaction() as txn:
            txn.delete(PORTS, store.get(PORTS, "a"))
        left, _ = await store.etcd.scan("/fabric/")
        assert [kv.key for kv in left] == ["/fabric/quota/p1/network.port"]


async def test_what_a_newer_release_wrote_outlives_an_older_one(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as store:
        port = await make(store, a_port("a", node="h1"))
        value = store.codec.encode(port).replace(b'"spec":{', b'"spec":{"later":["x"],', 1)
        seen = (await store.etcd.commit(Change(put={PORTS.key("a"): value}))).revision
        await store.fresh(seen)
        changed = copy_of(store.get(PORTS, "a"))
        changed.meta.name = "renamed"
        async with store.transaction() as txn:
            txn.update(PORTS, changed)
        found, _ = await store.etcd.scan("/fabric/network/")
        for key in (PORTS.key("a"), PORTS.want_key("h1", "a")):
            [written] = [json.loads(kv.value) for kv in found if kv.key == key]
            assert (written["meta"]["name"], written["spec"]["later"]) == ("renamed", ["x"])
        newer.KINDS.clear()


async def test_a_marked_resource_goes_with_its_last_finalizer(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as store:
        port = a_port("a")
        port.meta.finalizers.append("agent")
        await make(store, port)
        async with store.transaction() as txn:
            assert not txn.delete(PORTS, store.get(PORTS, "a"))
        assert store.get(PORTS, "a").meta.HasField("delete_time")
        async with store.transaction() as txn:
            assert txn.release(PORTS, store.get(PORTS, "a"), "agent")
        assert store.find(PORTS, "a") is None
        assert store.quota("p1", "network.port").usage == 0


async def test_reads_and_writes_survive_a_restart_of_etcd(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as store:
        await make(store, a_port("a"))
        etcd_process.kill()
        writing = asyncio.create_task(make(store, a_port("b")))
        await asyncio.to_thread(etcd_process.start)
        await writing
        other = Store(store.etcd, store.codec, [PORTS])
        running = asyncio.create_task(other.run())
        await other.cache.ready.wait()
        assert sorted(p.meta.id for p in other.table(PORTS)) == ["a", "b"]
        await make(other, a_port("c"))
        await store.fresh(None)
        assert store.find(PORTS, "c") is not None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_cache_relists_after_compaction(etcd_process: EtcdProcess) -> None:
    async with a_store(etcd_process) as store:
        await make(store, a_port("a"))
        store.cache._revision = 1  # as if it had been away for long
        etcd_process.kill()
        await asyncio.to_thread(etcd_process.start)
        await store.etcd.compact(await store.etcd.revision())
        await make(store, a_port("b"))
        await store.fresh(None)
        assert sorted(store.table(PORTS).ids()) == ["a", "b"]


async def test_what_goes_to_another_node_is_wanted_on_both_until_it_is_there(
    etcd_process: EtcdProcess,
) -> None:
    async with a_store(etcd_process) as store:
        port = await make(store, a_port("a", node="n1"))
        async with store.transaction() as txn:
            txn.place(PORTS, port, "n1", "n2")
        assert [store.wanted(PORTS, node).get("a") is not None for node in ("n1", "n2")] == [True, True]
        async with store.transaction() as txn:
            txn.place(PORTS, store.get(PORTS, "a"), "n2")
        assert [store.wanted(PORTS, node).get("a") is not None for node in ("n1", "n2")] == [False, True]
        assert store.get(PORTS, "a").spec.node == "n2"
