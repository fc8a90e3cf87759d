"""Typed resources over etcd: reads from the watch cache, transactions with claims, charges and finalizers."""

import asyncio
import functools
import json
import re
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar, cast
from urllib.parse import quote

import structlog
from google.protobuf.message import Message

from fabric.runtime.cache import Cache, Index, Table
from fabric.runtime.codec import Codec
from fabric.runtime.errors import (
    AlreadyExists,
    Conflict,
    FabricError,
    NotFound,
    QuotaExceeded,
    StaleRevision,
    Unavailable,
)
from fabric.runtime.etcd import Change, Etcd, Outcome
from fabric.type.v1 import meta_pb2, node_pb2, quota_pb2

log = structlog.get_logger(__name__)


class Record(Protocol):
    """A message that has a meta: what rests in a collection."""

    @property
    def meta(self) -> meta_pb2.Meta: ...

    def CopyFrom(self, other: Any, /) -> None: ...

    def ClearField(self, field_name: Any, /) -> None: ...


M = TypeVar("M", bound=Record)
C = TypeVar("C", Record, Message)

ROOT = "/fabric"
UNLIMITED = -1
_RETRY_S = 10.0  # how long a commit outlives an etcd that does not answer
_QUOTA_TRIES = 50
_SEEN = re.compile(rf"{ROOT}/([^/]+)/node/([^/]+)/seen/([^/]+)")
_WANT = re.compile(rf"{ROOT}/([^/]+)/node/([^/]+)/want/([^/]+)")


def nothing(_: Any) -> tuple[()]:
    """Of no index, claim or charge."""
    return ()


@dataclass(frozen=True, eq=False)
class Collection(Generic[M]):
    """Where the resources of one kind rest and what each of them holds.

    The derived keys are kept in the transaction that writes the resource: claims are unique within
    the collection ((index, value) pairs), charges count against the quota of meta.project_id, or, named
    (owner, resource), against that owner's limit (a node's capacity), node names the node whose agent is given the resource itself as its want.
    """

    service: str
    name: str  # plural, snake_case
    message: type[M]
    singular: str = ""  # for people; made of the message's name when empty
    claims: Callable[[M], Iterable[tuple[str, str]]] = nothing
    charges: Callable[[M], Mapping[str | tuple[str, str], int]] = lambda _: {}
    indexes: Mapping[str, Index[M]] = field(default_factory=dict)
    node: Callable[[M], str] = lambda _: ""  # whose report is joined as status; "" none
    wanted: bool = False  # the resource itself is the node's want
    want: type[Message] | None = None  # what is wanted of a node instead, written with Transaction.want
    status: type[Message] | None = None  # what the node's agent reports
    output_only: Sequence[str] = ()  # fields that never rest in the record
    derive: Callable[[M], None] | None = None  # fills output-only fields of a cached message from the others

    @property
    def parent(self) -> str:
        """The path above the records."""
        return f"{ROOT}/{self.service}/{self.name}"

    @property
    def noun(self) -> str:
        """What to call one of them in a message."""
        return (
            self.singular
            or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cast(type[Message], self.message).DESCRIPTOR.name).lower()
        )

    def strip(self, message: M) -> None:
        """Leave only what rests in the record."""
        message.meta.etag = ""
        if self.status is not None:
            message.ClearField("status")
        for name in self.output_only:
            message.ClearField(name)

    def key(self, id_: str) -> str:
        """The record's key."""
        return f"{self.parent}/{quote(id_, safe=SAFE)}"

    def claim_parent(self, index: str) -> str:
        """The path above the claims of an index."""
        return f"{ROOT}/{self.service}/by/{self.name}/{index}"

    def claim_key(self, index: str, value: str) -> str:
        """The key whose existence is the claim."""
        return f"{self.claim_parent(index)}/{quote(value, safe=SAFE)}"

    def want_key(self, node: str, id_: str) -> str:
        """What the node must make true."""
        return f"{ROOT}/{self.service}/node/{node}/want/{self.name}/{quote(id_, safe=SAFE)}"

    def seen_key(self, node: str, id_: str) -> str:
        """What the node's agent reports."""
        return f"{ROOT}/{self.service}/node/{node}/seen/{self.name}/{quote(id_, safe=SAFE)}"


SAFE = " !#$&'()*+,:;=@[]"  # stays readable in a key; "/" and "%" do not


class Resources(Table[M]):
    """The records of a collection, each joined with its node's report."""

    def __init__(self, collection: Collection[M], codec: Codec) -> None:
        indexes = {"project": lambda m: (m.meta.project_id,), "name": lambda m: (m.meta.name,)}
        has_meta = "meta" in cast(type[Message], collection.message).DESCRIPTOR.fields_by_name
        super().__init__(
            functools.partial(codec.decode, collection.message),
            (indexes if has_meta else {}) | dict(collection.indexes),
        )
        self._collection = collection
        self._has_meta = has_meta
        self._reports: dict[str, dict[str, Message]] = {}  # id -> node -> status

    def decoded(self, value: bytes, revision: int) -> M:
        """The joined record with its etag."""
        return self._joined(super().decoded(value, revision), revision)

    def put_copy(self, id_: str, message: M, revision: int) -> None:
        """Take over a message that belongs to somebody else."""
        copy = self._collection.message()
        copy.CopyFrom(message)
        self._collection.strip(copy)
        self.put(id_, self._joined(copy, revision), revision)

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
            self.put_copy(id_, record, self.revision(id_))

    def reported(self, id_: str) -> Mapping[str, Message]:
        """What each node last said of the record."""
        return self._reports.get(id_, {})

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


class _Written:
    """A resource that a transaction has written, to be taken over by the cache."""

    def __init__(self, table: Resources[Any], message: Record) -> None:
        self.table, self.message = table, message


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
        self._life_listeners: list[Callable[[str], None]] = []
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
        return self.table(collection).get(quote(id_, safe=SAFE))

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
        return table.get(quote(value, safe=SAFE))

    def claimed(self, collection: Collection[M], index: str) -> Table[str]:
        """All claims of an index: (percent-quoted) value -> id."""
        return self.cache.table(collection.claim_parent(index))

    def wanted(self, collection: Collection[M], node: str) -> Table[Message]:
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

    def lives(self) -> list[node_pb2.Life]:
        """The agents that are alive."""
        parents = [parent for parent in self.cache.parents() if parent.startswith(f"{ROOT}/nodes/")]
        return [life for parent in parents for life in self.cache.table(parent)]

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
        if parent.startswith(f"{ROOT}/nodes/"):
            return self._life_table(parent.rpartition("/")[2])
        if match := _SEEN.fullmatch(parent):
            return self._seen_table(*match.groups())
        if match := _WANT.fullmatch(parent):
            want = self._by_path.get((match[1], match[3]))
            if want is not None:
                return Table(functools.partial(self.codec.decode, want.want or want.message))
        return Table(json.loads)

    def _life_table(self, node: str) -> Table[node_pb2.Life]:
        lives: Table[node_pb2.Life] = Table(functools.partial(self.codec.decode, node_pb2.Life))

        def tell(_: str) -> None:
            for listener in self._life_listeners:
                listener(node)

        lives.subscribe(tell)
        return lives

    def _seen_table(self, service: str, node: str, name: str) -> Table[Any]:
        collection = self._by_path.get((service, name))
        if collection is None or collection.status is None:
            return Table(json.loads)
        seen: Table[Message] = Table(functools.partial(self.codec.decode, collection.status))
        records = self.table(collection)
        seen.subscribe(lambda id_: records.report(node, id_, seen.get(id_)))
        return seen


class Transaction:
    """Everything in it happens at one revision, or nothing does.

    Errors when it commits: AlreadyExists (an id or claim is taken; facts index, value), StaleRevision (a
    record changed since it was read), QuotaExceeded, Unavailable (etcd; after some time of trying).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._change = Change()
        self._taken: dict[str, FabricError] = {}  # key that must be absent -> what it means if it is not
        self._charges: dict[tuple[str, str], int] = {}
        self._limits: dict[tuple[str, str], int | None] = {}
        self._written: dict[str, _Written | str | None] = {}
        self.revision = 0  # after the commit

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.commit()

    # -- records

    def create(self, collection: Collection[M], message: M) -> None:
        """Make the record; meta.id must be set. Fills times and generation and, at commit, the etag."""
        meta = message.meta
        meta.create_time.FromDatetime(_now())
        meta.update_time.CopyFrom(meta.create_time)
        meta.generation = 1
        key = collection.key(meta.id)
        self._absent(
            key,
            AlreadyExists(
                f"{collection.noun.capitalize()} {meta.id} already exists.",
                reason=f"{collection.noun.upper().replace(' ', '_')}_EXISTS",
                index="id",
                value=meta.id,
            ),
        )
        self._put(collection, key, message)
        self._derive(collection, None, message)

    def update(self, collection: Collection[M], message: M) -> None:
        """Write a changed copy of a record that was read; raises StaleRevision if it has changed since."""
        old = self._current(collection, message)
        message.meta.update_time.FromDatetime(_now())
        if _differs(collection, old, message):
            message.meta.generation = old.meta.generation + 1
        self._put(collection, collection.key(message.meta.id), message)
        self._derive(collection, old, message)

    def delete(self, collection: Collection[M], message: M) -> bool:
        """Remove the record, or mark it while it has finalizers. True: it is gone with the commit."""
        if not message.meta.finalizers:
            self.remove(collection, message)
            return True
        if not message.meta.HasField("delete_time"):
            marked = _copy(message)
            marked.meta.delete_time.FromDatetime(_now())
            marked.meta.generation += 1
            old = self._current(collection, message)
            self._put(collection, collection.key(message.meta.id), marked)
            self._derive(collection, old, marked)
        return False

    def release(self, collection: Collection[M], message: M, finalizer: str) -> bool:
        """The holder has let go: take its finalizer off; with the last of a marked record the record goes."""
        left = [name for name in message.meta.finalizers if name != finalizer]
        if message.meta.HasField("delete_time") and not left:
            self.remove(collection, message)
            return True
        freed = _copy(message)
        del freed.meta.finalizers[:]
        freed.meta.finalizers.extend(left)
        old = self._current(collection, message)
        self._put(collection, collection.key(message.meta.id), freed)
        self._derive(collection, old, freed)
        return False

    def remove(self, collection: Collection[M], message: M) -> None:
        """Remove the record with its claims, charges, want and report, whatever its finalizers say."""
        old = self._current(collection, message)
        self.erase(collection.key(message.meta.id))
        self._derive(collection, old, None)
        table = self._store.table(collection)
        for node in table.reported(message.meta.id):
            self.erase(collection.seen_key(node, message.meta.id))

    def expect(self, collection: Collection[M], message: M) -> None:
        """Commit only if this record is still as it was read."""
        self._change.expect[collection.key(message.meta.id)] = int(message.meta.etag)

    # -- what goes with them

    def claim(self, collection: Collection[Any], index: str, value: str, owner: str) -> None:
        """Claim beyond what the collection derives."""
        self._claim(collection, index, value, owner)

    def unclaim(self, collection: Collection[Any], index: str, value: str) -> None:
        """Give such a claim back."""
        self.erase(collection.claim_key(index, value))

    def charge(self, project_id: str, resource: str, amount: int) -> None:
        """Count against the project's quota; a negative amount gives back."""
        at = (project_id, resource)
        self._charges[at] = self._charges.get(at, 0) + amount

    def set_limit(self, project_id: str, resource: str, limit: int | None) -> None:
        """Set the limit (UNLIMITED: none), or with None go back to the default."""
        self._limits[project_id, resource] = limit
        self._charges.setdefault((project_id, resource), 0)

    def want(self, collection: Collection[Any], node: str, id_: str, message: Message) -> None:
        """Tell the node what it must make true."""
        self._write(collection.want_key(node, id_), self._store.codec.encode(message), _copy(message))

    def unwant(self, collection: Collection[Any], node: str, id_: str) -> None:
        """The node has nothing to do with it any more; its report goes as well."""
        self.erase(collection.want_key(node, id_))
        self.erase(collection.seen_key(node, id_))

    def erase(self, key: str) -> None:
        """Delete one key."""
        self._change.put.pop(key, None)
        self._change.delete.add(key)
        self._written[key] = None

    def _write(self, key: str, value: bytes, kept: Any) -> None:
        self._change.delete.discard(key)
        self._change.put[key] = value
        self._written[key] = kept

    def _put(self, collection: Collection[M], key: str, message: M) -> None:
        stored = _copy(message)
        collection.strip(stored)
        if self._store.find(collection, message.meta.id) is None and key not in self._change.expect:
            raise StaleRevision(f"The {collection.noun} {message.meta.id} is gone.")
        table = self._store.table(collection)
        self._write(key, self._store.codec.encode(cast(Message, stored)), _Written(table, message))

    def _current(self, collection: Collection[M], message: M) -> M:
        key = collection.key(message.meta.id)
        old = self._store.find(collection, message.meta.id)
        if old is None or old.meta.etag != message.meta.etag:
            raise StaleRevision(
                f"The {collection.noun} {message.meta.id} changed since it was read.", id=message.meta.id
            )
        self._change.expect[key] = int(message.meta.etag)
        return old

    def _absent(self, key: str, error: FabricError) -> None:
        self._change.expect[key] = 0
        self._taken[key] = error

    def _claim(self, collection: Collection[Any], index: str, value: str, owner: str) -> None:
        key = collection.claim_key(index, value)
        if key in self._change.delete:  # moves within this transaction
            self._change.delete.discard(key)
        else:
            self._absent(
                key,
                AlreadyExists(
                    f"{collection.noun.capitalize()} with {index.replace('_', ' ')} {value} already exists.",
                    reason=f"{collection.noun.upper().replace(' ', '_')}_EXISTS",
                    index=index,
                    value=value,
                ),
            )
        self._write(key, json.dumps(owner).encode(), owner)

    def _derive(self, collection: Collection[M], old: M | None, new: M | None) -> None:
        id_ = (new or old).meta.id  # type: ignore[union-attr]
        before = dict.fromkeys(collection.claims(old)) if old is not None else {}
        after = dict.fromkeys(collection.claims(new)) if new is not None else {}
        for index, value in before:
            if (index, value) not in after:
                self.unclaim(collection, index, value)
        for index, value in after:
            if (index, value) not in before:
                self._claim(collection, index, value, id_)
        for message, sign in ((old, -1), (new, 1)):
            if message is not None:
                for resource, amount in collection.charges(message).items():
                    owner = message.meta.project_id or "-"
                    if isinstance(resource, tuple):
                        owner, resource = resource
                    self.charge(owner, resource, sign * amount)
        if collection.wanted:
            self._want_resource(collection, old, new)

    def _want_resource(self, collection: Collection[M], old: M | None, new: M | None) -> None:
        before = collection.node(old) if old is not None else ""
        after = collection.node(new) if new is not None else ""
        if before and before != after and old is not None:
            self.unwant(collection, before, old.meta.id)
        if after and new is not None:
            wanted = _copy(new)
            collection.strip(wanted)
            self.want(collection, after, new.meta.id, cast(Message, wanted))

    # -- commit

    async def commit(self) -> int:
        """Do it; returns the revision. Leaving the block calls it."""
        charges = {at: amount for at, amount in self._charges.items() if amount or at in self._limits}
        if not (self._change.put or self._change.delete or charges):
            return 0
        keys = sorted(f"{ROOT}/quota/{project}/{resource}" for project, resource in charges)
        async with AsyncExitStack() as stack:
            for key in keys:
                await stack.enter_async_context(self._store.lock(key))
            for _ in range(_QUOTA_TRIES):
                quotas = self._charge(charges)
                outcome = await self._commit_surely(set(keys))
                if outcome.succeeded:
                    self._take_over(outcome.revision, quotas)
                    return outcome.revision
                self._judge(outcome, set(keys))
        raise Conflict("The quota is contended; try again.", reason="QUOTA_CONTENDED")

    def _charge(self, charges: dict[tuple[str, str], int]) -> dict[str, quota_pb2.Quota]:
        quotas = {}
        for (project, resource), amount in charges.items():
            parent = f"{ROOT}/quota/{project}"
            table: Table[quota_pb2.Quota] = self._store.cache.table(parent)
            kept = table.get(resource)
            quota = quota_pb2.Quota(project_id=project, resource=resource)
            if kept is not None:
                quota.CopyFrom(kept)
            if (project, resource) in self._limits:
                limit = self._limits[project, resource]
                quota.ClearField("limit")
                if limit is not None:
                    quota.limit = limit
            limit = quota.limit if quota.HasField("limit") else self._store.limits.get(resource, UNLIMITED)
            if amount > 0 and limit != UNLIMITED and quota.usage + amount > limit:
                raise QuotaExceeded(
                    f"Quota exceeded for {resource.rpartition('.')[2]}: requested {amount}, "
                    f"{quota.usage} of {limit} used.",
                    resource=resource,
                    limit=limit,
                    usage=quota.usage,
                    requested=amount,
                )
            quota.usage = max(0, quota.usage + amount)
            key = f"{parent}/{resource}"
            self._change.expect[key] = table.revision(resource)
            self._change.put[key] = self._store.codec.encode(quota)
            quotas[key] = quota
        return quotas

    async def _commit_surely(self, loose: set[str]) -> Outcome:
        """Commit across short absences of etcd, and tell a lost answer from a lost write."""
        deadline, unsure = time.monotonic() + _RETRY_S, False
        while True:
            try:
                outcome = await self._store.etcd.commit(self._change)
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                unsure = True
                await asyncio.sleep(0.1)
                continue
            if not outcome.succeeded and unsure and self._is_done(outcome, loose):
                return Outcome(True, max((kv.mod_revision for kv in outcome.found.values()), default=0), {})
            return outcome

    def _is_done(self, outcome: Outcome, loose: set[str]) -> bool:
        own = [key for key in self._change.expect if key not in loose]
        for key in own:
            found = outcome.found.get(key)
            if key in self._change.put:
                if found is None or found.value != self._change.put[key]:
                    return False
            elif key in self._change.delete and found is not None:
                return False
        return any(key in self._change.put or key in self._change.delete for key in own)

    def _judge(self, outcome: Outcome, loose: set[str]) -> None:
        """Raise for what failed; return when only a quota was changed by somebody else."""
        for key, expected in self._change.expect.items():
            found = outcome.found.get(key)
            revision = found.mod_revision if found else 0
            if revision == expected:
                continue
            if key not in loose:
                raise self._taken.get(key) or StaleRevision(
                    f"{key} changed since it was read.", key=key, revision=revision
                )
            value = self._store.codec.decode(quota_pb2.Quota, found.value) if found else None
            self._store.cache.written(key, value, revision or outcome.revision)

    def _take_over(self, revision: int, quotas: dict[str, quota_pb2.Quota]) -> None:
        self.revision = revision
        cache = self._store.cache
        for key, quota in quotas.items():
            cache.written(key, quota, revision)
        for key, kept in self._written.items():
            if isinstance(kept, _Written):
                kept.message.meta.etag = str(revision)
                id_ = key.rpartition("/")[2]
                if revision > kept.table.revision(id_):
                    kept.table.put_copy(id_, kept.message, revision)
            else:
                cache.written(key, kept, revision)
        cache.wrote(revision)
        self._store.last_write = max(self._store.last_write, revision)


def _now() -> datetime:
    return datetime.now(UTC)


def _copy(message: C) -> C:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _differs(collection: Collection[M], old: M, new: M) -> bool:
    """Whether anything but meta's bookkeeping changed."""
    first, second = _copy(old), _copy(new)
    for message in (first, second):
        collection.strip(message)
        for name in ("update_time", "generation", "request_id"):
            message.meta.ClearField(name)
    return bool(first != second)
