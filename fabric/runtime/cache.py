"""The watch cache: what etcd holds under a prefix, in memory, always catching up."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import structlog

from fabric.runtime.errors import Unavailable
from fabric.runtime.etcd import Compacted, Etcd

log = structlog.get_logger(__name__)

T = TypeVar("T")
Index = Callable[[T], Iterable[str]]


class Table(Generic[T]):
    """The keys with one parent path, decoded, by their last path segment."""

    def __init__(self, decode: Callable[[bytes], T], indexes: dict[str, Index[T]] | None = None) -> None:
        self._decode = decode
        self._values: dict[str, T] = {}
        self._revisions: dict[str, int] = {}
        self._keys = indexes or {}
        self._members: dict[str, dict[str, dict[str, None]]] = {name: {} for name in self._keys}
        self._listeners: list[Callable[[str], None]] = []
        self.version = 0  # another with each change

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._values.values()))

    def get(self, id_: str) -> T | None:
        """The value, shared: copy it before changing it."""
        return self._values.get(id_)

    def ids(self) -> list[str]:
        """All ids, in no order."""
        return list(self._values)

    def by(self, index: str, value: str) -> list[T]:
        """The values that the index files under this value."""
        return [self._values[id_] for id_ in self._members[index].get(value, ())]

    def count(self, index: str, value: str) -> int:
        """How many values the index files under this value."""
        return len(self._members[index].get(value, ()))

    def revision(self, id_: str) -> int:
        """The revision that wrote the present value; 0: there is none."""
        return self._revisions.get(id_, 0)

    def subscribe(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call the listener with the id at each change from now on, and for all that is there already.

        Returns a function that ends it.
        """
        self._listeners.append(listener)
        for id_ in self.ids():
            listener(id_)
        return lambda: self._listeners.remove(listener)

    def decoded(self, value: bytes, revision: int) -> T:
        """The value as this table keeps it."""
        return self._decode(value)

    def put(self, id_: str, value: T, revision: int) -> None:
        """Take the value over."""
        self.version += 1
        old = self._values.get(id_)
        self._values[id_] = value
        self._revisions[id_] = revision
        for name, keys in self._keys.items():
            before, after = () if old is None else tuple(keys(old)), tuple(keys(value))
            if before != after:
                self._unfile(name, before, id_)
                for key in after:
                    self._members[name].setdefault(key, {})[id_] = None
        self.notify(id_)

    def put_written(self, id_: str, value: T, revision: int) -> None:
        """Take over what this process has written, which nobody changes any more."""
        self.put(id_, value, revision)

    def drop(self, id_: str) -> None:
        """Forget the value."""
        old = self._values.pop(id_, None)
        if old is not None:
            self.version += 1
            del self._revisions[id_]
            for name, keys in self._keys.items():
                self._unfile(name, keys(old), id_)
            self.notify(id_)

    def notify(self, id_: str) -> None:
        """Tell the listeners to look at the id."""
        for listener in self._listeners:
            listener(id_)

    def _unfile(self, index: str, keys: Iterable[str], id_: str) -> None:
        for key in keys:
            members = self._members[index].get(key)
            if members is not None:
                members.pop(id_, None)
                if not members:
                    del self._members[index][key]


class Cache:
    """Follows a prefix of etcd; catches up or relists after a disconnect, compaction or restart of etcd."""

    def __init__(self, etcd: Etcd, prefix: str, make_table: Callable[[str], Table[Any]]) -> None:
        """make_table is called with the parent path ("/fabric/network/ports") of the first key below it."""
        self._etcd = etcd
        self._prefix = prefix
        self._make_table = make_table
        self._tables: dict[str, Table[Any]] = {}
        self._deleted: dict[str, int] = {}  # written here, not yet seen in the watch: key -> revision
        self._writing: dict[str, tuple[bytes, Any]] = {}  # by key: what this process is about to write
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._revision = 0
        self._own: set[int] = set()  # revisions beyond it that this process wrote, and so knows
        self.following_since = 0.0  # of time.monotonic(): since when nothing was missed
        self.ready = asyncio.Event()  # set after the first complete list

    @property
    def revision(self) -> int:
        """Everything up to this revision is in the cache."""
        reached = self._revision
        while reached + 1 in self._own:
            reached += 1
        return reached

    def wrote(self, revision: int) -> None:
        """All that was written at this revision has been given to written()."""
        if revision > self._revision:
            self._own.add(revision)

    def table(self, parent: str) -> Table[Any]:
        """The table of the parent path, made when it is not there yet."""
        table = self._tables.get(parent)
        if table is None:
            table = self._tables[parent] = self._make_table(parent)
        return table

    def parents(self) -> list[str]:
        """The parent paths that are known."""
        return list(self._tables)

    async def wait(self, revision: int, timeout_s: float = 10.0) -> None:
        """Return when the cache has reached the revision. Raises Unavailable."""
        if self.revision >= revision:
            return
        reached = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (revision, next(self._order), reached))
        try:
            async with asyncio.timeout(timeout_s):
                await reached
        except TimeoutError as error:
            raise Unavailable("the watch cache is behind", revision=revision) from error

    def knows(self, key: str, revision: int) -> bool:
        """Whether what was written there at this revision is in the cache, or was and is so no longer."""
        parent, _, id_ = key.rpartition("/")
        return revision <= max(self.revision, self.table(parent).revision(id_), self._deleted.get(key, 0))

    def written(self, key: str, value: object | None, revision: int) -> None:
        """Take over at once what this process has written; None: deleted. The watch will bring it again."""
        if self.knows(key, revision):  # the watch was faster than the answer
            return
        parent, _, id_ = key.rpartition("/")
        table = self.table(parent)
        if value is not None:
            table.put(id_, value, revision)
            return
        if revision > self._revision:
            self._deleted[key] = revision
        table.drop(id_)

    @contextmanager
    def writing(self, values: Mapping[str, tuple[bytes, Any]]) -> Iterator[None]:
        """Meanwhile the watch may bring these values, and need not decode them: keys to what they mean."""
        self._writing.update(values)
        try:
            yield
        finally:
            for key, value in values.items():
                if self._writing.get(key) is value:
                    del self._writing[key]

    async def run(self) -> None:
        """Follow etcd until cancelled."""
        pause_s = 0.05
        while True:
            try:
                other = self._revision > 0 and await self._etcd.revision() < self._revision
                if other:  # what is behind of what was seen is another store: wiped or restored
                    log.error(
                        "etcd holds an older state than before", prefix=self._prefix, seen=self._revision
                    )
                if other or self._revision == 0:
                    await self._relist(other)
                self.ready.set()
                self.following_since = time.monotonic()
                pause_s = 0.05
                async for revision, events in self._etcd.watch(self._prefix, self._revision + 1):
                    for event in events:
                        self._apply(event.key, event.value, event.revision)
                    self._reached(revision)
            except Compacted:
                log.info("cache relists after compaction", prefix=self._prefix)
                self._revision = 0
            except Unavailable as error:
                log.warning("cache lost etcd", prefix=self._prefix, facts=error.facts)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, 1.0)

    async def _relist(self, other: bool) -> None:
        found, revision = await self._etcd.scan(self._prefix)
        self._revision = 0
        self._deleted.clear()
        kept: dict[str, set[str]] = {}
        for kv in found:
            parent, _, id_ = kv.key.rpartition("/")
            kept.setdefault(parent, set()).add(id_)
            table = self.table(parent)
            if table.revision(id_) != kv.mod_revision:
                self._read(kv.key, kv.value, kv.mod_revision)
        for parent, table in list(self._tables.items()):
            for id_ in table.ids():
                if id_ not in kept.get(parent, ()) and (other or table.revision(id_) <= revision):
                    table.drop(id_)
        self._reached(revision)
        log.info("cache listed", prefix=self._prefix, keys=len(found), revision=revision)

    def _apply(self, key: str, value: bytes | None, revision: int) -> None:
        parent, _, id_ = key.rpartition("/")
        table = self.table(parent)
        if revision <= table.revision(id_) or revision <= self._deleted.get(key, 0):
            return
        if value is None:
            table.drop(id_)
            return
        own = self._writing.get(key)
        if own is not None and own[0] == value:
            table.put_written(id_, own[1], revision)
            return
        self._read(key, value, revision)

    def _read(self, key: str, value: bytes, revision: int) -> None:
        """Whoever may write a key may write anything there."""
        parent, _, id_ = key.rpartition("/")
        table = self.table(parent)
        try:
            decoded = table.decoded(value, revision)
        except ValueError as error:
            log.error("unreadable value in etcd is left out", key=key, cause=str(error))
            return
        table.put(id_, decoded, revision)

    def _reached(self, revision: int) -> None:
        self._revision = max(self._revision, revision)
        if self._deleted:
            self._deleted = {key: at for key, at in self._deleted.items() if at > self._revision}
        if self._own:
            self._own = {at for at in self._own if at > self._revision}
        reached_to = self.revision
        while self._waiters and self._waiters[0][0] <= reached_to:
            reached = heapq.heappop(self._waiters)[2]
            if not reached.done():
                reached.set_result(None)
