"""The ways in which resource providers can give together what is needed. No I/O.

A way is below an anchor: the top of a tree, whose providers give, and those that share with one of them (they have
the trait MISC_SHARES_VIA_AGGREGATE and an aggregate in common with it).
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from fabric.compute.provider import account, gives, has_traits, in_aggregates, shortfall
from fabric.compute.v1 import consumer_pb2
from fabric.compute.v1 import resource_provider_pb2 as pb

SHARES = "MISC_SHARES_VIA_AGGREGATE"
_MOST_LOOKS, _MOST_LOOKS_BELOW = 50_000, 5_000  # at combinations, for one answer and below one anchor
_MOST_WAYS = 1_000  # of one need, below one anchor

# Provider id -> resource class -> amount; without amounts it only has to be there.
Way = Mapping[str, Mapping[str, int]]


class Forest:
    """All providers, by the trees that they are in."""

    def __init__(self, providers: Iterable[pb.ResourceProvider]) -> None:
        self.trees: dict[str, list[pb.ResourceProvider]] = {}  # the top comes first
        for provider in sorted(providers, key=lambda p: (p.root_id != p.meta.id, p.meta.id)):
            self.trees.setdefault(provider.root_id, []).append(provider)
        self._by_id = {p.meta.id: p for tree in self.trees.values() for p in tree}
        self._sharing: dict[str, list[pb.ResourceProvider]] = {}  # by aggregate
        for provider in self._by_id.values():
            if SHARES in provider.spec.traits:
                for aggregate in provider.spec.aggregate_ids:
                    self._sharing.setdefault(aggregate, []).append(provider)

    def candidates(
        self, asked: consumer_pb2.ListAllocationCandidatesRequest
    ) -> Iterator[consumer_pb2.AllocationCandidate]:
        """Each only once; what would be too much to look at is left out."""
        looks, seen = iter(range(_MOST_LOOKS)), set()
        needs = sorted(asked.needs, key=lambda need: (not need.resources, not need.suffix))
        for root_id, tree in self.trees.items():
            if not has_traits(frozenset(tree[0].spec.traits), asked.root):
                continue
            given = self._given(root_id)
            ways = [[*self._ways(given, need, itertools.islice(looks, _MOST_WAYS))] for need in needs]
            below = itertools.islice(looks, _MOST_LOOKS_BELOW)
            for chosen in _combinations(ways, lambda some: self._fit(needs, some, asked), below):
                if self._near(needs, chosen, asked.subtrees):
                    made = self._made(needs, chosen)
                    key = made.SerializeToString(deterministic=True)
                    if key not in seen:
                        seen.add(key)
                        yield made

    def tops(self, made: consumer_pb2.AllocationCandidate) -> Iterator[str]:
        """The tops of the trees that have a part in a candidate."""
        for part in made.providers.values():
            for id_ in part.names:
                yield self._by_id[id_].root_id

    # -- helpers

    def _given(self, root_id: str) -> Sequence[pb.ResourceProvider]:
        """The tree and what is shared with it."""
        tree = self.trees[root_id]
        if not self._sharing:
            return tree
        aggregates = {aggregate for provider in tree for aggregate in provider.spec.aggregate_ids}
        shared = {p.meta.id: p for one in sorted(aggregates) for p in self._sharing.get(one, ())}
        return [*tree, *(provider for provider in shared.values() if provider.root_id != root_id)]

    def _ways(
        self, given: Sequence[pb.ResourceProvider], need: pb.ProviderNeed, looks: Iterator[int]
    ) -> Iterator[Way]:
        """By one provider; without a suffix also by several that have the traits together."""
        if need.in_tree:
            top = self._by_id[need.in_tree].root_id if need.in_tree in self._by_id else ""
            given = [provider for provider in given if provider.root_id == top]
        if need.suffix:
            yield from ({p.meta.id: dict(need.resources)} for p in given if gives(p, need))
            return
        banned = frozenset(need.forbidden_traits)
        fit = [
            provider
            for provider in given
            if banned.isdisjoint(provider.spec.traits)
            and in_aggregates(
                {*provider.spec.aggregate_ids, *self._by_id[provider.root_id].spec.aggregate_ids}, need
            )
        ]
        names = sorted(need.resources)
        able = [[p for p in fit if not shortfall(p, name, need.resources[name])] for name in names]
        for _, chosen in zip(looks, itertools.product(*able), strict=False):
            if has_traits(frozenset(trait for provider in chosen for trait in provider.spec.traits), need):
                way: dict[str, dict[str, int]] = {}
                for name, provider in zip(names, chosen, strict=True):
                    way.setdefault(provider.meta.id, {})[name] = need.resources[name]
                yield way

    def _fit(
        self,
        needs: Sequence[pb.ProviderNeed],
        chosen: Sequence[Way],
        asked: consumer_pb2.ListAllocationCandidatesRequest,
    ) -> bool:
        """Whether the last of the ways can be gone with those before it."""
        *before, last = chosen
        earlier = zip(needs, before, strict=False)
        alone = asked.isolate and needs[len(before)].suffix
        if alone and any(need.suffix and last.keys() & way.keys() for need, way in earlier):
            return False
        taken = _sum(chosen)
        if asked.flat:
            tops = [self._by_id[id_].root_id for id_ in taken]
            if len(set(tops)) < len(tops):
                return False
        again = [id_ for id_ in last if id_ in taken and any(id_ in way for way in before)]
        return not any(shortfall(self._by_id[id_], *part) for id_ in again for part in taken[id_].items())

    def _near(
        self,
        needs: Sequence[pb.ProviderNeed],
        chosen: Sequence[Way],
        subtrees: Iterable[consumer_pb2.Subtree],
    ) -> bool:
        ids = {need.suffix: set(way) for need, way in zip(needs, chosen, strict=True)}
        for subtree in subtrees:
            together = set[str]().union(*(ids[suffix] for suffix in subtree.suffixes))
            if not together.intersection(*(self._upwards(id_) for id_ in together)):
                return False
        return True

    def _upwards(self, id_: str) -> Iterator[str]:
        while id_ in self._by_id:
            yield id_
            id_ = self._by_id[id_].spec.parent_id

    def _made(
        self, needs: Sequence[pb.ProviderNeed], chosen: Sequence[Way]
    ) -> consumer_pb2.AllocationCandidate:
        made = consumer_pb2.AllocationCandidate()
        for need, way in zip(needs, chosen, strict=True):
            made.providers[need.suffix].names.extend(sorted(way))
        for id_, amounts in sorted(_sum(chosen).items()):
            made.allocations.add(provider_id=id_, account=account(self._by_id[id_]), resources=amounts)
        return made


def _combinations(
    ways: Sequence[Sequence[Way]], fit: Callable[[Sequence[Way]], bool], looks: Iterator[int]
) -> Iterator[Sequence[Way]]:
    """One way of each, as long as there are looks left; one that does not fit is not gone further."""

    def further(chosen: Sequence[Way]) -> Iterator[Sequence[Way]]:
        if len(chosen) == len(ways):
            yield chosen
            return
        for way in ways[len(chosen)]:
            if next(looks, None) is None:
                return
            more = [*chosen, way]
            if fit(more):
                yield from further(more)

    return further([])


def _sum(chosen: Iterable[Way]) -> dict[str, dict[str, int]]:
    """What is taken altogether, without those that only have to be there."""
    taken: dict[str, dict[str, int]] = {}
    for way in chosen:
        for id_, amounts in way.items():
            for name, amount in amounts.items():
                of_provider = taken.setdefault(id_, {})
                of_provider[name] = of_provider.get(name, 0) + amount
    return taken
