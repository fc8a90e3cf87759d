"""What a controller's loop tells the nodes of one collection: the same want on each of some, none elsewhere."""

from collections.abc import Iterable
from typing import Any

from fabric.runtime.store import ROOT, Collection, Store


class Telling:
    """Of one collection whose wants are written by a loop."""

    def __init__(self, store: Store, collection: Collection[Any]) -> None:
        self._store = store
        self._collection = collection

    async def tell(self, id_: str, want: Any, nodes: set[str]) -> None:
        """Make the wants of exactly these nodes this one, in one transaction, or write nothing."""
        collection, wanted = self._collection, self._store.wanted
        stale = [node for node in nodes if wanted(collection, node).get(id_) != want]
        told = (node for node in self._told() if wanted(collection, node).get(id_) is not None)
        gone = [node for node in told if node not in nodes]
        if not stale and not gone:
            return
        async with self._store.transaction() as txn:
            for node in stale:
                txn.want(collection, node, id_, want)
            for node in gone:
                txn.unwant(collection, node, id_)

    def ids(self) -> Iterable[str]:
        """What nodes were told of."""
        for node in self._told():
            yield from self._store.wanted(self._collection, node).ids()

    def _told(self) -> set[str]:
        """The nodes that have ever been told of the collection."""
        head, tail = f"{ROOT}/{self._collection.service}/node/", f"/want/{self._collection.name}"
        parents = self._store.cache.parents()
        return {p[len(head) : -len(tail)] for p in parents if p.startswith(head) and p.endswith(tail)}
