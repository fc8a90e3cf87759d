"""What a resource provider has, and whether that is enough. No I/O."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fabric.compute.demand import class_of, counted_as
from fabric.compute.inventory import MOST, Metadata, inventories, limit
from fabric.compute.server import capacity_owner
from fabric.compute.trait import traits
from fabric.compute.v1 import compute_node_pb2, consumer_pb2, inventory_pb2
from fabric.compute.v1 import resource_provider_pb2 as pb
from fabric.runtime.config import Compute
from fabric.runtime.store import Collection

PROVIDERS = Collection(
    service="compute",
    name="resource_providers",
    message=pb.ResourceProvider,
    claims=lambda provider: [("name", provider.meta.name)],
    indexes={"spec.parent_id": lambda provider: (provider.spec.parent_id,)},
    output_only=("used", "root_id", "node"),
)


def as_provider(
    node: compute_node_pb2.ComputeNode, metadata: Metadata, settings: Compute
) -> pb.ResourceProvider:
    """A compute node as a provider."""
    made = pb.ResourceProvider(node=node.meta.name)
    made.meta.CopyFrom(node.meta)
    for name, inventory in inventories(node, metadata, settings).items():
        made.spec.inventories[name].CopyFrom(inventory)
    made.spec.traits.extend(sorted(traits(node)))
    made.spec.aggregate_ids.extend(node.spec.aggregate_ids)
    return made


def account(provider: pb.ResourceProvider) -> str:
    """Under which owner its limits and usages are counted."""
    return capacity_owner(provider.node) if provider.node else f"provider:{provider.meta.id}"


def used(counted: Mapping[str, int]) -> Mapping[str, int]:
    """Usage by resource class, of usage by counted name."""
    return {class_of(name): amount for name, amount in counted.items()}


def inventory_fault(name: str, inventory: inventory_pb2.Inventory) -> str:
    """What is wrong with an inventory; empty: nothing."""
    if not 1 <= inventory.total <= MOST:
        return f"The total of {name} is not a number from 1 to {MOST}."
    if not 0 <= inventory.reserved <= inventory.total:
        return f"The reserved amount of {name} is not between 0 and its total."
    if min(inventory.min_unit, inventory.max_unit, inventory.step_size) < 1:
        return f"min_unit, max_unit and step_size of {name} must be at least 1."
    if inventory.allocation_ratio < 0:
        return f"The allocation ratio of {name} is negative."
    return ""


def shortfall(provider: pb.ResourceProvider, name: str, amount: int) -> str:
    """Why the provider cannot give so much of a resource class; empty: it can."""
    if name not in provider.spec.inventories:
        return f"it has no inventory of {name}"
    inventory = provider.spec.inventories[name]
    if not inventory.min_unit <= amount <= inventory.max_unit or amount % inventory.step_size:
        return (
            f"{amount} {name} is not from {inventory.min_unit} to {inventory.max_unit} "
            f"in steps of {inventory.step_size}"
        )
    missing = provider.used.get(name, 0) + amount - limit(inventory)
    return f"{missing} {name} short of {amount}" if missing > 0 else ""


def suits(provider: pb.ResourceProvider, need: pb.ProviderNeed) -> bool:
    """Whether its traits, aggregates and tree are those that are needed."""
    return (
        _has_traits(frozenset(provider.spec.traits), need)
        and all(set(part.names) & set(provider.spec.aggregate_ids) for part in need.aggregate_ids)
        and not set(need.forbidden_aggregate_ids) & set(provider.spec.aggregate_ids)
    )


def gives(provider: pb.ResourceProvider, need: pb.ProviderNeed) -> bool:
    """Whether it can give all that is needed by itself."""
    return suits(provider, need) and not any(
        shortfall(provider, name, amount) for name, amount in need.resources.items()
    )


def candidates(
    tree: Sequence[pb.ResourceProvider], needs: Sequence[pb.ProviderNeed], *, isolate: bool
) -> Iterator[consumer_pb2.AllocationCandidate]:
    """The ways in which the providers of one tree can give all that is needed."""
    ways = [[*_ways(tree, need)] for need in needs]
    for chosen in itertools.product(*ways):
        numbered = [way for need, way in zip(needs, chosen, strict=True) if need.suffix]
        if isolate and len({id_ for way in numbered for id_ in way}) < sum(map(len, numbered)):
            continue
        taken: dict[str, dict[str, int]] = {}
        made = consumer_pb2.AllocationCandidate()
        for need, way in zip(needs, chosen, strict=True):
            made.providers[need.suffix].names.extend(way)
            for id_, amounts in way.items():
                of_provider = taken.setdefault(id_, {})
                for name, amount in amounts.items():
                    of_provider[name] = of_provider.get(name, 0) + amount
        by_id = {provider.meta.id: provider for provider in tree}
        if any(shortfall(by_id[id_], *part) for id_, amounts in taken.items() for part in amounts.items()):
            continue
        for id_, amounts in taken.items():
            made.allocations.add(provider_id=id_, account=account(by_id[id_]), resources=amounts)
        yield made


Way = Mapping[str, Mapping[str, int]]  # provider id -> resource class -> amount


def _ways(tree: Sequence[pb.ResourceProvider], need: pb.ProviderNeed) -> Iterator[Way]:
    """By one provider; without a suffix also by several that have the traits together."""
    if need.suffix or len(tree) == 1:
        for provider in tree:
            if gives(provider, need):
                yield {provider.meta.id: dict(need.resources)}
        return
    names = sorted(need.resources)
    able = [[p for p in tree if not shortfall(p, name, need.resources[name])] for name in names]
    for chosen in itertools.product(*able):
        held = frozenset(trait for provider in chosen for trait in provider.spec.traits)
        plain = pb.ProviderNeed(
            aggregate_ids=need.aggregate_ids, forbidden_aggregate_ids=need.forbidden_aggregate_ids
        )
        if _has_traits(held, need) and all(suits(provider, plain) for provider in chosen):
            way: dict[str, dict[str, int]] = {}
            for name, provider in zip(names, chosen, strict=True):
                way.setdefault(provider.meta.id, {})[name] = need.resources[name]
            yield way


def _has_traits(held: frozenset[str], need: pb.ProviderNeed) -> bool:
    return all(held & set(part.names) for part in need.traits) and not held & set(need.forbidden_traits)


def trees(providers: Iterable[pb.ResourceProvider]) -> Mapping[str, list[pb.ResourceProvider]]:
    """The providers by the top of their tree, which comes first."""
    found: dict[str, list[pb.ResourceProvider]] = {}
    for provider in sorted(providers, key=lambda p: (p.root_id != p.meta.id, p.meta.id)):
        found.setdefault(provider.root_id, []).append(provider)
    return found


def limits(spec: pb.ResourceProviderSpec) -> Mapping[str, int]:
    """What may be allocated, by counted name."""
    return {counted_as(name): limit(inventory) for name, inventory in spec.inventories.items()}
