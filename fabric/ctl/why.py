"""fabricctl why ID: how a resource came to stand as it does, from the client to the hypervisor."""

import argparse
import asyncio
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format

from fabric.ctl.cloud_state import cloud_state
from fabric.ctl.place import Place
from fabric.runtime.config import load
from fabric.runtime.store import Collection, Store

_DEPTH = 3


def add(parser: argparse.ArgumentParser) -> None:
    """The id."""
    parser.description = "Reads etcd only: needs no log server. Exit status 1: nothing is known of the id."
    parser.add_argument("id", help="the id of a resource of any kind, or of a request (req-...)")


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Print the story."""
    lines = asyncio.run(_ask(place, arguments.id))
    print("\n".join(lines) if lines else f"nothing is known of {arguments.id}")
    return 0 if lines else 1


async def _ask(place: Place, id_: str) -> list[str]:
    async with cloud_state(load(place.config)) as store:
        return list(why(store, id_))


def why(store: Store, id_: str) -> Iterator[str]:
    """The lines to print; none: the id is not known."""
    if id_.startswith("req-"):
        for collection in store.collections:
            for record in store.table(collection):
                if record.meta.request_id == id_:
                    yield from _Story(store).tell(collection, record, 0)
        return
    for collection in store.collections:
        record = store.find(collection, id_)
        if record is not None:
            yield from _Story(store).tell(collection, record, 0)


class _Story:
    """Each record once, with those that it names below it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: set[str] = set()
        self._alive = {life.node for life in store.lives()}

    def tell(self, collection: Collection[Any], record: Any, depth: int) -> Iterator[str]:
        if record.meta.id in self._told or depth > _DEPTH:
            return
        self._told.add(record.meta.id)
        pad = "  " * depth
        name = f" {record.meta.name!r}" if record.meta.name else ""
        yield f"{pad}{collection.noun} {record.meta.id}{name}"
        for line in self._facts(collection, record):
            yield f"{pad}  {line}"
        for other, named in self._named(record):
            yield from self.tell(other, named, depth + 1)

    def _facts(self, collection: Collection[Any], record: Any) -> Iterator[str]:
        meta = record.meta
        asked = f"asked by request {meta.request_id}, " if meta.request_id else ""
        yield f"{asked}changed {meta.update_time.ToJsonString()}, generation {meta.generation}"
        if meta.HasField("delete_time"):
            held = ", ".join(meta.finalizers) or "nobody"
            yield f"deleted {meta.delete_time.ToJsonString()}; still held by {held}"
        told = json_format.MessageToDict(record, preserving_proto_field_name=True)
        for part in ("view", "status", "fault"):
            if told.get(part):
                yield f"{part}: " + ", ".join(f"{key}={value}" for key, value in told[part].items())
        if told.get("waiting"):
            yield f"waits: {told['waiting']}"
        node = collection.node(record)
        if node:
            yield from self._on_node(collection, record, node)

    def _on_node(self, collection: Collection[Any], record: Any, node: str) -> Iterator[str]:
        life = "its agents are alive" if node in self._alive else "NO AGENT OF IT IS ALIVE"
        yield f"node {node}: {life}"
        if collection.status is None:
            return
        if self._store.wanted(collection, node).get(record.meta.id) is None:
            yield f"node {node} has not been told of it yet"
            return
        status = self._store.table(collection).reported(record.meta.id).get(node)
        if status is None:
            yield f"node {node} has not reported on it yet"
        elif getattr(status, "observed_generation", record.meta.generation) < record.meta.generation:
            yield f"node {node} has seen generation {status.observed_generation} so far"  # type: ignore[attr-defined]

    def _named(self, record: Any) -> Iterator[tuple[Collection[Any], Any]]:
        for text in dict.fromkeys(_texts(json_format.MessageToDict(record))):
            if len(text) < 8 or text == record.meta.id:
                continue
            for collection in self._store.collections:
                if collection.service == "identity":
                    continue
                named = self._store.find(collection, text)
                if named is not None:
                    yield collection, named


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _texts(inner)
        case list():
            for inner in value:
                yield from _texts(inner)
