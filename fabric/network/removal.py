"""Removing what others may be starting to use at the same moment.

Whoever makes a port compares its network, subnets and groups with what it read. So a record is first marked
(from then on nobody can join), then the cache is brought up to that mark (now everybody who joined before is seen),
and then it is removed, or unmarked when somebody was faster. A controller that dies between is finished for.
"""

from typing import Any, Protocol, TypeVar

import structlog

from fabric.runtime.errors import FailedPrecondition, StaleRevision
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Collection, Record, Store, Transaction

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Record)
_TRIES = 8


class Removable(Protocol):
    """The rules of one kind of record."""

    @property
    def collection(self) -> Collection[Any]: ...

    def check_unused(self, store: Store, record: Any) -> None:
        """Raise FailedPrecondition when something uses it."""

    def release(self, store: Store, record: Any, txn: Transaction) -> None:
        """Add to the transaction what goes with it."""


async def remove(store: Store, kind: Removable, record: M) -> None:
    """Remove the record.

    Raises FailedPrecondition when it is in use, StaleRevision when it changed since it was read.
    """
    kind.check_unused(store, record)
    mark = copy_of(record)
    mark.meta.delete_time.GetCurrentTime()
    async with store.transaction() as txn:
        txn.update(kind.collection, mark)
    await store.fresh(txn.revision)
    await finish(store, kind, record.meta.id)


async def finish(store: Store, kind: Removable, id_: str) -> None:
    """Bring the removal of a marked record to its end."""
    for _ in range(_TRIES):
        record: Any = store.find(kind.collection, id_)
        if record is None or not record.meta.HasField("delete_time"):
            return
        try:
            kind.check_unused(store, record)
        except FailedPrecondition:
            back = copy_of(record)
            back.meta.ClearField("delete_time")
            async with store.transaction() as txn:
                txn.update(kind.collection, back)
            log.info("removal undone: used meanwhile", collection=kind.collection.name, id=id_)
            raise
        try:
            async with store.transaction() as txn:
                kind.release(store, record, txn)
                txn.remove(kind.collection, record)
            return
        except StaleRevision:
            await store.fresh(None)
    raise StaleRevision(f"The {kind.collection.noun} {id_} changes too quickly to be removed.", id=id_)
