"""What the network agent asks of its node. Each verb names an end state; repeating it is safe and cheap.

SwitchDriver makes bridges, namespaces and taps (netlink.py), FilterDriver what may pass (nftables.py),
DhcpDriver the DHCP and DNS servers (dnsmasq.py), QosDriver how much of it (qos.py), RouterDriver what leads from
network to network (router_namespace.py); fake.py holds all of them in memory, for scale tests.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agents.network.limit import Limits
from agents.network.meter import MeterDriver
from fabric.network.v1 import neighbor_pb2, network_pb2, port_pb2, router_pb2, security_group_pb2


@dataclass(frozen=True)
class Holding:
    """One thing that the agent holds on its node."""

    kind: str  # bridge, namespace, tap, link, tunnel, uplink, outlet, router_link, filter, set, dhcp, shaper, limit
    name: str
    owner_kind: str  # network, port, router, security_group; empty: the node's own
    owner_id: str  # as much of the id as the thing carries: a name may hold only its start


@dataclass(frozen=True)
class LoggedPacket:
    """What happened to a packet of a logged port. payload: its first bytes, from the IP header on."""

    port_id: str
    event: str  # ACCEPT, DROP
    direction: str  # egress, ingress
    payload: bytes


class SwitchDriver(Protocol):
    """Layer 2 of the node."""

    def adopt(self, neighbors: Mapping[str, neighbor_pb2.Neighbor]) -> None:
        """Know all neighbors before anything is written."""

    async def resync(self) -> None:
        """Compare with the kernel where frames to neighbors go, and repair."""

    async def ensure_network(self, want: network_pb2.NetworkWant) -> None:
        """Make the bridge, and the namespace with the addresses of the DHCP port, if any, and of metadata.

        With peers also the way to them, and the way out of networks that have one. Raises FailedPrecondition:
        the node has no such way.
        """

    async def remove_network(self, network_id: str) -> None:
        """Make bridge, namespace and the way to peers not exist."""

    async def ensure_neighbors(self, neighbors: Mapping[str, neighbor_pb2.Neighbor | None]) -> None:
        """Send frames to each of these ports where it is; None: know nothing of it.

        Their network may still be unknown here.
        """

    async def ensure_port(self, port: port_pb2.Port, mtu: int) -> None:
        """Make the port's tap a member of its network's bridge. Raises NotFound: there is no bridge yet."""

    async def remove_port(self, port_id: str) -> None:
        """Make the tap not exist."""

    async def find(self) -> list[Holding]:
        """Everything on the node that carries our mark."""

    async def close(self) -> None:
        """Let go without undoing anything."""


class FilterDriver(Protocol):
    """What may pass between the ports and the rest. A port that is not mentioned passes everything."""

    async def adopt(
        self,
        networks: Sequence[network_pb2.NetworkWant],
        groups: Sequence[security_group_pb2.SecurityGroupWant],
        members: Mapping[str, security_group_pb2.GroupMember],
        ports: Sequence[port_pb2.Port],
    ) -> None:
        """Make all this true in one transaction, and leave what belongs to nothing of it as it is."""

    async def forget_unknown(self) -> None:
        """Remove what adopt left."""

    async def resync(self) -> bool:
        """Compare with the kernel and repair. False: nothing had changed and nothing was written."""

    async def ensure_network(self, want: network_pb2.NetworkWant) -> None:
        """Let the ports of the network reach its DHCP, DNS and metadata.

        Track its flows apart from others.
        """

    async def remove_network(self, network_id: str) -> None: ...

    async def ensure_port(self, port: port_pb2.Port) -> None:
        """Filter the port by its addresses and its groups."""

    async def remove_port(self, port_id: str) -> None: ...

    async def ensure_group(self, want: security_group_pb2.SecurityGroupWant) -> None: ...

    async def remove_group(self, group_id: str) -> None: ...

    async def ensure_members(self, members: Mapping[str, security_group_pb2.GroupMember | None]) -> None:
        """Let each of these, by id, be a member of its group; None: it is none any more."""

    def on_packet(self, callback: Callable[[LoggedPacket], None]) -> None:
        """Call back with some of the packets that log_ports asked for."""

    async def log_ports(self, events: Mapping[str, frozenset[str]]) -> None:
        """Tell of these events of these ports: dropped packets, and the first that pass of each flow.

        Raises Unavailable: the node cannot.
        """

    async def find(self) -> list[Holding]: ...

    async def close(self) -> None:
        """Let go; the filters stay."""


class DhcpDriver(Protocol):
    """DHCP, router advertisements and DNS of a network on this node, for this node's ports only."""

    async def ensure(self, want: network_pb2.NetworkWant, ports: Sequence[port_pb2.Port]) -> None:
        """Serve exactly these ports; nothing runs where no subnet enables DHCP or there is no dhcp_port."""

    async def remove(self, network_id: str) -> None: ...

    async def find(self) -> list[Holding]: ...

    def on_exit(self, callback: Callable[[str], None]) -> None:
        """Call back with the network id when its server has ended without being asked to."""

    async def close(self) -> None:
        """Let go without stopping anything."""


class QosDriver(Protocol):
    """How much the ports may send and receive, and how what they send is marked."""

    async def adopt(self, ports: Mapping[str, Limits]) -> None:
        """Know what all ports of the node should have; what marks and counts single frames is made so at once."""

    async def resync(self) -> None:
        """Compare the rules for single frames with the kernel and repair them."""

    async def ensure_port(self, port_id: str, wanted: Limits) -> None:
        """Limit the port to this. Raises NotFound: it has no tap."""

    async def remove_port(self, port_id: str) -> None:
        """Hold nothing for the port; its tap is gone or goes."""

    async def find(self) -> list[Holding]: ...

    async def close(self) -> None:
        """Let go; the limits stay."""


class RouterDriver(Protocol):
    """Layer 3 between networks."""

    async def ensure(self, want: router_pb2.RouterWant) -> bool:
        """Make the router lead where it should, and nowhere else. Raises NotFound: a network is not there yet.

        True: ask again a second later. What came was announced, and the links may not have carried it yet.
        """

    async def remove(self, router_id: str) -> None:
        """Make the router not exist."""

    async def find(self) -> list[Holding]: ...


class TrunkDriver(Protocol):
    """VLAN tags between the tap of a parent and the devices of its other ports."""

    async def ensure(self, parent_id: str, tags: Mapping[str, int]) -> None:
        """Make the devices (port id -> tag), called like the taps of these ports, and carry frames of exactly these.

        Raises NotFound: the parent has no tap; Unavailable: the kernel cannot.
        """

    async def remove(self, port_ids: Iterable[str]) -> None:
        """Make the devices of these ports not exist."""

    async def find(self) -> list[Holding]: ...


@dataclass(frozen=True)
class Drivers:
    """Those of one node."""

    switch: SwitchDriver
    filter: FilterDriver
    dhcp: DhcpDriver
    qos: QosDriver
    router: RouterDriver
    meter: MeterDriver
    trunk: TrunkDriver
    namespaces: bool = True  # False: the switch makes none, so nothing can listen in them

    async def find(self) -> list[Holding]:
        """All that the node holds."""
        parts = (self.switch, self.filter, self.dhcp, self.qos, self.router, self.trunk)
        return [holding for part in parts for holding in await part.find()]

    async def close(self) -> None:
        """Let go without undoing or stopping anything."""
        await self.dhcp.close()
        await self.qos.close()
        await self.filter.close()
        await self.switch.close()
