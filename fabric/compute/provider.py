"""What a resource provider has, and whether that is enough. No I/O."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from fabric.compute.demand import class_of, counted_as
from fabric.compute.inventory import MOST, Metadata, inventories, limit
from fabric.compute.server import capacity_owner
from fabric.compute.trait import traits
from fabric.compute.v1 import compute_node_pb2, inventory_pb2
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


def has_traits(held: frozenset[str], need: pb.ProviderNeed) -> bool:
    """Whether there are all that are needed, and none that is forbidden."""
    return all(not held.isdisjoint(part.names) for part in need.traits) and held.isdisjoint(
        need.forbidden_traits
    )


def in_aggregates(ids: AbstractSet[str], need: pb.ProviderNeed) -> bool:
    """Whether these are the aggregates that are needed."""
    return all(not ids.isdisjoint(part.names) for part in need.aggregate_ids) and ids.isdisjoint(
        need.forbidden_aggregate_ids
    )


def gives(provider: pb.ResourceProvider, need: pb.ProviderNeed) -> bool:
    """Whether it can give all that is needed by itself."""
    return (
        has_traits(frozenset(provider.spec.traits), need)
        and in_aggregates(frozenset(provider.spec.aggregate_ids), need)
        and not any(shortfall(provider, name, amount) for name, amount in need.resources.items())
    )


def limits(spec: pb.ResourceProviderSpec) -> Mapping[str, int]:
    """What may be allocated, by counted name."""
    return {counted_as(name): limit(inventory) for name, inventory in spec.inventories.items()}
