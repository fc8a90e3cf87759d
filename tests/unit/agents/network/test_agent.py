"""The agent's decisions, on the fake drivers."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import cast

from agents.network.agent import NetworkAgent, NetworkStores
from agents.network.batch import Batch
from agents.network.driver import Holding
from agents.network.fake import FakeDhcp, FakeMeters, FakeQos, fake_drivers
from agents.network.limit import Limits
from agents.network.meter import Count
from agents.network.numbers import Numbers
from agents.network.orphan import Orphans
from agents.network.settings import NetworkSettings
from fabric.network.v1 import (
    log_pb2,
    metering_pb2,
    neighbor_pb2,
    network_pb2,
    port_pb2,
    qos_pb2,
    router_pb2,
    security_group_pb2,
    trunk_pb2,
)
from fabric.runtime.errors import Unavailable
from tests.unit.agents.network.wants import (
    a_group,
    a_network,
    a_policy,
    a_port,
    a_router,
    a_router_port,
    a_subnet,
)
from tests.unit.agents.node_store import MemoryNodeStore

NETWORK_ID, GROUP_ID = str(uuid.uuid4()), str(uuid.uuid4())


class World:
    """Stores, fake drivers and an agent between them."""

    def __init__(self) -> None:
        self.networks: MemoryNodeStore[network_pb2.NetworkWant, network_pb2.NetworkStatus] = MemoryNodeStore()
        self.ports: MemoryNodeStore[port_pb2.Port, port_pb2.PortStatus] = MemoryNodeStore()
        group, member = security_group_pb2.SecurityGroupWant, security_group_pb2.GroupMember
        self.groups: MemoryNodeStore[group, group] = MemoryNodeStore()  # type: ignore[valid-type]
        self.members: MemoryNodeStore[member, member] = MemoryNodeStore()  # type: ignore[valid-type]
        self.trunks: MemoryNodeStore[trunk_pb2.Trunk, trunk_pb2.TrunkStatus] = MemoryNodeStore()
        self.logs: MemoryNodeStore[log_pb2.Log, log_pb2.Log] = MemoryNodeStore()
        self.labels: MemoryNodeStore[metering_pb2.MeteringLabelWant, metering_pb2.MeteringLabelStatus] = (
            MemoryNodeStore()
        )
        self.routers: MemoryNodeStore[router_pb2.RouterWant, router_pb2.RouterStatus] = MemoryNodeStore()
        self.neighbors: MemoryNodeStore[neighbor_pb2.Neighbor, neighbor_pb2.Neighbor] = MemoryNodeStore()
        self.qos: MemoryNodeStore[qos_pb2.QosPolicyWant, qos_pb2.QosPolicy] = MemoryNodeStore()
        self.drivers = fake_drivers()
        self.settings = NetworkSettings(grace=timedelta(milliseconds=20))
        self.agent = self.new_agent()

    def new_agent(self) -> NetworkAgent:
        stores = NetworkStores(
            networks=cast(object, self.networks),  # type: ignore[arg-type]
            ports=cast(object, self.ports),  # type: ignore[arg-type]
            groups=cast(object, self.groups),  # type: ignore[arg-type]
            members=cast(object, self.members),  # type: ignore[arg-type]
            neighbors=cast(object, self.neighbors),  # type: ignore[arg-type]
            qos=cast(object, self.qos),  # type: ignore[arg-type]
            routers=cast(object, self.routers),  # type: ignore[arg-type]
            trunks=cast(object, self.trunks),  # type: ignore[arg-type]
            logs=cast(object, self.logs),  # type: ignore[arg-type]
            labels=cast(object, self.labels),  # type: ignore[arg-type]
        )
        return NetworkAgent(stores, self.drivers, self.settings, lambda port_id: None)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.agent.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, text: str, id_: str) -> None:
        """Until what is reported of the port or router says so."""
        async with asyncio.timeout(30):
            while text not in f"{self.ports.status(id_)} {self.routers.status(id_)}":
                await asyncio.sleep(0.001)


SUBNET = a_subnet(NETWORK_ID)


async def test_a_dhcp_port_alone_is_active_and_a_server_runs_once_there_is_somebody_to_serve() -> None:
    world, want = World(), a_network(SUBNET, network_id=NETWORK_ID)
    port = a_port(NETWORK_ID, [(SUBNET, "10.0.0.5")])
    async with world.running():
        world.networks.bind(NETWORK_ID, want)
        world.ports.bind(want.dhcp_port.meta.id, want.dhcp_port)
        await world.until("STATE_ACTIVE", want.dhcp_port.meta.id)
        assert await world.drivers.dhcp.find() == []
        world.ports.bind(port.meta.id, port)
        await world.until("STATE_ACTIVE", port.meta.id)
        assert [holding.owner_id for holding in await world.drivers.dhcp.find()] == [NETWORK_ID]
        world.ports.unbind(port.meta.id)
        async with asyncio.timeout(30):
            while await world.drivers.dhcp.find():
                await asyncio.sleep(0.001)


class Unwilling(FakeDhcp):
    """Does not end at the first try."""

    tries = 0

    async def remove(self, network_id: str) -> None:
        self.tries += 1
        if self.tries == 1:
            raise Unavailable("it does not end")
        await super().remove(network_id)


async def test_a_network_goes_though_its_last_port_went_at_the_second_try() -> None:
    world, want = World(), a_network(SUBNET, network_id=NETWORK_ID)
    port = a_port(NETWORK_ID, [(SUBNET, "10.0.0.5")])
    world.drivers = replace(world.drivers, dhcp=Unwilling())
    world.agent = world.new_agent()
    async with world.running():
        world.networks.bind(NETWORK_ID, want)
        world.ports.bind(port.meta.id, port)
        await world.until("STATE_ACTIVE", port.meta.id)
        for meta in (want.network.meta, port.meta):
            meta.delete_time.GetCurrentTime()
        world.networks.bind(NETWORK_ID, want)
        world.ports.bind(port.meta.id, port)
        await world.until("released: true", port.meta.id)
        async with asyncio.timeout(30):
            while "released: true" not in str(world.networks.status(NETWORK_ID)):
                await asyncio.sleep(0.001)


async def test_a_port_waits_for_what_it_needs_and_is_woken() -> None:
    world, port = World(), a_port(NETWORK_ID, [(SUBNET, "10.0.0.5")], groups=[GROUP_ID])
    async with world.running():
        world.ports.bind(port.meta.id, port)
        await world.until("WAITING_FOR_NETWORK", port.meta.id)
        world.networks.bind(NETWORK_ID, a_network(SUBNET, network_id=NETWORK_ID))
        await world.until("WAITING_FOR_SECURITY_GROUP", port.meta.id)
        world.groups.bind(GROUP_ID, a_group(group_id=GROUP_ID))
        await world.until("STATE_ACTIVE", port.meta.id)
        await world.until("observed_generation: 1", port.meta.id)


async def test_a_deleted_port_is_released_and_a_vanished_one_is_not_reported_again() -> None:
    world, port = World(), a_port(NETWORK_ID, [(SUBNET, "10.0.0.5")])
    async with world.running():
        world.networks.bind(NETWORK_ID, a_network(SUBNET, network_id=NETWORK_ID))
        world.ports.bind(port.meta.id, port)
        await world.until("STATE_ACTIVE", port.meta.id)
        gone = port_pb2.Port()
        gone.CopyFrom(port)
        gone.meta.delete_time.GetCurrentTime()
        world.ports.bind(port.meta.id, gone)
        await world.until("released: true", port.meta.id)
        assert [h for h in await world.drivers.switch.find() if h.kind == "tap"] == []
        world.ports.unbind(port.meta.id)
        await asyncio.sleep(0.05)
        assert world.ports.status(port.meta.id) is None


async def test_a_restart_reports_nothing_that_it_said_before() -> None:
    world, port = World(), a_port(NETWORK_ID, [(SUBNET, "10.0.0.5")], groups=[GROUP_ID])
    world.networks.bind(NETWORK_ID, a_network(SUBNET, network_id=NETWORK_ID))
    world.groups.bind(GROUP_ID, a_group(group_id=GROUP_ID))
    world.ports.bind(port.meta.id, port)
    async with world.running():
        await world.until("STATE_ACTIVE", port.meta.id)
        await asyncio.sleep(0.02)
    writes = len(world.ports.reports), len(world.networks.reports)
    again = World()
    again.networks, again.groups, again.ports = world.networks, world.groups, world.ports
    again.agent = again.new_agent()
    async with again.running():
        await asyncio.sleep(0.1)
    assert (len(world.ports.reports), len(world.networks.reports)) == writes


async def test_what_a_restart_finds_without_a_want_goes_after_the_grace_period() -> None:
    world, port = World(), a_port(NETWORK_ID, [(SUBNET, "10.0.0.5")])
    await world.drivers.switch.ensure_network(a_network(SUBNET, network_id=NETWORK_ID))
    await world.drivers.switch.ensure_port(port, 1450)
    async with world.running(), asyncio.timeout(30):
        while await world.drivers.switch.find():
            await asyncio.sleep(0.005)


class Counting(FakeMeters):
    """A packet a look."""

    async def take(self, router_id: str) -> dict[str, Count]:
        return {"label": Count(packets=1, bytes=10)}


async def test_what_could_not_be_told_of_a_label_is_told_later() -> None:
    world, router = World(), a_router()
    world.drivers = replace(world.drivers, meter=Counting())
    world.settings = replace(world.settings, meter=timedelta(milliseconds=5))
    world.agent = world.new_agent()
    world.labels.bind("label", metering_pb2.MeteringLabelWant())
    world.labels.failure = Unavailable("etcd is away")
    async with world.running():
        world.routers.bind(router.router.meta.id, router)
        async with asyncio.timeout(30):
            while not world.labels.reports:
                await asyncio.sleep(0.001)
    assert world.labels.reports[0][1].packets == 2


async def test_a_batch_serves_all_who_asked_before_it_began() -> None:
    runs = 0
    gate = asyncio.Event()

    async def work() -> None:
        nonlocal runs
        runs += 1
        await gate.wait()

    batch = Batch(work)
    first = asyncio.create_task(batch.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(batch.run()) for _ in range(10)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *others)
    assert runs == 2


def test_an_orphan_is_due_only_when_it_was_alone_all_the_time() -> None:
    now = 0.0
    orphans = Orphans(timedelta(seconds=10), lambda: now)
    tap = Holding("tap", "tapx", "port", "x")
    assert orphans.due([tap], set()) == []
    now = 9
    assert orphans.due([tap], {"x"}) == []
    now = 12
    assert orphans.due([tap], set()) == []
    now = 22
    assert orphans.due([tap], set()) == [tap]


def test_a_freed_number_is_given_again_last() -> None:
    numbers = Numbers(3)
    assert [numbers.number(n) for n in "abb"] == [1, 2, 2]
    numbers.free("a")
    assert [numbers.number(n) for n in "cd"] == [3, 1]


async def test_a_port_waits_for_its_policy_and_follows_it() -> None:
    world = World()
    subnet = a_subnet(NETWORK_ID)
    network = a_network(subnet, network_id=NETWORK_ID)
    network.network.spec.qos_policy_id = "of-network"
    world.networks.bind(NETWORK_ID, network)
    port = a_port(NETWORK_ID, [(subnet, "10.0.0.5")])
    world.ports.bind(port.meta.id, port)
    qos = cast(FakeQos, world.drivers.qos)

    async def until(rate: int) -> None:
        async with asyncio.timeout(30):
            while (out := qos.limits.get(port.meta.id, Limits()).out) is None or out.rate != rate:
                await asyncio.sleep(0.001)

    async with world.running():
        await world.until("WAITING_FOR_QOS_POLICY", port.meta.id)
        world.qos.bind("of-network", a_policy("of-network", bandwidth_limit={"max_kbps": 8}))
        await world.until("STATE_ACTIVE", port.meta.id)
        await until(1000)
        world.qos.bind("of-network", a_policy("of-network", bandwidth_limit={"max_kbps": 16}))
        await until(2000)
        world.qos.bind("other", a_policy("other", bandwidth_limit={"max_kbps": 24}))
        network.network.spec.qos_policy_id = "other"
        world.networks.bind(NETWORK_ID, network)
        await until(3000)
        world.ports.unbind(port.meta.id)
        async with asyncio.timeout(30):
            while port.meta.id in qos.limits:
                await asyncio.sleep(0.001)


async def test_a_router_waits_for_its_networks_and_is_released() -> None:
    world, network = World(), a_network(SUBNET, network_id=NETWORK_ID)
    router = a_router(a_router_port(network, "10.0.0.1"))
    router_id = router.router.meta.id
    async with world.running():
        world.routers.bind(router_id, router)
        await world.until("WAITING_FOR_NETWORK", router_id)
        world.networks.bind(NETWORK_ID, network)
        await world.until("STATE_ACTIVE", router_id)
        router.router.spec.admin_state_up = False
        world.routers.bind(router_id, router)
        await world.until("STATE_DOWN", router_id)
        assert await world.drivers.router.find() == []
        router.router.meta.delete_time.GetCurrentTime()
        world.routers.bind(router_id, router)
        await world.until("released: true", router_id)
