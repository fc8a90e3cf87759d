"""The records of compute nodes, and what each of them can take."""

import uuid
from collections.abc import Mapping

from google.protobuf import json_format

from fabric.compute.server import capacity_owner
from fabric.compute.v1 import compute_node_pb2, node_pb2
from fabric.runtime.store import Collection, Store
from fabric.type.v1 import node_pb2 as type_pb2

AGENT = "compute"
_NAMESPACE = uuid.UUID("6b1f6a5e-2f0b-4f0e-9c57-3a1b7c0f4f10")

NODES = Collection(
    service="compute",
    name="nodes",
    message=compute_node_pb2.ComputeNode,
    singular="compute node",
    claims=lambda node: [("name", node.meta.name)],
    output_only=("alive", "heartbeat_time", "vcpus_used", "ram_mib_used", "disk_gb_used", "servers"),
)


def node_id(name: str) -> str:
    """The id of a node's record: always the same for a name."""
    return str(uuid.uuid5(_NAMESPACE, name))


def lives(store: Store) -> dict[str, type_pb2.Life]:
    """The compute agents that are alive, by node."""
    return {life.node: life for life in store.lives() if life.agent == AGENT}


def life(store: Store, node: str) -> type_pb2.Life | None:
    """The compute agent of the node, if it is alive."""
    return store.life(node, AGENT)


def inventory(life: type_pb2.Life) -> node_pb2.ComputeInventory:
    """What the agent says that its node has: nothing, when what it says is no inventory."""
    found = node_pb2.ComputeInventory()
    try:
        json_format.ParseDict(json_format.MessageToDict(life.detail), found, ignore_unknown_fields=True)
    except json_format.Error:
        found.Clear()
    return found


def allocated(store: Store, node: str) -> Mapping[str, int]:
    """What is allocated on the node, by counted name."""
    return {quota.resource: quota.usage for quota in store.quotas(capacity_owner(node))}
