"""The cluster-wide loops of networks."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import structlog

from fabric.network import agent, removal
from fabric.network.address_group import AddressGroupRemoval
from fabric.network.binding import HOLDER
from fabric.network.collection import (
    ADDRESS_GROUPS,
    AGENTS,
    FLAVORS,
    NETWORKS,
    PORTS,
    QOS_POLICIES,
    RBAC_POLICIES,
    SECURITY_GROUPS,
    SEGMENT_RANGES,
    SUBNETS,
    marked,
)
from fabric.network.flavor import FlavorRemoval
from fabric.network.following import following
from fabric.network.log_spread import LogSpread
from fabric.network.metering_spread import MeteringSpread
from fabric.network.network import NetworkRemoval
from fabric.network.qos_policy import QosPolicyRemoval
from fabric.network.qos_spread import QosSpread
from fabric.network.rbac_policy import RbacRemoval
from fabric.network.router_spread import RouterSpread
from fabric.network.security_group import GroupRemoval
from fabric.network.segment_range import SegmentRangeRemoval
from fabric.network.spread import Spread
from fabric.network.subnet import SubnetRemoval
from fabric.network.trunk_spread import TrunkSpread
from fabric.network.v1 import port_pb2
from fabric.runtime.client import Client
from fabric.runtime.config import Config
from fabric.runtime.errors import FailedPrecondition
from fabric.runtime.reconcile import Loop
from fabric.runtime.store import Collection, Store

log = structlog.get_logger(__name__)

_REMOVALS: tuple[tuple[Collection[Any], removal.Removable], ...] = (
    (NETWORKS, NetworkRemoval()),
    (SUBNETS, SubnetRemoval()),
    (SECURITY_GROUPS, GroupRemoval()),
    (QOS_POLICIES, QosPolicyRemoval()),
    (FLAVORS, FlavorRemoval()),
    (RBAC_POLICIES, RbacRemoval()),
    (ADDRESS_GROUPS, AddressGroupRemoval()),
    (SEGMENT_RANGES, SegmentRangeRemoval()),
)
_ABANDONED = timedelta(seconds=30)  # a removal that takes longer lost its controller


def loops(store: Store, config: Config, client: Client) -> dict[str, Callable[[], Awaitable[None]]]:
    """What the leader runs."""
    return {
        "network-ports": lambda: _ports(store),
        "network-spread": lambda: _spread(store, client),
        "network-trunks": lambda: TrunkSpread(store).run(),
        "network-logs": lambda: LogSpread(store).run(),
        "network-metering": lambda: MeteringSpread(store).run(),
        "network-qos": lambda: QosSpread(store).run(),
        "network-routers": lambda: _routers(store),
        "network-agents": lambda: _agents(store),
        "network-removals": lambda: _removals(store),
    }


async def _ports(store: Store) -> None:
    """Records of marked ports go when their node has let go of them."""

    async def reconcile(port_id: str) -> None:
        port = store.find(PORTS, port_id)
        if port is None or not marked(port) or not _released(store, port):
            return
        async with store.transaction() as txn:
            txn.release(PORTS, port, HOLDER)
        log.info("port removed", port=port_id, node=port.spec.node, request_id=port.meta.request_id)

    table = store.table(PORTS)
    loop = Loop("network-ports", reconcile, lambda: [port.meta.id for port in table.by("marked", "1")])

    def changed(port_id: str) -> None:
        port = table.get(port_id)
        if port is not None and marked(port):
            loop.wake(port_id)

    with following(store, (PORTS, changed)):
        await loop.run()


def _released(store: Store, port: port_pb2.Port) -> bool:
    """Whether every node that was given the port has let go of it."""
    reported: Mapping[str, Any] = store.table(PORTS).reported(port.meta.id)
    return all(node in reported and reported[node].released for node in PORTS.nodes(port))


async def _spread(store: Store, client: Client) -> None:
    spread = Spread(store, client)
    stop = spread.begin()
    try:
        async with asyncio.TaskGroup() as tasks:
            for loop in (spread.networks, spread.groups, spread.members, spread.neighbors):
                tasks.create_task(loop.run())
    finally:
        stop()


async def _routers(store: Store) -> None:
    spread = RouterSpread(store)
    stop = spread.begin()
    try:
        await spread.loop.run()
    finally:
        stop()


async def _agents(store: Store) -> None:
    """A record of every network agent that was ever alive."""

    async def reconcile(node: str) -> None:
        await agent.record(store, node)

    def nodes() -> set[str]:
        return {life.node for life in store.lives()} | {known.spec.node for known in store.table(AGENTS)}

    loop = Loop("network-agents", reconcile, nodes)
    stop = store.on_life(loop.wake)
    try:
        await loop.run()
    finally:
        stop()


async def _removals(store: Store) -> None:
    """Finish what a controller had begun to remove when it was killed."""

    async def reconcile(id_: str) -> timedelta | None:
        for collection, kind in _REMOVALS:
            record: Any = store.find(collection, id_)
            if record is None or not marked(record):
                continue
            try:
                await removal.finish(store, kind, id_)
            except FailedPrecondition:
                log.info("removal ended by use", collection=collection.name, id=id_)
        return None

    def abandoned() -> list[str]:
        return [
            record.meta.id
            for collection, _ in _REMOVALS
            for record in store.table(collection)
            if marked(record)
        ]

    await Loop("network-removals", reconcile, abandoned, resync=_ABANDONED).run()
