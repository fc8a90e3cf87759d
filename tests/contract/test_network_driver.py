"""What every backend of the network agent must do, checked on the fake and on the kernel."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.network.driver import Drivers, Holding
from agents.network.fake import FakeTrunks, fake_drivers
from agents.network.limit import Bandwidth, Limits, PacketRate
from agents.network.name import bridge, shaper, tap, trunk_link
from agents.network.real import real_drivers
from agents.network.settings import NetworkSettings
from fabric.network.v1 import neighbor_pb2, port_pb2, security_group_pb2
from fabric.runtime.errors import NotFound
from tests.system.network.lab import clean, own_namespace
from tests.unit.agents.network.wants import a_group, a_network, a_port, a_router, a_router_port, a_subnet


@pytest.fixture(params=["fake", "kernel"])
async def drivers(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Drivers]:
    if request.param == "fake":
        yield fake_drivers()
        return
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with own_namespace():
        drivers = real_drivers(NetworkSettings(), tmp_path)
        yield drivers
        for holding in await drivers.router.find():
            await drivers.router.remove(holding.owner_id)
        for holding in await drivers.switch.find():
            if holding.owner_kind == "network":
                await drivers.dhcp.remove(holding.owner_id)
                await drivers.switch.remove_network(holding.owner_id)
        await drivers.close()
        clean(tmp_path)


class Site:
    """One network with one port in one group, of which members of another are let in."""

    def __init__(self) -> None:
        self.network_id, self.group_id, self.remote_id = (str(uuid.uuid4()) for _ in range(3))
        self.subnet = a_subnet(self.network_id)
        self.network = a_network(self.subnet, network_id=self.network_id)
        self.port = a_port(self.network_id, [(self.subnet, "10.0.0.5")], groups=[self.group_id])
        rule: dict[str, object] = {
            "direction": "ingress",
            "ethertype": "IPv4",
            "remote_group_id": self.remote_id,
        }
        self.group = a_group(rule, group_id=self.group_id)
        self.member = security_group_pb2.GroupMember(
            security_group_id=self.remote_id, port_id="p", addresses=["10.0.0.7", "fd00::7", "10.9.0.0/24"]
        )


def kinds(held: list[Holding]) -> list[str]:
    return sorted(holding.kind for holding in held)


async def test_a_network_is_there_once_and_then_not(drivers: Drivers) -> None:
    site = Site()
    await drivers.switch.remove_network(site.network_id)
    for _ in range(2):
        await drivers.switch.ensure_network(site.network)
        held = await drivers.switch.find()
        assert kinds(held) == ["bridge", "link", "namespace"]
        assert {holding.owner_id for holding in held} == {site.network_id}
        assert bridge(site.network_id) in {holding.name for holding in held}
    site.network.ClearField("dhcp_port")
    await drivers.switch.ensure_network(site.network)
    assert kinds(await drivers.switch.find()) == ["bridge", "link", "namespace"]  # of metadata
    for _ in range(2):
        await drivers.switch.remove_network(site.network_id)
        assert await drivers.switch.find() == []


async def test_a_network_with_peers_has_a_way_to_them(drivers: Drivers) -> None:
    site = Site()
    neighbor = neighbor_pb2.Neighbor(
        network_id=site.network_id,
        port_id=site.port.meta.id,
        mac_address=site.port.spec.mac_address,
        addresses=["10.0.0.5", "fd00::5"],
        node="n2",
    )
    await drivers.switch.ensure_neighbors({"p": neighbor})
    for _ in range(2):
        site.network.peers.add(node="n2", address="192.0.2.2")
        await drivers.switch.ensure_network(site.network)
        assert kinds(await drivers.switch.find()) == ["bridge", "link", "namespace", "tunnel"]
        await drivers.switch.resync()
        site.network.ClearField("peers")
        await drivers.switch.ensure_network(site.network)
        assert "tunnel" not in kinds(await drivers.switch.find())
    await drivers.switch.ensure_neighbors({"p": None})
    await drivers.switch.remove_network(site.network_id)
    assert await drivers.switch.find() == []


async def test_a_port_needs_its_network(drivers: Drivers) -> None:
    site = Site()
    with pytest.raises(NotFound):
        await drivers.switch.ensure_port(site.port, 1450)
    await drivers.switch.ensure_network(site.network)
    for _ in range(2):
        await drivers.switch.ensure_port(site.port, 1450)
        taps = [holding for holding in await drivers.switch.find() if holding.kind == "tap"]
        assert taps == [Holding("tap", tap(site.port.meta.id), "port", site.port.meta.id)]
    for _ in range(2):
        await drivers.switch.remove_port(site.port.meta.id)
        assert "tap" not in kinds(await drivers.switch.find())


async def test_a_router_is_there_once_and_then_not(drivers: Drivers) -> None:
    site = Site()
    router = a_router(a_router_port(site.network, "10.0.0.1"))
    router_id = router.router.meta.id
    await drivers.switch.ensure_network(site.network)
    for _ in range(2):
        await drivers.router.ensure(router)
        held = await drivers.router.find()
        assert kinds(held) == ["namespace", "router_link"]
        assert {(holding.owner_kind, holding.owner_id) for holding in held} == {("router", router_id)}
        assert "router_link" not in kinds(await drivers.switch.find())
    for _ in range(2):
        await drivers.router.remove(router_id)
        assert await drivers.router.find() == []


async def test_many_ports_go_at_once(drivers: Drivers) -> None:
    site = Site()
    await drivers.switch.ensure_network(site.network)
    ports = [a_port(site.network_id, [(site.subnet, f"10.0.0.{i}")]) for i in range(10, 15)]
    for port in ports:
        await drivers.switch.ensure_port(port, 1450)
    await asyncio.gather(*(drivers.switch.remove_port(port.meta.id) for port in ports))
    assert "tap" not in kinds(await drivers.switch.find())


async def test_filters_say_what_they_hold_and_then_nothing(drivers: Drivers) -> None:
    site, filter_ = Site(), drivers.filter
    await filter_.ensure_network(site.network)
    await filter_.ensure_members({"m": site.member})
    await filter_.ensure_group(site.group)
    await filter_.ensure_port(site.port)
    held = await filter_.find()
    assert Holding("filter", tap(site.port.meta.id), "port", site.port.meta.id[:11]) in held
    assert Holding("set", f"m4-{site.remote_id}", "security_group", site.remote_id) in held
    assert not await filter_.resync()
    await filter_.adopt([site.network], [site.group], {"m": site.member}, [site.port])
    assert not await filter_.resync()
    await filter_.remove_port(site.port.meta.id)
    await filter_.remove_group(site.group_id)
    await filter_.ensure_members({"m": None})
    await filter_.remove_network(site.network_id)
    await filter_.forget_unknown()
    assert await filter_.find() == []


async def test_a_port_without_security_has_no_filter(drivers: Drivers) -> None:
    site, filter_ = Site(), drivers.filter
    await filter_.ensure_group(site.group)
    await filter_.ensure_port(site.port)
    plain = port_pb2.Port()
    plain.CopyFrom(site.port)
    plain.spec.port_security_enabled = False
    await filter_.ensure_port(plain)
    assert "filter" not in kinds(await filter_.find())


async def test_a_port_that_was_not_adopted_can_be_removed(drivers: Drivers) -> None:
    site, filter_ = Site(), drivers.filter
    await filter_.adopt([site.network], [site.group], {"m": site.member}, [site.port])
    await filter_.adopt([site.network], [site.group], {"m": site.member}, [])
    await filter_.remove_port(site.port.meta.id)
    assert "filter" not in kinds(await filter_.find())


async def test_what_was_not_adopted_stays_until_it_is_forgotten(drivers: Drivers) -> None:
    site, filter_ = Site(), drivers.filter
    await filter_.adopt([site.network], [site.group], {"m": site.member}, [site.port])
    await filter_.adopt([], [], {}, [])
    await filter_.forget_unknown()
    assert await filter_.find() == []


async def test_dhcp_runs_only_where_a_subnet_wants_it(drivers: Drivers) -> None:
    site = Site()
    await drivers.switch.ensure_network(site.network)
    await drivers.dhcp.ensure(site.network, [site.port])
    assert kinds(await drivers.dhcp.find()) == ["dhcp"]
    site.network.subnets[0].spec.enable_dhcp = False
    await drivers.dhcp.ensure(site.network, [site.port])
    assert await drivers.dhcp.find() == []
    await drivers.dhcp.remove(site.network_id)


async def test_limits_are_there_once_and_then_not(drivers: Drivers) -> None:
    site, rate = Site(), Bandwidth(10**6, 10**5)
    port_id = site.port.meta.id
    await drivers.qos.adopt({})
    await drivers.qos.remove_port(port_id)
    await drivers.switch.ensure_network(site.network)
    await drivers.switch.ensure_port(site.port, 1450)
    await drivers.qos.ensure_port(port_id, Limits())
    assert await drivers.qos.find() == []
    for _ in range(2):
        await drivers.qos.ensure_port(port_id, Limits(out=rate, into=rate, dscp=26))
        held = await drivers.qos.find()
        assert held == [
            Holding("shaper", shaper(port_id), "port", port_id),
            Holding("limit", tap(port_id), "port", port_id[:11]),
        ]
    await drivers.qos.ensure_port(port_id, Limits(into_packets=PacketRate(1000, 100)))
    assert kinds(await drivers.qos.find()) == ["limit"]
    await drivers.qos.ensure_port(port_id, Limits(out=rate))
    await drivers.switch.remove_port(port_id)
    for _ in range(2):
        await drivers.qos.remove_port(port_id)
        assert await drivers.qos.find() == []


async def test_a_trunk_makes_the_devices_of_its_ports_once_and_then_not(drivers: Drivers) -> None:
    site = Site()
    parent_id, port_id, other_id = site.port.meta.id, str(uuid.uuid4()), str(uuid.uuid4())
    await drivers.trunk.remove([port_id])
    await drivers.switch.ensure_network(site.network)
    await drivers.switch.ensure_port(site.port, 1450)
    for tags in ({port_id: 5}, {port_id: 5}, {port_id: 6, other_id: 5}):
        await drivers.trunk.ensure(parent_id, tags)
        held = await drivers.trunk.find()
        assert sorted(holding.owner_id for holding in held) == sorted(tags)
        assert {holding.kind for holding in held} == {"trunk_link"}
    await drivers.trunk.ensure(parent_id, {port_id: 6})
    await drivers.trunk.remove([other_id])
    assert await drivers.trunk.find() == [Holding("trunk_link", trunk_link(port_id), "port", port_id)]
    for _ in range(2):
        await drivers.trunk.remove([port_id])
        assert await drivers.trunk.find() == []


async def test_a_trunk_needs_the_tap_of_its_parent(drivers: Drivers) -> None:
    if isinstance(drivers.trunk, FakeTrunks):
        pytest.skip("the fake one is told of no taps")
    with pytest.raises(NotFound):
        await drivers.trunk.ensure(str(uuid.uuid4()), {str(uuid.uuid4()): 5})
