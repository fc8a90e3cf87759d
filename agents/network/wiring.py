"""The network agent as a part of fabric-agent."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from agents.compute.metadata import Metadata, documents
from agents.fence import Fence, terms
from agents.network import host, nflog, qos, trunk_links
from agents.network.agent import NetworkAgent, NetworkStores
from agents.network.driver import Drivers
from agents.network.fake import fake_drivers
from agents.network.real import real_drivers
from agents.network.router_fence import take_down
from agents.network.settings import NetworkSettings
from agents.running import Running, first_of
from fabric.network.packet_log import SECURITY_GROUP
from fabric.network.qos import POSSIBLE
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
from fabric.runtime.cache import Cache
from fabric.runtime.node import Bundled, Life, NodeCache, NodeStore
from fabric.runtime.rpc import Server
from fabric.type.v1 import holding_pb2

_FENCE_AFTER_LEASE_S = 0.75  # a router moves a second after the lease of its node


class Network:
    """Built from the configuration; the drivers outlive lives."""

    name = "network"

    def __init__(self, running: Running) -> None:
        config = running.config
        self._running = running
        self._settings = NetworkSettings(
            packet_log=config.node.state_dir / "network" / "packets.jsonl",
            grace=timedelta(seconds=config.agent.orphan_grace_s),
            domain=config.network.dns_domain,
            dns_servers=tuple(config.network.dns_servers),
            tunnel_address=config.network.tunnel_address or config.node.address,
            physical_networks=config.network.physical_networks,
        )
        self._is_fake = config.network.driver == "fake"
        self._drivers: Drivers = (
            fake_drivers()
            if self._is_fake
            else real_drivers(self._settings, config.node.state_dir / "network")
        )
        self._fence = Fence(
            config.node.state_dir / "network",
            terms(
                config,
                self.name,
                silent_s=config.agent.lease_ttl_s / 2,
                fence_after_s=config.agent.lease_ttl_s + _FENCE_AFTER_LEASE_S,
            ),
            ("routers", ""),
        )
        self._fence.begin()
        self._life: Life | None = None
        self._agent: NetworkAgent | None = None

    def register(self, server: Server) -> None:
        """It offers nothing over gRPC."""

    async def detail(self) -> Mapping[str, object]:
        """Which driver it has, where networks lead, and the QoS rules that it can do.

        Raises FailedPrecondition: what the node lacks.
        """
        if not self._is_fake:
            await asyncio.to_thread(host.prepare)
        return {
            "driver": self._running.config.network.driver,
            "tunnel_address": self._settings.tunnel_address,
            "trunks": self._is_fake or await asyncio.to_thread(trunk_links.is_possible),
            "loggable": await self._loggable(),
            "qos": sorted(POSSIBLE) if self._is_fake else await asyncio.to_thread(qos.possible),
            "physical_networks": dict(self._settings.physical_networks),
        }

    async def _loggable(self) -> list[str]:
        possible = True if self._is_fake else await asyncio.to_thread(nflog.is_possible)
        return [SECURITY_GROUP] if possible else []

    def begin(self, life: Life) -> list[Cache]:
        """Stores of what is wanted here."""
        codec = self._running.codec
        wants = NodeCache(self._running.etcd, codec, "network", self._running.config.node.name)
        group, members = security_group_pb2.SecurityGroupWant, security_group_pb2.GroupMemberBundle
        stores = NetworkStores(
            networks=NodeStore(
                wants, life, codec, "networks", network_pb2.NetworkWant, network_pb2.NetworkStatus
            ),
            ports=NodeStore(wants, life, codec, "ports", port_pb2.Port, port_pb2.PortStatus),
            groups=NodeStore(wants, life, codec, "security_groups", group),
            members=Bundled(wants, "group_members", members, _members),
            routers=NodeStore(wants, life, codec, "routers", router_pb2.RouterWant, router_pb2.RouterStatus),
            neighbors=Bundled(wants, "neighbors", neighbor_pb2.NeighborBundle, self._elsewhere),
            qos=NodeStore(wants, life, codec, "qos_policies", qos_pb2.QosPolicyWant),
            trunks=NodeStore(wants, life, codec, "trunks", trunk_pb2.Trunk, trunk_pb2.TrunkStatus),
            logs=NodeStore(wants, life, codec, "logs", log_pb2.Log),
            labels=NodeStore(
                wants,
                life,
                codec,
                "metering_labels",
                metering_pb2.MeteringLabelWant,
                metering_pb2.MeteringLabelStatus,
            ),
        )
        self._life = life
        self._agent = NetworkAgent(stores, self._drivers, self._settings, self._documents, self._fence)
        return [wants.cache]

    def _elsewhere(self, bundle: neighbor_pb2.NeighborBundle) -> dict[str, neighbor_pb2.Neighbor]:
        """The ports that other nodes have."""
        here = self._running.config.node.name
        return {neighbor.port_id: neighbor for neighbor in bundle.neighbors if neighbor.node != here}

    async def work(self) -> None:
        """Reconcile, and say which routers end with our lease."""
        assert self._agent is not None
        assert self._life is not None
        life, agent, panel = self._life, self._agent, self._running.panel
        has_legs = self._drivers.namespaces

        def fenced() -> list[str]:
            return agent.routers() if has_legs and len(panel()) > 1 else []  # else there is nowhere to go

        await first_of(
            asyncio.create_task(agent.run()),
            asyncio.create_task(self._fence.keep(lambda: life.renewed, fenced, panel, agent.wake_router)),
        )

    async def holdings(self) -> list[holding_pb2.Holding]:
        """Bridges, taps, tunnels, namespaces, filters, sets, DHCP servers and limits."""
        return [
            holding_pb2.Holding(kind=h.kind, name=h.name, owner_kind=f"{h.owner_kind}s", owner_id=h.owner_id)
            for h in await self._drivers.find()
            if h.owner_kind
        ]

    async def surrender(self) -> None:
        """Routers answer no more."""
        for router_id in {holding.owner_id for holding in await self._drivers.router.find()}:
            await asyncio.to_thread(take_down, router_id)

    async def close(self) -> None:
        """Stops nothing on the node."""
        await self._drivers.close()

    def _documents(self, port_id: str) -> Metadata | None:
        """The metadata of the server that has the port."""
        servers, passwords = self._running.servers, self._running.passwords
        if servers is None or passwords is None:
            return None
        for server_id in servers.ids():
            want = servers.get(server_id)
            if want is not None and any(nic.port_id == port_id for nic in want.server.nics):
                return Metadata(documents(want), server_id, passwords)
        return None


def _members(bundle: security_group_pb2.GroupMemberBundle) -> dict[str, security_group_pb2.GroupMember]:
    return {f"{one.security_group_id}.{one.port_id}": one for one in bundle.members}
