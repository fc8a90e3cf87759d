"""A node agent's side of the store: its life sign, and what it must make true and has seen."""

import asyncio
import functools
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import unquote

import structlog
from google.protobuf import json_format
from google.protobuf.message import Message

from fabric.runtime.cache import Cache, Table
from fabric.runtime.codec import Codec
from fabric.runtime.collection import ROOT, quoted
from fabric.runtime.errors import LeaseLost, StaleRevision
from fabric.runtime.etcd import Change, Etcd, Lease
from fabric.type.v1 import node_pb2

log = structlog.get_logger(__name__)

Want = TypeVar("Want", bound=Message)
Status = TypeVar("Status", bound=Message)
Told = TypeVar("Told", bound=Message, covariant=True)


class Life:
    """The life sign of one agent of a node: a key under a lease, which is also the right to write."""

    def __init__(
        self, etcd: Etcd, codec: Codec, sign: node_pb2.Life, *, ttl_s: int, lingers: bool = False
    ) -> None:
        """lingers: when it is ended, others shall not take its work over before the lease has run out."""
        self._lingers = lingers
        self._etcd = etcd
        self._codec = codec
        self._sign = sign
        self._ttl_s = ttl_s
        self.key = f"{ROOT}/nodes/{sign.node}/{sign.agent}"
        self._lease: Lease | None = None
        self.revision = 0  # of the key as we wrote it; 0: we have no life

    @property
    def renewed(self) -> float:
        """When the lease was last renewed, of time.monotonic(); 0: we never had one."""
        return self._lease.renewed if self._lease is not None else 0.0

    @property
    def silence_s(self) -> float | None:
        """Since the lease was last renewed; None: we have no life."""
        return time.monotonic() - self.renewed if self.revision else None

    async def hold(self, ready: asyncio.Event) -> None:
        """Be alive until the lease is lost: raises LeaseLost. Sets ready when others can see it."""
        lease = self._lease = Lease(self._etcd, self._ttl_s)
        await lease.grant()
        self._sign.epoch = uuid.uuid4().hex
        self._sign.start_time.FromDatetime(datetime.now(UTC))
        change = Change(put={self.key: self._codec.encode(self._sign)}, lease=lease.id)
        self.revision = (await self._etcd.commit(change)).revision
        log.info("node agent is alive", node=self._sign.node, agent=self._sign.agent, epoch=self._sign.epoch)
        ready.set()
        try:
            await lease.run()
        except BaseException:
            self.revision = 0
            if not self._lingers:
                await lease.revoke()
            raise
        self.revision = 0  # at once: what works under the lease ends before the node is fenced
        raise LeaseLost("The node's lease is gone.", node=self._sign.node, agent=self._sign.agent)

    async def write(self, key: str, value: bytes | None, expect: Mapping[str, int] | None = None) -> int:
        """Put (None: delete) a key while we live and the expected keys have these revisions (0: absent).

        Returns the revision. Raises LeaseLost, StaleRevision, Unavailable.
        """
        revision = self.revision
        if not revision:
            raise LeaseLost("The agent has no lease.", node=self._sign.node, agent=self._sign.agent)
        change = Change(expect={**(expect or {}), self.key: revision})
        if value is None:
            change.delete.add(key)
        else:
            change.put[key] = value
        outcome = await self._etcd.commit(change)
        if not outcome.succeeded:
            sign = outcome.found.get(self.key)
            if sign is not None and sign.mod_revision == revision:
                raise StaleRevision("What is wanted has changed since it was read.", key=key)
            self.revision = 0
            raise LeaseLost("Another life has begun.", node=self._sign.node, agent=self._sign.agent)
        return outcome.revision


class NodeCache:
    """What etcd holds for one node of one service: the wants and the own reports."""

    def __init__(self, etcd: Etcd, codec: Codec, service: str, node: str) -> None:
        self.prefix = f"{ROOT}/{service}/node/{node}"
        self._codec = codec
        self._kinds: dict[str, type[Message]] = {}
        self.cache = Cache(etcd, self.prefix + "/", self._make_table)

    def expect(self, part: str, collection: str, kind: type[Message]) -> None:
        """Decode what is below want/<collection> or seen/<collection> as this message."""
        self._kinds[f"{self.prefix}/{part}/{collection}"] = kind

    def table(self, part: str, collection: str) -> Table[Message]:
        """The values below want/<collection> or seen/<collection>."""
        return self.cache.table(f"{self.prefix}/{part}/{collection}")

    def _make_table(self, parent: str) -> Table[Message]:
        kind = self._kinds.get(parent, node_pb2.Life)
        return Table(functools.partial(self._codec.decode_alike, kind))


class NodeStore(Generic[Want, Status]):
    """One collection as a node's agent sees it: what is bound to the node; writes fenced by its life."""

    def __init__(
        self,
        cache: NodeCache,
        life: Life,
        codec: Codec,
        collection: str,
        want: type[Want],
        status: type[Status] | None = None,
    ) -> None:
        cache.expect("want", collection, want)
        if status is not None:
            cache.expect("seen", collection, status)
        self._cache = cache
        self._life = life
        self._codec = codec
        self._collection = collection
        self._wants: Table[Want] = cache.table("want", collection)  # type: ignore[assignment]
        self._seen: Table[Status] = cache.table("seen", collection)  # type: ignore[assignment]

    def get(self, id_: str) -> Want | None:
        """What should be; None: it is not wanted here."""
        return self._wants.get(quoted(id_))

    def ids(self) -> list[str]:
        """All that is wanted here."""
        return [unquote(id_) for id_ in self._wants.ids()]

    def status(self, id_: str) -> Status | None:
        """What this agent last reported."""
        return self._seen.get(quoted(id_))

    def reported_ids(self) -> list[str]:
        """All that this agent has reported of."""
        return [unquote(id_) for id_ in self._seen.ids()]

    async def report(self, id_: str, status: Status) -> None:
        """Say what was seen of what is wanted; nothing happens when it was said already.

        Raises LeaseLost, Unavailable, and StaleRevision: what is wanted is not what get() returned any more.
        """
        if self.status(id_) == status:
            return
        if self.get(id_) is None:
            raise StaleRevision("It is not wanted here any more.", id=id_)
        kept = type(status)()
        kept.CopyFrom(status)
        await self._write(id_, kept)

    async def forget(self, id_: str) -> None:
        """Take back the report of what is not wanted here. Raises as report."""
        if self.status(id_) is not None and self.get(id_) is None:
            await self._write(id_, None)

    async def _write(self, id_: str, status: Status | None) -> None:
        name = quoted(id_)
        want = f"{self._cache.prefix}/want/{self._collection}/{name}"
        seen = f"{self._cache.prefix}/seen/{self._collection}/{name}"
        value = None if status is None else self._codec.encode(status)
        revision = await self._life.write(seen, value, {want: self._wants.revision(name)})
        self._cache.cache.written(seen, status, revision)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call back with the id on each change of a want, and for each that is there already."""
        self._wants.subscribe(lambda id_: callback(unquote(id_)))


class Wanted(Protocol[Told]):
    """What is wanted of a node, by id."""

    def get(self, id_: str, /) -> Told | None: ...
    def ids(self) -> list[str]: ...
    def on_change(self, callback: Callable[[str], None], /) -> None: ...


class Bundled(Generic[Want]):
    """Wants that come several in one value, seen one by one: a change of one is a change of no other."""

    def __init__(
        self,
        cache: NodeCache,
        collection: str,
        bundle: type[Message],
        parts: Callable[[Any], Mapping[str, Want]],
    ) -> None:
        """parts: what a value says to this node, by id; an id is in one bundle at a time."""
        cache.expect("want", collection, bundle)
        self._bundles: Table[Message] = cache.table("want", collection)
        self._parts = parts
        self._wants: dict[str, Want] = {}
        self._bundle_of: dict[str, str] = {}
        self._ids: dict[str, list[str]] = {}  # by bundle
        self._listeners: list[Callable[[str], None]] = []
        self._bundles.subscribe(self._unpack)

    def get(self, id_: str) -> Want | None:
        """What should be; None: it is not wanted here."""
        return self._wants.get(id_)

    def ids(self) -> list[str]:
        """All that is wanted here."""
        return list(self._wants)

    def reported_ids(self) -> list[str]:
        """Nothing is reported of them."""
        return []

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call back with the id on each change of a want, and for each that is there already."""
        self._listeners.append(callback)
        for id_ in self.ids():
            callback(id_)

    def _unpack(self, bundle_id: str) -> None:
        bundle = self._bundles.get(bundle_id)
        parts = self._parts(bundle) if bundle is not None else {}
        for id_, want in parts.items():
            self._bundle_of[id_] = bundle_id
            if self._wants.get(id_) != want:
                self._wants[id_] = want
                self._notify(id_)
        for id_ in self._ids.pop(bundle_id, ()):
            if id_ not in parts and self._bundle_of.get(id_) == bundle_id:
                del self._wants[id_], self._bundle_of[id_]
                self._notify(id_)
        if parts:
            self._ids[bundle_id] = list(parts)

    def _notify(self, id_: str) -> None:
        for listener in self._listeners:
            listener(id_)


def detail(message: Message) -> dict[str, object]:
    """A message as Life.detail holds it."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)
