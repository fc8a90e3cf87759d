"""What compute nodes have to give, by resource class. No I/O."""

import math
from collections.abc import Mapping

from fabric.compute.demand import DISK_GB, MEMORY_MB, VCPU, counted_as
from fabric.compute.v1 import compute_node_pb2, inventory_pb2, node_pb2
from fabric.runtime.config import Compute

Metadata = Mapping[str, frozenset[str]]  # of all aggregates of a node

MOST = 2**31 - 1  # of a number in an inventory


def inventories(
    node: compute_node_pb2.ComputeNode, metadata: Metadata, settings: Compute
) -> Mapping[str, inventory_pb2.Inventory]:
    """By resource class; an operator's word goes before an aggregate's, that before the node's own."""
    found = node.inventory
    has = {
        VCPU: (found.vcpus, _ratio("cpu_allocation_ratio", found, metadata, settings)),
        MEMORY_MB: (found.ram_mib, _ratio("ram_allocation_ratio", found, metadata, settings)),
        DISK_GB: (found.disk_gb, _ratio("disk_allocation_ratio", found, metadata, settings)),
    }
    given = dict(node.spec.inventories)
    for name, (total, ratio) in has.items():
        if total:
            made = inventory_pb2.Inventory(total=total, min_unit=1, step_size=1, allocation_ratio=ratio)
            made.max_unit = max(1, limit(made))
            if name in given:
                made.CopyFrom(given[name])
                made.total = total
            given[name] = made
    return given


def limit(inventory: inventory_pb2.Inventory) -> int:
    """What may be allocated of it."""
    return max(0, math.floor((inventory.total - inventory.reserved) * inventory.allocation_ratio))


def capacity(given: Mapping[str, inventory_pb2.Inventory]) -> Mapping[str, int]:
    """What may be allocated, by counted name."""
    return {counted_as(name): limit(inventory) for name, inventory in given.items()}


def _ratio(name: str, found: node_pb2.ComputeInventory, metadata: Metadata, settings: Compute) -> float:
    """The least that the aggregates say, else what the node says, else the controller's."""
    try:
        said = [float(text) for text in metadata.get(name, ())]
    except ValueError:
        said = []
    return min(said, default=0.0) or getattr(found, name) or getattr(settings, name)
