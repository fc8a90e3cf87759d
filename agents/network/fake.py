"""All drivers in memory.

A node that makes nothing and says yes at once. For scale tests without a kernel.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from agents.network import dhcp, name
from agents.network.driver import Drivers, Holding, LoggedPacket
from agents.network.limit import Limits
from agents.network.meter import Count
from fabric.network.v1 import (
    metering_pb2,
    neighbor_pb2,
    network_pb2,
    port_pb2,
    router_pb2,
    security_group_pb2,
)
from fabric.runtime.errors import NotFound

T = TypeVar("T")


class FakeSwitch:
    """Knows what would be there."""

    def __init__(self) -> None:
        self._networks: dict[str, network_pb2.NetworkWant] = {}
        self._ports: dict[str, port_pb2.Port] = {}
        self._neighbors: dict[str, neighbor_pb2.Neighbor] = {}

    def adopt(self, neighbors: Mapping[str, neighbor_pb2.Neighbor]) -> None:
        self._neighbors = dict(neighbors)

    async def resync(self) -> None:
        return

    async def ensure_network(self, want: network_pb2.NetworkWant) -> None:
        self._networks[want.network.meta.id] = want

    async def remove_network(self, network_id: str) -> None:
        self._networks.pop(network_id, None)

    async def ensure_neighbors(self, neighbors: Mapping[str, neighbor_pb2.Neighbor | None]) -> None:
        _take_over(self._neighbors, neighbors)

    async def ensure_port(self, port: port_pb2.Port, mtu: int) -> None:
        if port.spec.network_id not in self._networks:
            raise NotFound("the network has no bridge on this node yet", network=port.spec.network_id)
        self._ports[port.meta.id] = port

    async def remove_port(self, port_id: str) -> None:
        self._ports.pop(port_id, None)

    async def find(self) -> list[Holding]:
        found = []
        for network_id, want in self._networks.items():
            found.append(Holding("bridge", name.bridge(network_id), "network", network_id))
            found.append(Holding("link", name.link(network_id), "network", network_id))
            found.append(Holding("namespace", name.namespace(network_id), "network", network_id))
            if want.peers:
                found.append(Holding("tunnel", name.tunnel(network_id), "network", network_id))
        found += [Holding("tap", name.tap(port_id), "port", port_id) for port_id in self._ports]
        return found

    async def close(self) -> None:
        return


class FakeFilter:
    """Lets everything pass, and knows what it should not."""

    def __init__(self) -> None:
        self._networks: dict[str, network_pb2.NetworkWant] = {}
        self._ports: dict[str, port_pb2.Port] = {}
        self._groups: dict[str, security_group_pb2.SecurityGroupWant] = {}
        self._members: dict[str, security_group_pb2.GroupMember] = {}

    async def adopt(
        self,
        networks: Sequence[network_pb2.NetworkWant],
        groups: Sequence[security_group_pb2.SecurityGroupWant],
        members: Mapping[str, security_group_pb2.GroupMember],
        ports: Sequence[port_pb2.Port],
    ) -> None:
        self._networks = {want.network.meta.id: want for want in networks}
        self._groups = {want.security_group.meta.id: want for want in groups}
        self._members = dict(members)
        self._ports = {port.meta.id: port for port in ports if port.spec.port_security_enabled}

    async def forget_unknown(self) -> None:
        return

    async def resync(self) -> bool:
        return False

    async def ensure_network(self, want: network_pb2.NetworkWant) -> None:
        self._networks[want.network.meta.id] = want

    async def remove_network(self, network_id: str) -> None:
        self._networks.pop(network_id, None)

    async def ensure_port(self, port: port_pb2.Port) -> None:
        if port.spec.port_security_enabled:
            self._ports[port.meta.id] = port
        else:
            self._ports.pop(port.meta.id, None)

    async def remove_port(self, port_id: str) -> None:
        self._ports.pop(port_id, None)

    async def ensure_group(self, want: security_group_pb2.SecurityGroupWant) -> None:
        self._groups[want.security_group.meta.id] = want

    async def remove_group(self, group_id: str) -> None:
        self._groups.pop(group_id, None)

    async def ensure_members(self, members: Mapping[str, security_group_pb2.GroupMember | None]) -> None:
        _take_over(self._members, members)

    def on_packet(self, callback: Callable[[LoggedPacket], None]) -> None:
        return

    async def log_ports(self, events: Mapping[str, frozenset[str]]) -> None:
        return

    async def find(self) -> list[Holding]:
        # no more of the id than the real one keeps
        found = [Holding("filter", name.tap(port_id), "port", port_id[:11]) for port_id in self._ports]
        rules = (rule.spec for want in self._groups.values() for rule in want.rules)
        for group_id in {rule.remote_group_id for rule in rules if rule.remote_group_id}:
            found += [Holding("set", f"m{v}-{group_id}", "security_group", group_id) for v in (4, 6)]
        return found

    async def close(self) -> None:
        return


class FakeDhcp:
    """Answers nobody."""

    def __init__(self) -> None:
        self._networks: dict[str, network_pb2.NetworkWant] = {}

    async def ensure(self, want: network_pb2.NetworkWant, ports: Sequence[port_pb2.Port]) -> None:
        if dhcp.serves(want):
            self._networks[want.network.meta.id] = want
        else:
            self._networks.pop(want.network.meta.id, None)

    async def remove(self, network_id: str) -> None:
        self._networks.pop(network_id, None)

    async def find(self) -> list[Holding]:
        return [Holding("dhcp", network_id, "network", network_id) for network_id in self._networks]

    def on_exit(self, callback: Callable[[str], None]) -> None:
        return

    async def close(self) -> None:
        return


class FakeQos:
    """Limits nothing."""

    def __init__(self) -> None:
        self.limits: dict[str, Limits] = {}

    async def adopt(self, ports: Mapping[str, Limits]) -> None:
        self.limits = dict(ports)

    async def resync(self) -> None:
        return

    async def ensure_port(self, port_id: str, wanted: Limits) -> None:
        self.limits[port_id] = wanted

    async def remove_port(self, port_id: str) -> None:
        self.limits.pop(port_id, None)

    async def find(self) -> list[Holding]:
        found = []
        for port_id, wanted in self.limits.items():
            if wanted.out is not None:
                found.append(Holding("shaper", name.shaper(port_id), "port", port_id))
            if wanted.out_packets or wanted.into_packets or wanted.dscp is not None:
                found.append(Holding("limit", name.tap(port_id), "port", port_id[:11]))
        return found

    async def close(self) -> None:
        return


class FakeRouters:
    """Lead nowhere."""

    def __init__(self) -> None:
        self._routers: dict[str, router_pb2.RouterWant] = {}

    async def ensure(self, want: router_pb2.RouterWant) -> bool:
        self._routers[want.router.meta.id] = want
        return False

    async def remove(self, router_id: str) -> None:
        self._routers.pop(router_id, None)

    async def find(self) -> list[Holding]:
        found = []
        for router_id, want in self._routers.items():
            found.append(Holding("namespace", name.router_namespace(router_id), "router", router_id))
            links = (name.router_link(port.port.meta.id) for port in want.ports)
            found += [Holding("router_link", link, "router", router_id) for link in links]
        return found


class FakeMeters:
    """Nothing passes its routers."""

    async def ensure(
        self, want: router_pb2.RouterWant, labels: Sequence[metering_pb2.MeteringLabelWant]
    ) -> None:
        return

    async def take(self, router_id: str) -> dict[str, Count]:
        return {}


class FakeTrunks:
    """Carries nothing."""

    def __init__(self) -> None:
        self._ports: set[str] = set()

    async def ensure(self, parent_id: str, tags: Mapping[str, int]) -> None:
        self._ports |= tags.keys()

    async def remove(self, port_ids: Iterable[str]) -> None:
        self._ports -= set(port_ids)

    async def find(self) -> list[Holding]:
        return [Holding("trunk_link", name.trunk_link(id_), "port", id_) for id_ in self._ports]


def fake_drivers() -> Drivers:
    """A node whose ports are ACTIVE at once and carry nothing."""
    return Drivers(
        FakeSwitch(),
        FakeFilter(),
        FakeDhcp(),
        FakeQos(),
        FakeRouters(),
        FakeMeters(),
        FakeTrunks(),
        namespaces=False,
    )


def _take_over(known: dict[str, T], told: Mapping[str, T | None]) -> None:
    for id_, one in told.items():
        if one is None:
            known.pop(id_, None)
        else:
            known[id_] = one
