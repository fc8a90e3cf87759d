"""The leader's loop that keeps each router on a node, tells the node all of it, and lets it go."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog

from fabric.network import router_placing
from fabric.network.absence import PATIENCE, Absence
from fabric.network.agent import life_of
from fabric.network.binding import HOLDER
from fabric.network.collection import (
    FLOATING_IPS,
    GATEWAY_OWNER,
    NETWORKS,
    PORT_FORWARDINGS,
    PORTS,
    QOS_POLICIES,
    ROUTER_OWNERS,
    ROUTERS,
    SUBNETS,
    marked,
)
from fabric.network.port_forwarding import with_address
from fabric.network.qos_policy import want_of
from fabric.network.record import plain
from fabric.network.router_link import ports_of, subnets_of
from fabric.network.v1 import floating_ip_pb2, port_pb2, router_pb2
from fabric.runtime.panel import steady_since
from fabric.runtime.reconcile import Loop
from fabric.runtime.store import Collection, Store
from fabric.runtime.witness import PANEL

log = structlog.get_logger(__name__)


class RouterSpread:
    """Wakes by routers, what they lead to, and the lives of nodes; writes only what differs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._absence = Absence(store)
        self._routers: dict[tuple[str, str], str] = {}  # collection and id -> the router that it is of
        self.loop = Loop("network.routers", self.reconcile, self._ids)

    def begin(self) -> Callable[[], None]:
        """Follow the tables and the lives; returns a function that ends it."""
        table = self._store.table
        ends = [
            table(ROUTERS).subscribe(self.loop.wake),
            table(PORTS).subscribe(lambda id_: self._part_changed(PORTS, id_, _of_port)),
            table(FLOATING_IPS).subscribe(lambda id_: self._part_changed(FLOATING_IPS, id_, _of_other)),
            table(PORT_FORWARDINGS).subscribe(
                lambda id_: self._part_changed(PORT_FORWARDINGS, id_, _of_other)
            ),
            table(NETWORKS).subscribe(self._network_changed),
            table(SUBNETS).subscribe(self._subnet_changed),
            table(QOS_POLICIES).subscribe(self._policy_changed),
            self._store.on_life(self._life_changed),
        ]

        def end() -> None:
            for stop in ends:
                stop()

        return end

    def _ids(self) -> list[str]:
        return self._store.table(ROUTERS).ids()

    # -- deciding

    async def reconcile(self, router_id: str) -> timedelta | None:
        """One step for one router."""
        router = self._store.find(ROUTERS, router_id)
        if router is None:
            return None
        absent_s = self._absence.seconds(router.node)
        if marked(router):
            return await self._let_go(router, absent_s)
        if router.parked or (absent_s is not None and not router.spec.ha):
            return None
        if absent_s is not None and absent_s < PATIENCE.total_seconds():
            return PATIENCE - timedelta(seconds=absent_s)
        if absent_s is not None and not self._is_panel_there():
            return PATIENCE  # those that are gone may be more than we are
        node = router.node if router_placing.fits(self._store, router) else self._chosen(router)
        if node is not None and node != router.node:
            async with self._store.transaction() as txn:
                router_placing.move(txn, self._store, router, node)
            log.info("router placed", router=router_id, node=node, before=router.node)
            router = self._store.get(ROUTERS, router_id)
        if router.node:
            await self._tell(router)
        return None

    def _chosen(self, router: router_pb2.Router) -> str | None:
        """Where it should live from now on; None: no node can have it."""
        possible = router_placing.possible(self._store, router)
        return router_placing.choose(possible, router.spec.availability_zone_hints)

    def _is_panel_there(self) -> bool:
        """Whether half of the panel lives; else routers stay where they are."""
        members = self._store.table(PANEL).ids()
        alive = [None if life_of(self._store, node) is None else 0.0 for node in members]
        return steady_since(alive) is not None

    async def _let_go(self, router: router_pb2.Router, absent_s: float | None) -> timedelta | None:
        """Tell its node that it goes; when the node is rid of it, or dead, so is the cloud."""
        if absent_s is not None and absent_s < PATIENCE.total_seconds():
            return PATIENCE - timedelta(seconds=absent_s)
        if absent_s is None and not router.status.released:
            await self._tell(router)
            return None
        async with self._store.transaction() as txn:
            if txn.release(ROUTERS, router, HOLDER):
                txn.unwant(ROUTERS, router.node, router.meta.id)
        log.info("router removed", router=router.meta.id, node=router.node)
        return None

    # -- telling

    async def _tell(self, router: router_pb2.Router) -> None:
        want = wanted(self._store, router)
        told = self._store.wanted(ROUTERS, router.node).get(router.meta.id)
        if told == want:
            return
        async with self._store.transaction() as txn:
            txn.expect(ROUTERS, router)  # it has not moved meanwhile
            txn.want(ROUTERS, router.node, router.meta.id, want)

    # -- what wakes what

    def _part_changed(self, collection: Collection[Any], id_: str, router_of: Callable[[Any], str]) -> None:
        """A port, floating IP or forwarding: wake the router that it is of, and that it was of."""
        record = self._store.find(collection, id_)
        at = (collection.name, id_)
        before, now = self._routers.pop(at, ""), router_of(record) if record is not None else ""
        if now:
            self._routers[at] = now
        for router_id in {before, now} - {""}:
            self.loop.wake(router_id)

    def _network_changed(self, network_id: str) -> None:
        for port in self._store.table(PORTS).by("routed", network_id):
            self.loop.wake(port.spec.device_id)

    def _subnet_changed(self, subnet_id: str) -> None:
        subnet = self._store.find(SUBNETS, subnet_id)
        if subnet is not None:
            self._network_changed(subnet.spec.network_id)

    def _policy_changed(self, policy_id: str) -> None:
        table = self._store.table
        routers = {router.meta.id for router in table(ROUTERS).by("qos_policy", policy_id)}
        floating_ips = list(table(FLOATING_IPS).by("qos_policy", policy_id))
        for network in table(NETWORKS).by("qos_policy", policy_id):
            floating_ips += table(FLOATING_IPS).by("network", network.meta.id)
        routers |= {floating.spec.router_id for floating in floating_ips}
        for router_id in routers - {""}:
            self.loop.wake(router_id)

    def _life_changed(self, node: str) -> None:
        self._absence.look(node)
        routers = self._store.table(ROUTERS)
        for router in (*routers.by("node", node), *routers.by("node", "")):
            self.loop.wake(router.meta.id)


def wanted(store: Store, router: router_pb2.Router) -> router_pb2.RouterWant:
    """All that the router's node must know of it; of one that goes only that."""
    want = router_pb2.RouterWant(router=plain(router))
    if marked(router):
        return want
    snat = {gateway.port_id for gateway in router.spec.external_gateways if gateway.enable_snat}
    for port in ports_of(store, router.meta.id):
        network = store.find(NETWORKS, port.spec.network_id)
        if network is None:
            continue
        want.ports.add(
            port=plain(port),
            network=plain(network),
            subnets=[plain(subnet) for subnet in subnets_of(store, [port])],
            gateway=port.spec.device_owner == GATEWAY_OWNER,
            snat=port.meta.id in snat,
        )
    want.floating_ips.extend(
        sorted(
            (
                _limited(store, floating)
                for floating in store.table(FLOATING_IPS).by("router", router.meta.id)
            ),
            key=lambda floating: floating.meta.id,
        )
    )
    forwardings = store.table(PORT_FORWARDINGS).by("router", router.meta.id)
    want.port_forwardings.extend(
        sorted((plain(with_address(store, f)) for f in forwardings), key=lambda f: f.meta.id)
    )
    named = {gateway.qos_policy_id for gateway in router.spec.external_gateways}
    named |= {floating.spec.qos_policy_id for floating in want.floating_ips}
    want.qos_policies.extend(filter(None, (want_of(store, policy_id) for policy_id in sorted(named))))
    return want


def _limited(store: Store, floating: floating_ip_pb2.FloatingIp) -> floating_ip_pb2.FloatingIp:
    """With the policy that it goes by: its own, else that of its network."""
    told = plain(floating)
    network = store.find(NETWORKS, floating.spec.floating_network_id)
    if network is not None:
        told.spec.qos_policy_id = told.spec.qos_policy_id or network.spec.qos_policy_id
    return told


def _of_port(port: port_pb2.Port) -> str:
    return port.spec.device_id if port.spec.device_owner in ROUTER_OWNERS else ""


def _of_other(record: Any) -> str:
    return str(record.spec.router_id)
