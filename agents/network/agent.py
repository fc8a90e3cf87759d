"""Keep the networks, ports, routers, security groups... that are wanted on this node as their specs say.

Wiring, in fabric-agent's main:

    settings = NetworkSettings(...)
    await asyncio.to_thread(host.prepare)  # raises FailedPrecondition: what the node lacks; not for the fake
    drivers = real_drivers(settings, state_dir / "network")  # agents.network.real; or fake.fake_drivers()
    stores = NetworkStores(
        networks=NodeStore(cache, life, codec, "networks", NetworkWant, NetworkStatus),
        ports=NodeStore(cache, life, codec, "ports", Port, PortStatus),
        groups=NodeStore(cache, life, codec, "security_groups", SecurityGroupWant),
        members=Bundled(cache, "group_members", GroupMemberBundle, ...),
        neighbors=Bundled(cache, "neighbors", NeighborBundle, ...),
        qos=NodeStore(cache, life, codec, "qos_policies", QosPolicyWant),
        trunks=NodeStore(cache, life, codec, "trunks", Trunk, TrunkStatus),
        logs=NodeStore(cache, life, codec, "logs", Log),
        labels=NodeStore(cache, life, codec, "metering_labels", MeteringLabelWant, MeteringLabelStatus),
        routers=NodeStore(cache, life, codec, "routers", RouterWant, RouterStatus),
    )
    agent = NetworkAgent(stores, drivers, settings, documents)  # port id -> its server's Documents or None
    await agent.run()  # once the caches have listed; until cancelled
    await drivers.close()  # stops nothing on the node
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeGuard

import structlog

from agents.fence import Fence
from agents.network import port as decisions
from agents.network.advertiser import Advertiser
from agents.network.directory import PortDirectory
from agents.network.dns_relay import DnsRelay
from agents.network.driver import Drivers
from agents.network.inside import Inside
from agents.network.metadata_http import Documents, MetadataServer
from agents.network.meter import Meters
from agents.network.mtu import mtu_of
from agents.network.neighbor import Neighbors
from agents.network.packet_log import PacketLog
from agents.network.policy import Policies
from agents.network.router import Routers
from agents.network.settings import NetworkSettings
from agents.network.sweep import Sweep
from agents.network.trunk import Trunks
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
from fabric.runtime.errors import FabricError, LeaseLost
from fabric.runtime.node import NodeStore, Wanted
from fabric.runtime.reconcile import Loop, Together

log = structlog.get_logger(__name__)

_AGAIN = timedelta(0)
_RENAMED_EVERY = timedelta(milliseconds=200)  # what other nodes' ports are called is written at most so often
_RENAMED_EVERY_A_PORT = timedelta(microseconds=200)  # all of them are written each time

Network = network_pb2.NetworkStatus
Port = port_pb2.PortStatus


@dataclass(frozen=True)
class NetworkStores:
    """What is wanted of this node."""

    networks: NodeStore[network_pb2.NetworkWant, network_pb2.NetworkStatus]
    ports: NodeStore[port_pb2.Port, port_pb2.PortStatus]
    groups: NodeStore[security_group_pb2.SecurityGroupWant, security_group_pb2.SecurityGroup]
    members: Wanted[security_group_pb2.GroupMember]
    neighbors: Wanted[neighbor_pb2.Neighbor]
    qos: NodeStore[qos_pb2.QosPolicyWant, qos_pb2.QosPolicy]
    trunks: NodeStore[trunk_pb2.Trunk, trunk_pb2.TrunkStatus]
    logs: NodeStore[log_pb2.Log, log_pb2.Log]
    labels: NodeStore[metering_pb2.MeteringLabelWant, metering_pb2.MeteringLabelStatus]
    routers: NodeStore[router_pb2.RouterWant, router_pb2.RouterStatus]


class NetworkAgent:
    """One reconcile function a collection; what one of them waits for wakes it by id."""

    def __init__(
        self,
        stores: NetworkStores,
        drivers: Drivers,
        settings: NetworkSettings,
        metadata: Callable[[str], Documents | None],
        fence: Fence | None = None,
    ) -> None:
        self._stores = stores
        self._drivers = drivers
        self._switch, self.filter, self._dhcp = drivers.switch, drivers.filter, drivers.dhcp
        self._qos = drivers.qos
        self._settings = settings
        self._documents = metadata
        self._services: list[Inside] = (
            [MetadataServer(self._find_documents), DnsRelay()] if drivers.namespaces else []
        )
        self._directory = PortDirectory()
        # networks whose bridge is there: MTU and policy of ports
        self._ready: dict[str, tuple[int, str]] = {}
        self._waiting: defaultdict[str, set[str]] = defaultdict(set)  # network, group or policy id -> ports
        self._meters = Meters(stores.labels, drivers.meter, self._waker("routers"))
        self._trunks = Trunks(stores.trunks, drivers.trunk, self._wake_subport)
        self._packet_log = PacketLog(stores.logs, self._local_ports, self.filter, settings.packet_log)
        self._advertiser = Advertiser() if drivers.namespaces else None
        self._routers = Routers(
            stores.routers, drivers.router, self._meters, self._ready.keys(), self._advertiser, fence
        )
        self._names = Loop("network names", self._serve, list, rest=self._names_rest)
        self._neighbors = Neighbors(stores.neighbors, drivers.switch, self._names.wake)
        self._policies = Policies(
            stores.qos, stores.networks, drivers.qos, self._local_ports, self._waker("ports")
        )
        self._sweep = Sweep(drivers, settings.grace, self._wanted)
        self._loops: dict[str, Loop | Together] = {
            "networks": self._loop("networks", self.reconcile_network),
            "ports": self._loop("ports", self.reconcile_port),
            "groups": self._loop("groups", self.reconcile_group),
            "members": self._together("members", self.reconcile_members),
            "neighbors": self._together("neighbors", self._neighbors.reconcile),
            "qos": self._loop("qos", self._policies.reconcile),
            "routers": self._loop("routers", self._routers.reconcile),
            "labels": self._loop("labels", self._meters.reconcile),
            "logs": self._loop("logs", self._packet_log.reconcile),
            "trunks": self._loop("trunks", self._trunks.reconcile),
        }
        self._rounds = [
            Loop("network resync", self._resync, lambda: ["node"]),
            Loop("network meters", self._meter, lambda: ["node"]),
        ]

    def _loop(self, collection: str, reconcile: Callable[..., object]) -> Loop:
        store = getattr(self._stores, collection)
        return Loop(
            f"network {collection}",
            reconcile,  # type: ignore[arg-type]
            lambda: {*store.ids(), *store.reported_ids()},
            resync=self._settings.resync,
            concurrency=self._settings.concurrency,
        )

    def _together(self, collection: str, reconcile: Callable[[Collection[str]], Awaitable[None]]) -> Together:
        store = getattr(self._stores, collection)
        return Together(f"network {collection}", reconcile, store.ids, resync=self._settings.resync)

    async def run(self) -> None:
        """Adopt what is on the node, then keep it right until cancelled. Raises LeaseLost."""
        await self.adopt()
        self._dhcp.on_exit(self._loops["networks"].wake)
        for collection, loop in self._loops.items():
            getattr(self._stores, collection).on_change(loop.wake)
        try:
            async with asyncio.TaskGroup() as tasks:
                for loop in (*self._loops.values(), self._names, *self._rounds):
                    tasks.create_task(loop.run())
        except* LeaseLost as lost:
            raise lost.exceptions[0] from None
        finally:
            self._packet_log.close()
            for service in self._services:
                await service.close()
            if self._advertiser is not None:
                self._advertiser.close()

    def routers(self) -> list[str]:
        """Those that are wanted here."""
        return self._stores.routers.ids()

    def wake_router(self, router_id: str) -> None:
        """Look at the router soon."""
        self._loops["routers"].wake(router_id)

    async def adopt(self) -> None:
        """Know all that is wanted before anything is written, so that a restart takes nothing away."""
        stores = self._stores
        ports = [port for port in map(stores.ports.get, stores.ports.ids()) if _lives(port)]
        for port in ports:
            self._directory.put(port)
        members = ((id_, stores.members.get(id_)) for id_ in stores.members.ids())
        self._neighbors.adopt()
        await self.filter.adopt(
            [want for want in map(stores.networks.get, stores.networks.ids()) if want is not None],
            [want for want in map(stores.groups.get, stores.groups.ids()) if want is not None],
            {id_: member for id_, member in members if member is not None},
            [port for port in ports if decisions.has_tap(port)],
        )
        await self._policies.adopt(filter(decisions.has_tap, ports))

    async def reconcile_network(self, network_id: str) -> timedelta | None:
        """Bridge, namespace, DHCP and metadata of one network."""
        want = self._stores.networks.get(network_id)
        if want is None or want.network.meta.HasField("delete_time"):
            await self._remove_network(network_id, want)
            return None
        try:
            await self._make_network(want)
        except FabricError as error:
            status = self._stores.networks.status(network_id)
            if status is None or status.state != Network.STATE_ACTIVE:
                await self._report_network(want, Network(state=Network.STATE_BUILDING, reason=error.reason))
            raise
        await self._report_network(want, decisions.network_status(want))
        return None

    async def _make_network(self, want: network_pb2.NetworkWant) -> None:
        network_id = want.network.meta.id
        await self._switch.ensure_network(want)
        await self.filter.ensure_network(want)
        known = (mtu_of(want.network), want.network.spec.qos_policy_id)
        if self._ready.get(network_id) != known:
            self._ready[network_id] = known
            self._waiting[network_id].update(port.meta.id for port in self._directory.of_network(network_id))
            self._wake_waiting(network_id)
            for router_id in self._routers.of_network(network_id):
                self._loops["routers"].wake(router_id)
        await self._serve(network_id)
        for service in self._services:
            if isinstance(service, MetadataServer) or want.HasField("dhcp_port"):
                await service.ensure(network_id)
            else:
                await service.remove(network_id)

    async def _remove_network(self, network_id: str, want: network_pb2.NetworkWant | None) -> None:
        if self._directory.of_network(network_id):
            self._waiting[f"gone {network_id}"].add(network_id)
            if want is not None:
                await self._report_network(
                    want, Network(state=Network.STATE_DOWN, reason="WAITING_FOR_PORTS")
                )
            return
        self._ready.pop(network_id, None)
        for service in self._services:
            await service.remove(network_id)
        await self._dhcp.remove(network_id)
        await self._switch.remove_network(network_id)
        await self.filter.remove_network(network_id)
        log.info("network removed", network=network_id)
        if want is not None:
            await self._report_network(want, Network(state=Network.STATE_DOWN, released=True))
        else:
            await self._stores.networks.forget(network_id)

    async def _report_network(self, want: network_pb2.NetworkWant, status: Network) -> None:
        status.observed_generation = want.network.meta.generation
        await self._stores.networks.report(want.network.meta.id, status)

    async def reconcile_port(self, port_id: str) -> timedelta | None:
        """Filter, tap and DHCP of one port; the filter is there before the tap joins its bridge."""
        port = self._stores.ports.get(port_id)
        if not _lives(port):
            await self._remove_port(port_id, port)
            return None
        self._directory.put(port)
        if missing := self._missing(port):
            self._waiting[missing[1]].add(port_id)
            await self._report_unsettled(port, missing[0])
            return None
        try:
            await self._make_port(port)
        except* FabricError as errors:
            error = _first(errors)
            await self._report_unsettled(port, error.reason)
            raise error from None
        for trunk_id in self._trunks.of_parent(port_id):
            self._loops["trunks"].wake(trunk_id)
        for log_id in self._stores.logs.ids():
            self._loops["logs"].wake(log_id)
        state = Port.STATE_ACTIVE if port.spec.admin_state_up else Port.STATE_DOWN
        status = decisions.observed(port, state)
        if self._stores.ports.status(port_id) != status:
            await self._stores.ports.report(port_id, status)
            log.info("port settled", port=port_id, request_id=port.meta.request_id)
        return None

    async def _make_port(self, port: port_pb2.Port) -> None:
        want = self._stores.networks.get(port.spec.network_id)
        if want is None or not decisions.has_tap(port):
            return
        groups = map(self._stores.groups.get, port.spec.security_group_ids)
        async with asyncio.TaskGroup() as tasks:  # one batch: the filter writes them together
            for group in groups:
                if group is not None:
                    tasks.create_task(self.filter.ensure_group(group))
            tasks.create_task(self.filter.ensure_port(port))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._switch.ensure_port(port, mtu_of(want.network)))
            tasks.create_task(self._serve(port.spec.network_id))
        await self._policies.ensure(port)

    async def _report_unsettled(self, port: port_pb2.Port, reason: str) -> None:
        """Say what the port waits for, unless it works: a restart must not make it look as if it did not."""
        status = self._stores.ports.status(port.meta.id)
        if status is None or not decisions.is_settled(port, status):
            await self._stores.ports.report(
                port.meta.id, decisions.observed(port, Port.STATE_BUILDING, reason)
            )

    def _missing(self, port: port_pb2.Port) -> tuple[str, str] | None:
        """Reason and id of what the port cannot be made without."""
        network_id = port.spec.network_id
        if network_id not in self._ready or self._stores.networks.get(network_id) is None:
            return "WAITING_FOR_NETWORK", network_id
        if port.spec.port_security_enabled:
            for group_id in port.spec.security_group_ids:
                if self._stores.groups.get(group_id) is None:
                    return "WAITING_FOR_SECURITY_GROUP", group_id
        if decisions.is_subport(port) and not self._trunks.has(port.meta.id):
            return "WAITING_FOR_TRUNK", f"trunk of {port.meta.id}"
        if policy_id := self._policies.missing(port):
            return "WAITING_FOR_QOS_POLICY", policy_id
        return None

    async def _remove_port(self, port_id: str, port: port_pb2.Port | None) -> None:
        known = self._directory.forget(port_id) or port  # the latter when it is tried once more
        await self._switch.remove_port(port_id)
        await self.filter.remove_port(port_id)
        await self._qos.remove_port(port_id)
        if known is not None:
            network_id = known.spec.network_id
            await self._serve(network_id)
            if self._waiting.pop(f"gone {network_id}", None):
                self._loops["networks"].wake(network_id)
        log.info("port removed", port=port_id)
        if port is not None:
            gone = decisions.observed(port, Port.STATE_DOWN)
            gone.released = True
            await self._stores.ports.report(port_id, gone)
        else:
            await self._stores.ports.forget(port_id)

    async def reconcile_group(self, group_id: str) -> timedelta | None:
        """The rules of one security group."""
        want = self._stores.groups.get(group_id)
        if want is None:
            await self.filter.remove_group(group_id)
            return None
        await self.filter.ensure_group(want)
        self._wake_waiting(group_id)
        return None

    async def reconcile_members(self, member_ids: Iterable[str]) -> None:
        """The addresses of some members of remote groups."""
        await self.filter.ensure_members({id_: self._stores.members.get(id_) for id_ in member_ids})

    async def _serve(self, network_id: str) -> None:
        """DHCP for the node's ports, names also for those of others; a network that is not there waits."""
        want = self._stores.networks.get(network_id)
        if want is None or network_id not in self._ready:
            return
        here = self._directory.of_network(network_id)
        if any(map(decisions.has_tap, here)):
            await self._dhcp.ensure(want, [*here, *self._neighbors.of_network(network_id)])
        else:  # nobody could ask
            await self._dhcp.remove(network_id)

    def _names_rest(self, network_id: str) -> timedelta:
        return max(_RENAMED_EVERY, _RENAMED_EVERY_A_PORT * self._neighbors.count(network_id))

    def _local_ports(self) -> list[port_pb2.Port]:
        ports = map(self._stores.ports.get, self._directory.ids())
        return [port for port in ports if _lives(port)]

    def _waker(self, collection: str) -> Callable[[str], None]:
        return lambda id_: self._loops[collection].wake(id_)

    def _wake_subport(self, port_id: str) -> None:
        self._wake_waiting(f"trunk of {port_id}")

    def _wake_waiting(self, id_: str) -> None:
        for port_id in self._waiting.pop(id_, ()):
            self._loops["ports"].wake(port_id)

    def _find_documents(self, network_id: str, address: str) -> Documents | None:
        port_id = self._directory.find(network_id, address)
        return None if port_id is None else self._documents(port_id)

    async def _resync(self, _: str) -> timedelta:
        """Compare the filters with the kernel, and remove what is ours and wanted by nobody."""
        await asyncio.sleep(min(self._settings.grace, self._settings.resync).total_seconds() / 2)
        await self.filter.resync()
        await self._switch.resync()
        await self._qos.resync()
        await self._sweep.run()
        return _AGAIN

    async def _meter(self, _: str) -> timedelta:
        """Say what labels have counted."""
        await asyncio.sleep(self._settings.meter.total_seconds())
        await self._meters.report()
        return _AGAIN

    def _wanted(self) -> set[str]:
        return {
            *self._stores.networks.ids(),
            *self._stores.ports.ids(),
            *self._stores.routers.ids(),
            *self._directory.ids(),
            *self._ready,
        }


def _lives(port: port_pb2.Port | None) -> TypeGuard[port_pb2.Port]:
    return port is not None and not port.meta.HasField("delete_time")


def _first(errors: BaseExceptionGroup[FabricError]) -> FabricError:
    """One of the errors of things that were done at the same time."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, FabricError)
    return error
