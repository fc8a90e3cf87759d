"""A few keys of etcd, read into a store's memory: for a question that must not cost a whole listing."""

import asyncio
from typing import Any, Protocol
from urllib.parse import unquote

from google.protobuf.message import Message

from fabric.runtime.etcd import KeyValue
from fabric.runtime.store import ROOT, Collection, Store

_BLANK = ("", "/", "..")


class Keys(Protocol):
    """What of fabric.runtime.etcd.Etcd is needed."""

    async def get(self, key: str, /) -> KeyValue | None: ...
    async def scan(self, prefix: str, /) -> tuple[list[KeyValue], int]: ...


class Glance:
    """Records as callers see them: joined with the report of their node."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    async def nodes(self) -> dict[str, set[str]]:
        """The kinds of agents that are alive, by node."""
        await self._scan(f"{ROOT}/nodes/")
        found: dict[str, set[str]] = {}
        for life in self._store.lives():
            found.setdefault(life.node, set()).add(life.agent)
        return found

    def addresses(self) -> dict[str, str]:
        """Where the nodes' agents listen; after nodes()."""
        return {life.node: life.address for life in self._store.lives()}

    async def leaders(self) -> list[str]:
        """The loops that somebody leads."""
        found, _ = await self._keys.scan(f"{ROOT}/leaders/")
        return [kv.key.rpartition("/")[2] for kv in found]

    async def everywhere(self, id_: str) -> list[tuple[Collection[Any], Any]]:
        """The records of that id, with their collections; nearly always one."""
        collections = self._store.collections
        found = await asyncio.gather(*(self.find(collection, id_) for collection in collections))
        return [pair for pair in zip(collections, found, strict=True) if pair[1] is not None]

    async def find(self, collection: Collection[Any], id_: str) -> Any | None:
        """The record; None: there is none."""
        if id_ in _BLANK or not await self._read(collection.key(id_)):
            return None
        record = self._store.find(collection, id_)
        node = collection.node(record) if record is not None else ""
        if node and collection.status is not None:
            await asyncio.gather(
                self._read(collection.seen_key(node, id_)), self._read(collection.want_key(node, id_))
            )
        return self._store.find(collection, id_)

    def want(self, collection: Collection[Any], node: str, id_: str) -> Any | None:
        """What the node was told; after find()."""
        return self._store.wanted(collection, node).get(collection.key(id_).rpartition("/")[2])

    def seen(self, collection: Collection[Any], node: str, id_: str) -> Message | None:
        """What the node said last; after find()."""
        key = collection.key(id_).rpartition("/")[2]
        return self._store.table(collection).reported(key).get(node)

    async def find_named(self, service: str, name: str, id_: str) -> tuple[Collection[Any], Any] | None:
        """The record of that id in the collection of that name, with the collection."""
        collection = self._store.collection(service, name)
        record = await self.find(collection, id_) if collection is not None else None
        return (collection, record) if collection is not None and record is not None else None

    async def below(self, service: str, name: str, start: str) -> list[Any]:
        """The collection's records whose ids begin so."""
        collection = self._store.collection(service, name)
        if collection is None:
            return []
        ids = [unquote(id_) for id_ in await self._scan(collection.key(start))]
        found = [self._store.find(collection, id_) for id_ in ids]
        return [record for record in found if record is not None]

    async def naming(self, text: str) -> list[tuple[Collection[Any], str]]:
        """Which records have the text anywhere in them; reads all there is, and decodes none of it."""
        found, _ = await self._keys.scan(f"{ROOT}/")
        wanted = text.encode()
        by_parent = {collection.parent: collection for collection in self._store.collections}
        places = (kv.key.rpartition("/") for kv in found if wanted in kv.value)
        return [(by_parent[parent], unquote(id_)) for parent, _, id_ in places if parent in by_parent]

    async def _read(self, key: str) -> bool:
        kv = await self._keys.get(key)
        return kv is not None and self._keep(kv)

    async def _scan(self, prefix: str) -> list[str]:
        found, _ = await self._keys.scan(prefix)
        return [kv.key.rpartition("/")[2] for kv in found if self._keep(kv)]

    def _keep(self, kv: KeyValue) -> bool:
        parent, _, id_ = kv.key.rpartition("/")
        table = self._store.cache.table(parent)
        try:
            value = table.decoded(kv.value, kv.mod_revision)
        except (ValueError, TypeError):  # of another release, or damaged: `fabricctl sweep` has words for it
            return False
        table.put(id_, value, kv.mod_revision)
        return True
