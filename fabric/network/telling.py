"""What a controller's loop tells the nodes of one collection: some a want, the others none."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fabric.runtime.store import ROOT, Collection, Store


class Telling:
    """Of one collection whose wants are written by a loop."""

    def __init__(self, store: Store, collection: Collection[Any]) -> None:
        self._store = store
        self._collection = collection
        self._parents = 0  # of the cache, when it was looked who was told
        self._told: set[str] = set()

    async def tell(self, id_: str, wants: Mapping[str, Any]) -> None:
        """Make what nodes are told of it exactly this, in one transaction, or write nothing."""
        collection, wanted = self._collection, self._store.wanted
        # by identity: nodes share what they were told, and what they are
        alike: dict[tuple[int, int], bool] = {}

        def is_told(node: str, want: Any) -> bool:
            known = wanted(collection, node).get(id_)
            pair = id(known), id(want)
            if pair not in alike:
                alike[pair] = known == want
            return alike[pair]

        stale = [node for node, want in wants.items() if not is_told(node, want)]
        told = (node for node in self._nodes() if wanted(collection, node).get(id_) is not None)
        gone = [node for node in told if node not in wants]
        if not stale and not gone:
            return
        together: dict[int, list[str]] = {}  # nodes that are told the same, by its identity
        for node in stale:
            together.setdefault(id(wants[node]), []).append(node)
        async with self._store.transaction() as txn:
            for nodes in together.values():
                txn.want_all(collection, nodes, id_, wants[nodes[0]])
            for node in gone:
                txn.unwant(collection, node, id_)

    def told(self) -> Iterator[tuple[str, Any]]:
        """What nodes were told, with its id."""
        for node in self._nodes():
            wanted = self._store.wanted(self._collection, node)
            yield from ((id_, wanted.get(id_)) for id_ in wanted.ids())

    def ids(self) -> Iterable[str]:
        """What nodes were told of."""
        for node in self._nodes():
            yield from self._store.wanted(self._collection, node).ids()

    def _nodes(self) -> set[str]:
        """The nodes that have ever been told of the collection."""
        parents = self._store.cache.parents()
        if len(parents) != self._parents:  # paths are never forgotten
            self._parents = len(parents)
            head, tail = f"{ROOT}/{self._collection.service}/node/", f"/want/{self._collection.name}"
            self._told = {
                p[len(head) : -len(tail)] for p in parents if p.startswith(head) and p.endswith(tail)
            }
        return self._told
