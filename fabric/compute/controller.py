"""The cluster-wide loops of compute."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

from fabric.compute import witnesses
from fabric.compute.absence import Absences
from fabric.compute.collection import ACTIONS, AGGREGATES
from fabric.compute.high_availability import HighAvailability
from fabric.compute.image_source import ImageSources
from fabric.compute.instance_action import expire
from fabric.compute.lifecycle import Lifecycle
from fabric.compute.migration import MIGRATIONS
from fabric.compute.move import clean
from fabric.compute.network_view import following
from fabric.compute.nic import Nics
from fabric.compute.node import AGENT, NODES
from fabric.compute.node_registry import NodeRegistry
from fabric.compute.server import SERVERS
from fabric.compute.shelves import Shelves
from fabric.compute.snapshots import Snapshots
from fabric.compute.want import Wants
from fabric.runtime.client import Client
from fabric.runtime.config import Config
from fabric.runtime.reconcile import Loop
from fabric.runtime.store import Store
from fabric.runtime.ticket import Signer
from fabric.runtime.witness import PANEL

_SERVERS_AT_ONCE = 8


def loops(store: Store, config: Config, client: Client) -> dict[str, Callable[[], Awaitable[None]]]:
    """What the leader runs."""
    signer = Signer.of(config.controller.master_key_file)
    return {
        "compute-servers": lambda: _servers(store, config, client, signer),
        "compute-migrations": lambda: _migrations(store, config, signer),
        "compute-high-availability": lambda: _high_availability(store, config),
        "compute-nodes": lambda: _nodes(store, config),
        "compute-panel": lambda: _panel(store),
        "compute-actions": lambda: _actions(store),
    }


async def _servers(store: Store, config: Config, client: Client, signer: Signer) -> None:
    absences = Absences(store, timedelta(seconds=config.compute.evacuate_after_s))
    wants = Wants(store, ImageSources(store, signer), signer)
    snapshots = Snapshots(store, client)
    shelves = Shelves(store, snapshots, config.compute.shelved_offload_s)
    lifecycle = Lifecycle(store, config, Nics(client), snapshots, shelves, wants, absences)
    table = store.table(SERVERS)
    loop = Loop("compute-servers", lifecycle.reconcile, table.ids, concurrency=_SERVERS_AT_ONCE)
    stop = table.subscribe(loop.wake)

    def node_changed(node: str) -> None:
        for server in (*table.by("node", ""), *table.by("moving", node)):
            loop.wake(server.meta.id)

    stop_lives = store.on_life(node_changed)
    try:
        with absences.following(), following(store, loop.wake):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(loop.run())
                tasks.create_task(lifecycle.nics.run())
    finally:
        stop()
        stop_lives()


async def _migrations(store: Store, config: Config, signer: Signer) -> None:
    """What servers have left on nodes that they migrated from."""
    wants = Wants(store, ImageSources(store, signer), signer)
    table = store.table(MIGRATIONS)

    def cleaning() -> list[str]:
        return [record.meta.id for record in table if record.cleaning]

    loop = Loop("compute-migrations", partial(clean, store, wants), cleaning)

    def reported(server_id: str) -> None:
        for record in table.by("server_id", server_id):
            if record.cleaning:
                loop.wake(record.meta.id)

    stops = [table.subscribe(loop.wake), store.table(SERVERS).subscribe(reported)]
    try:
        await loop.run()
    finally:
        for stop in stops:
            stop()


async def _high_availability(store: Store, config: Config) -> None:
    absences = Absences(store, timedelta(seconds=config.compute.evacuate_after_s))
    keeper = HighAvailability(store, absences)
    nodes = store.table(NODES)
    loop = Loop("compute-high-availability", keeper.reconcile, lambda: [node.meta.name for node in nodes])
    stop = store.on_life(loop.wake)
    try:
        with absences.following():
            await loop.run()
    finally:
        stop()


async def _nodes(store: Store, config: Config) -> None:
    registry = NodeRegistry(store, config)
    loop = Loop(f"{AGENT}-nodes", registry.reconcile, registry.names)

    def node_changed(id_: str) -> None:
        if (node := store.find(NODES, id_)) is not None:
            loop.wake(node.meta.name)

    stops = [
        store.on_life(loop.wake),
        store.table(AGGREGATES).subscribe(lambda _: loop.wake_all()),
        store.table(NODES).subscribe(node_changed),
    ]
    try:
        await loop.run()
    finally:
        for stop in stops:
            stop()


async def _panel(store: Store) -> None:
    nodes = store.table(NODES)

    def names() -> set[str]:
        return {node.meta.name for node in nodes} | set(store.table(PANEL).ids())

    loop = Loop("compute-panel", partial(witnesses.keep, store), names)
    stops = [store.on_life(loop.wake), nodes.subscribe(lambda _: loop.wake_all())]
    try:
        await loop.run()
    finally:
        for stop in stops:
            stop()


async def _actions(store: Store) -> None:
    def servers() -> set[str]:
        return {action.server_id for action in store.table(ACTIONS)}

    await Loop("compute-actions", partial(expire, store), servers, resync=timedelta(minutes=10)).run()
