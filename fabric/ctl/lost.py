"""A node that never comes back: its servers are made elsewhere, and what it was to let go of it has let go of."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from fabric.compute import shelf
from fabric.compute.migration import is_moving
from fabric.compute.server import SERVERS
from fabric.ctl.api import ApiError, Body, Cloud
from fabric.ctl.holding import wanted
from fabric.image.controller import give_up as queue_again
from fabric.image.image import IMAGES
from fabric.network import router_placing
from fabric.network.collection import ROUTERS, marked
from fabric.runtime.collection import Collection
from fabric.runtime.errors import FailedPrecondition, StaleRevision
from fabric.runtime.etcd import Change
from fabric.runtime.store import Store

_PATIENCE_S = 120.0
_EVERY_S = 0.5
_WAYS: tuple[tuple[Collection[Any], str, str], ...] = (
    (SERVERS, "servers", "`openstack server evacuate` or delete them"),
    (ROUTERS, "routers", "those that are ha move by themselves, if another node can have them"),
    (IMAGES, "images", "their bytes are nowhere else"),
)


def work(store: Store, node: str) -> str:
    """What the node still has, with what to do about it; empty: nothing."""
    parts = []
    for collection, name, way in _WAYS:
        if ids := sorted(record.meta.id for record in store.table(collection).by("node", node)):
            parts.append(f"{name} {', '.join(ids)} ({way})")
    if left := wanted(store, node):
        parts.append(f"it was told of {', '.join(f'{count} {what}' for what, count in left.items())}")
    return "; ".join(parts)


async def give_up(store: Store, cloud: Cloud, node: str) -> None:
    """Raises FailedPrecondition: what could not be taken from it within two minutes. It must be shut out before."""
    deadline = time.monotonic() + _PATIENCE_S
    refused: dict[str, str] = {}
    while left := work(store, node):
        if time.monotonic() > deadline:
            why = "".join(f"; {id_}: {cause}" for id_, cause in refused.items())
            raise FailedPrecondition(f"{node} is shut out, and still has {left}{why}")
        await asyncio.to_thread(_take_servers, cloud, _at_rest(store, node), refused)
        with contextlib.suppress(StaleRevision):  # of what a controller moves at the same time
            await _take_routers(store, node)
            await _take_images(store, node)
        for collection, id_ in list(_dismissed(store, node)):
            await _let_go(store, collection, node, id_)
        await asyncio.sleep(_EVERY_S)
        await store.fresh(None)


def _at_rest(store: Store, node: str) -> dict[str, Body]:
    """What is asked of each server: one that is shelved has an image of all that its disks had."""
    evacuate: Body = {"evacuate": {"onSharedStorage": False}}
    return {
        server.meta.id: {"shelveOffload": None} if shelf.is_shelved(server) else evacuate
        for server in _kept(store, SERVERS, node)
        if not is_moving(server)
    }


def _take_servers(cloud: Cloud, actions: dict[str, Body], refused: dict[str, str]) -> None:
    for id_, action in actions.items():
        refused.pop(id_, None)
        try:
            cloud.post("compute", f"/servers/{id_}/action", action)
        except ApiError as error:
            refused[id_] = str(error)


async def _take_routers(store: Store, node: str) -> None:
    """Those that would wait for the node, too, are placed anew, as soon as another one can have them."""
    for router in _kept(store, ROUTERS, node):
        async with store.transaction() as txn:
            router_placing.move(txn, store, router, "")


async def _take_images(store: Store, node: str) -> None:
    """They wait for new bytes."""
    for image in _kept(store, IMAGES, node):
        await queue_again(store, image, f"{node} is lost, and its bytes with it.")
        print(f"image {image.meta.id} ({image.meta.name}) is queued: its bytes were on {node} only")


def _kept(store: Store, collection: Collection[Any], node: str) -> list[Any]:
    return [record for record in store.table(collection).by("node", node) if not marked(record)]


def _dismissed(store: Store, node: str) -> Iterator[tuple[Collection[Any], str]]:
    """What the node was told to let go of."""
    for collection in store.collections:
        status = collection.status
        if status is None or "released" not in status.DESCRIPTOR.fields_by_name:
            continue
        wants = store.wanted(collection, node)
        for id_ in wants.ids():
            if _subject(wants.get(id_), collection).meta.HasField("delete_time"):
                yield collection, id_


def _subject(want: Any, collection: Collection[Any]) -> Any:
    return want if isinstance(want, collection.message) else getattr(want, collection.name[:-1])


async def _let_go(store: Store, collection: Collection[Any], node: str, id_: str) -> None:
    """Report in its name, as it would have done, unless it is told something else meanwhile."""
    assert collection.status is not None
    status = collection.status(released=True)
    change = Change(
        expect={collection.want_key(node, id_): store.wanted(collection, node).revision(id_)},
        put={collection.seen_key(node, id_): store.codec.encode(status)},
    )
    await store.etcd.commit(change)
