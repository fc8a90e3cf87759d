"""Transactions: records with all that goes with them, at one revision or not at all."""

import asyncio
import json
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from google.protobuf.message import Message

from fabric.runtime.cache import Table
from fabric.runtime.collection import ROOT, Collection, Record, copy_of, differs
from fabric.runtime.errors import (
    AlreadyExists,
    Conflict,
    FabricError,
    FailedPrecondition,
    QuotaExceeded,
    StaleRevision,
    Unavailable,
)
from fabric.runtime.etcd import Change, KeyValue, Outcome
from fabric.type.v1 import quota_pb2

if TYPE_CHECKING:
    from fabric.runtime.store import Resources, Store

M = TypeVar("M", bound=Record)

UNLIMITED = -1
_RETRY_S = 10.0  # how long a commit outlives an etcd that does not answer
_QUOTA_TRIES = 50


class _Written:
    """A resource that a transaction has written, to be taken over by the cache."""

    def __init__(self, table: "Resources[Any]", message: Record) -> None:
        self.table, self.message = table, message


class Transaction:
    """Everything in it happens at one revision, or nothing does.

    Errors when it commits: AlreadyExists (an id or claim is taken; facts index, value), StaleRevision (a
    record changed since it was read), QuotaExceeded, Unavailable (etcd; after some time of trying).
    """

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._change = Change()
        self._taken: dict[str, FabricError] = {}  # key that must be absent -> what it means if it is not
        self._charges: dict[tuple[str, str], int] = {}
        self._limits: dict[tuple[str, str], int | None] = {}
        self._closed: set[tuple[str, str]] = set()
        self._written: dict[str, _Written | str | None] = {}
        self._done_at: int | None = None  # by a try whose answer was lost
        self._refused_at = 0
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

    def update(self, collection: Collection[M], message: M, *, counted: bool = False) -> None:
        """Write a changed copy of a record that was read; raises StaleRevision if it has changed since.

        counted: the message has its generation already, by rules of its own.
        """
        old = self._current(collection, message)
        message.meta.update_time.FromDatetime(_now())
        if not counted and differs(collection, old, message):
            message.meta.generation = old.meta.generation + 1
        self._put(collection, collection.key(message.meta.id), message)
        self._derive(collection, old, message)

    def delete(self, collection: Collection[M], message: M) -> bool:
        """Remove the record, or mark it while it has finalizers. True: it is gone with the commit."""
        if not message.meta.finalizers:
            self.remove(collection, message)
            return True
        if not message.meta.HasField("delete_time"):
            marked = copy_of(message)
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
        freed = copy_of(message)
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

    def place(self, collection: Collection[M], message: M, node: str, target: str = "") -> None:
        """Put a record that goes where its owner goes on a node; target: the one that both come to next."""
        assert collection.place is not None
        placed = copy_of(message)
        collection.place(placed, node, target)
        self.update(collection, placed)

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

    def close(self, owner: str, resource: str) -> None:
        """Forget limit and usage; FailedPrecondition at commit while something is used."""
        self._closed.add((owner, resource))
        self._charges.setdefault((owner, resource), 0)

    def want(self, collection: Collection[Any], node: str, id_: str, message: Message) -> None:
        """Tell the node what it must make true."""
        self.want_all(collection, [node], id_, message)

    def want_all(self, collection: Collection[Any], nodes: Iterable[str], id_: str, message: Message) -> None:
        """Tell several nodes the same."""
        value, kept = self._store.codec.encode(message), copy_of(message)
        for node in nodes:
            self._write(collection.want_key(node, id_), value, kept)

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
        stored = copy_of(message)
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
        if key in self._taken and self._written.get(key, owner) != owner:  # twice in this transaction
            raise self._taken[key]
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
        before = collection.nodes(old) if old is not None else set()
        after = collection.nodes(new) if new is not None else set()
        for node in before - after:
            self.unwant(collection, node, old.meta.id)  # type: ignore[union-attr]
        if after and new is not None:
            wanted = copy_of(new)
            collection.strip(wanted)
            self.want_all(collection, after, new.meta.id, cast(Message, wanted))

    # -- commit

    async def commit(self) -> int:
        """Do it; returns the revision. Leaving the block calls it.

        Whom somebody else has forestalled reads what that one has written: to try again is not in vain.
        """
        try:
            return await self._commit()
        except (AlreadyExists, StaleRevision):
            with suppress(Unavailable):
                await self._store.fresh(self._refused_at)
            raise

    async def _commit(self) -> int:
        kept = self._limits.keys() | self._closed
        charges = {at: amount for at, amount in self._charges.items() if amount or at in kept}
        if not (self._change.put or self._change.delete or charges):
            return 0
        keys = sorted(f"{ROOT}/quota/{project}/{resource}" for project, resource in charges)
        async with AsyncExitStack() as stack:
            for key in keys:
                await stack.enter_async_context(self._store.lock(key))
            for _ in range(_QUOTA_TRIES):
                quotas = self._charge(charges)
                with self._store.cache.writing(self._own(quotas)):
                    outcome = await self._commit_surely(set(keys))
                if outcome.succeeded:
                    self._take_over(outcome.revision, quotas)
                    return outcome.revision
                if self._done_at is not None:
                    return await self._catch_up(outcome.revision)
                self._refused_at = outcome.revision
                self._judge(outcome, set(keys))
        raise Conflict("The quota is contended; try again.", reason="QUOTA_CONTENDED")

    def _own(self, quotas: dict[str, quota_pb2.Quota | None]) -> dict[str, tuple[bytes, Any]]:
        """What is put, with what it means to the cache."""
        meant = self._written | quotas
        found = {}
        for key, value in self._change.put.items():
            kept = meant[key]
            found[key] = value, kept.message if isinstance(kept, _Written) else kept
        return found

    def _charge(self, charges: dict[tuple[str, str], int]) -> dict[str, quota_pb2.Quota | None]:
        quotas: dict[str, quota_pb2.Quota | None] = {}
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
            if (project, resource) in self._closed:
                _check_unused(quota)
                self._change.delete.add(key)
                quotas[key] = None
            else:
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
            if not outcome.succeeded and unsure:
                self._done_at = self._find_done(outcome, loose)
            return outcome

    def _find_done(self, outcome: Outcome, loose: set[str]) -> int | None:
        """The revision at which an earlier try, whose answer was lost, has been done; None: it has not.

        A transaction that only deletes does not know its revision: that of the look is one that is surely later.
        """
        own = [key for key in self._change.expect if key not in loose]
        if made_at := max((self._made_at(key, outcome.found.get(key)) for key in own), default=0):
            return made_at
        revision = None
        for key in own:
            found = outcome.found.get(key)
            if key in self._change.put:
                if found is None or found.value != self._change.put[key]:
                    return None
                revision = found.mod_revision
            elif key in self._change.delete:
                if found is not None:
                    return None
                revision = revision or outcome.revision
        return revision

    def _made_at(self, key: str, found: KeyValue | None) -> int:
        """The revision at which this transaction has made the record, whoever has changed it since; 0: it has not."""
        made = self._written.get(key)
        if found is None or key not in self._taken or not isinstance(made, _Written):
            return 0
        now: Any = self._store.codec.decode(cast(type[Message], type(made.message)), found.value)
        return found.create_revision if now.meta.create_time == made.message.meta.create_time else 0

    async def _catch_up(self, seen_at: int) -> int:
        """What others have written since is not ours to take over: the watch brings it, with what we wrote."""
        assert self._done_at is not None
        self.revision = self._done_at
        for kept in self._written.values():
            if isinstance(kept, _Written):
                kept.message.meta.etag = str(self.revision)
        await self._store.fresh(seen_at)
        return self.revision

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

    def _take_over(self, revision: int, quotas: dict[str, quota_pb2.Quota | None]) -> None:
        self.revision = revision
        cache = self._store.cache
        for key, quota in quotas.items():
            cache.written(key, quota, revision)
        for key, kept in self._written.items():
            if isinstance(kept, _Written):
                kept.message.meta.etag = str(revision)
                if not cache.knows(key, revision):
                    kept.table.put_written(key.rpartition("/")[2], kept.message, revision)
            else:
                cache.written(key, kept, revision)
        cache.wrote(revision)
        self._store.last_write = max(self._store.last_write, revision)


def _check_unused(quota: quota_pb2.Quota) -> None:
    if quota.usage:
        raise FailedPrecondition(
            f"{quota.usage} of {quota.resource.rpartition('.')[2]} are in use.",
            reason="QUOTA_IN_USE",
            resource=quota.resource,
            usage=quota.usage,
        )


def _now() -> datetime:
    return datetime.now(UTC)
