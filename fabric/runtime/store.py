"""Typed resources over etcd: reads from the watch cache; writes are transactions."""

import asyncio
import functools
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import orjson
from google.protobuf.message import Message

from fabric.runtime.cache import Cache, Table
from fabric.runtime.codec import Codec
from fabric.runtime.collection import ROOT, Collection, Record, quoted
from fabric.runtime.errors import NotFound
from fabric.runtime.etcd import Etcd
from fabric.runtime.order import InOrder, key_of
from fabric.runtime.transaction import UNLIMITED, Transaction
from fabric.type.v1 import node_pb2, quota_pb2

__all__ = ["ROOT", "UNLIMITED", "Collection", "Record", "Resources", "Store", "Transaction"]

M = TypeVar("M", bound=Record)

_SEEN = re.compile(rf"{ROOT}/([^/]+)/node/([^/]+)/seen/([^/]+)")
_WANT = re.compile(rf"{ROOT}/([^/]+)/node/([^/]+)/want/([^/]+)")
_LIVES = re.compile(rf"{ROOT}/nodes/([^/]+)")


class Resources(Table[M]):
    """The records of a collection, each joined with its node's report."""

    def __init__(self, collection: Collection[M], codec: Codec) -> None:
        indexes = {"project": lambda m: (m.meta.project_id,), "name": lambda m: (m.meta.name,)}
        has_meta = "meta" in cast(type[Message], collection.message).DESCRIPTOR.fields_by_name
        super().__init__(
            functools.partial(codec.decode, cast(Any, collection.message)),
            (indexes if has_meta else {}) | dict(collection.indexes),
        )
        self._collection = collection
        self._has_meta = has_meta
        self._reports: dict[str, dict[str, Message]] = {}  # id -> node -> status
        self._orders: dict[str, InOrder[M]] = {}  # by project; "": all. Made for whoever asks first

    def decoded(self, value: bytes, revision: int) -> M:
        """The joined record with its etag."""
        return self._joined(super().decoded(value, revision), revision)

    def put_written(self, id_: str, message: M, revision: int) -> None:
        """Take over a message that belongs to somebody else."""
        copy = self._collection.message()
        copy.CopyFrom(message)
        self._collection.strip(copy)
        self.put(id_, self._joined(copy, revision), revision)

    def put(self, id_: str, value: M, revision: int) -> None:
        """Take the value over."""
        self._reorder(self.get(id_), value)
        super().put(id_, value, revision)

    def drop(self, id_: str) -> None:
        """Forget the value."""
        self._reorder(self.get(id_), None)
        super().drop(id_)

    def in_order(self, project_id: str = "") -> InOrder[M]:
        """The records of a project, or all, by create time."""
        order = self._orders.get(project_id)
        if order is None:
            messages = self.by("project", project_id) if project_id else self
            order = self._orders[project_id] = InOrder(messages, self._values)
        return order

    def report(self, node: str, id_: str, status: Message | None) -> None:
        """The node's agent has said this of the record; None: nothing any more."""
        by_node = self._reports.setdefault(id_, {})
        if status is None:
            by_node.pop(node, None)
        else:
            by_node[node] = status
        if not by_node:
            del self._reports[id_]
        record = self.get(id_)
        if record is not None and self._collection.node(record) == node:
            self.put_written(id_, record, self.revision(id_))
        else:
            self.notify(id_)  # who follows a record is told of every node's report

    def reported(self, id_: str) -> Mapping[str, Message]:
        """What each node last said of the record."""
        return self._reports.get(id_, {})

    def _reorder(self, old: M | None, new: M | None) -> None:
        for project_id, order in self._orders.items():
            had = old is not None and project_id in ("", old.meta.project_id)
            has = new is not None and project_id in ("", new.meta.project_id)
            if had and not (has and key_of(old) == key_of(new)):
                order.remove(cast(M, old))
                had = False
            if has and not had:
                order.add(cast(M, new))

    def _joined(self, message: M, revision: int) -> M:
        if self._has_meta:
            message.meta.etag = str(revision)
            if self._collection.status is not None:
                status = self._reports.get(message.meta.id, {}).get(self._collection.node(message))
                if status is not None:
                    message.status.CopyFrom(status)  # type: ignore[attr-defined]
        if self._collection.derive is not None:
            self._collection.derive(message)
        return message


class Store:
    """The resources of some collections. Reads are from memory, writes are transactions."""

    def __init__(
        self,
        etcd: Etcd,
        codec: Codec,
        collections: Sequence[Collection[Any]],
        *,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        """limits: the default of each quota resource ("network.port"); UNLIMITED where it says nothing."""
        self.etcd = etcd
        self.codec = codec
        self.limits = dict(limits or {})
        self._collections = {c.parent: c for c in collections}
        self._by_path = {(c.service, c.name): c for c in collections}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self.last_write = 0
        self._asking: asyncio.Future[int] | None = None
        self._lives: dict[str, Table[node_pb2.Life]] = {}  # by node
        self._life_listeners: list[Callable[[str], None]] = []
        self.lives_version = 0  # another with each change of an agent's life sign
        self.cache = Cache(etcd, ROOT + "/", self._make_table)

    @property
    def collections(self) -> list[Collection[Any]]:
        """All that the store holds."""
        return list(self._collections.values())

    def collection(self, service: str, name: str) -> Collection[Any] | None:
        """The collection of a service by name."""
        return self._by_path.get((service, name))

    def table(self, collection: Collection[M]) -> Resources[M]:
        """All records of the collection, with indexes."""
        return cast(Resources[M], self.cache.table(collection.parent))

    def find(self, collection: Collection[M], id_: str) -> M | None:
        """The record, shared with others: copy before changing. None: there is none."""
        return self.table(collection).get(quoted(id_))

    def get(self, collection: Collection[M], id_: str) -> M:
        """The record, shared with others: copy before changing. Raises NotFound."""
        found = self.find(collection, id_)
        if found is None:
            raise NotFound(
                f"{collection.noun.capitalize()} {id_} could not be found.",
                reason=f"{collection.noun.upper().replace(' ', '_')}_NOT_FOUND",
                resource=collection.noun,
                id=id_,
            )
        return found

    def owner(self, collection: Collection[M], index: str, value: str) -> str | None:
        """The id of the record that holds the claim."""
        table: Table[str] = self.cache.table(collection.claim_parent(index))
        return table.get(quoted(value))

    def claimed(self, collection: Collection[M], index: str) -> Table[str]:
        """All claims of an index: (percent-quoted) value -> id."""
        return self.cache.table(collection.claim_parent(index))

    def wanted(self, collection: Collection[Any], node: str) -> Table[Any]:
        """What the node must make true of the collection."""
        return self.cache.table(f"{ROOT}/{collection.service}/node/{node}/want/{collection.name}")

    def quota(self, project_id: str, resource: str) -> quota_pb2.Quota:
        """Limit (the default where none is set; UNLIMITED) and usage."""
        kept: quota_pb2.Quota | None = self.cache.table(f"{ROOT}/quota/{project_id}").get(resource)
        quota = quota_pb2.Quota(project_id=project_id, resource=resource)
        if kept is not None:
            quota.CopyFrom(kept)
        if not quota.HasField("limit"):
            quota.limit = self.limits.get(resource, UNLIMITED)
        return quota

    def quotas(self, owner: str) -> Table[quota_pb2.Quota]:
        """All that is counted for the owner."""
        return self.cache.table(f"{ROOT}/quota/{owner}")

    def lives(self) -> list[node_pb2.Life]:
        """The agents that are alive."""
        return [life for table in self._lives.values() for life in table]

    def life(self, node: str, agent: str) -> node_pb2.Life | None:
        """The life sign of one agent."""
        table = self._lives.get(node)
        return table.get(agent) if table is not None else None

    def on_life(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call the listener with the node's name whenever one of its agents appears, changes or is gone.

        Returns a function that ends it.
        """
        self._life_listeners.append(listener)
        for life in self.lives():
            listener(life.node)
        return lambda: self._life_listeners.remove(listener)

    def transaction(self) -> "Transaction":
        """async with store.transaction() as txn: ...; commits at the end of the block."""
        return Transaction(self)

    async def fresh(self, revision: int | None) -> None:
        """Return when reads show at least the revision; None: the present one of etcd. Raises Unavailable."""
        if revision is None:
            revision = await self._present()
        await self.cache.wait(revision)

    def revision(self) -> int:
        """What reads show, and own writes."""
        return max(self.cache.revision, self.last_write)

    async def _present(self) -> int:
        """etcd's revision at some time after the call; callers that wait together ask once."""
        running = self._asking
        if running is not None:  # it may have been asked before this call
            await asyncio.wait({running})
        if self._asking is None or self._asking is running:
            self._asking = asyncio.ensure_future(self.etcd.revision())
        return await asyncio.shield(self._asking)

    async def run(self) -> None:
        """Keep the cache up to date until cancelled; reads are right after cache.ready."""
        await self.cache.run()

    def lock(self, key: str) -> asyncio.Lock:
        """The lock that orders this process's own writers of a contended key."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock

    def _make_table(self, parent: str) -> Table[Any]:
        if collection := self._collections.get(parent):
            return Resources(collection, self.codec)
        if parent.startswith(f"{ROOT}/quota/"):
            return Table(functools.partial(self.codec.decode, quota_pb2.Quota))
        if match := _LIVES.fullmatch(parent):
            return self._life_table(match[1])
        if match := _SEEN.fullmatch(parent):
            return self._seen_table(*match.groups())
        if match := _WANT.fullmatch(parent):
            want = self._by_path.get((match[1], match[3]))
            if want is not None:
                return Table(functools.partial(self.codec.decode_alike, want.want or want.message))
        return Table(orjson.loads)

    def _life_table(self, node: str) -> Table[node_pb2.Life]:
        def decode(value: bytes) -> node_pb2.Life:
            life = self.codec.decode(node_pb2.Life, value)
            life.node = node  # the key says who may have written it, whatever it says of itself
            return life

        lives: Table[node_pb2.Life] = Table(decode)

        def tell(_: str) -> None:
            self.lives_version += 1
            for listener in self._life_listeners:
                listener(node)

        lives.subscribe(tell)
        self._lives[node] = lives
        return lives

    def _seen_table(self, service: str, node: str, name: str) -> Table[Any]:
        collection = self._by_path.get((service, name))
        if collection is None or collection.status is None:
            return Table(orjson.loads)
        seen: Table[Message] = Table(functools.partial(self.codec.decode, collection.status))
        records = self.table(collection)
        seen.subscribe(lambda id_: records.report(node, id_, seen.get(id_)))
        return seen
