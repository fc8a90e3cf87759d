"""Which segment an external network gets that names none."""

from fabric.network.binding import KIND
from fabric.network.collection import NETWORKS
from fabric.network.reach import physical_networks
from fabric.network.v1 import network_pb2 as pb
from fabric.runtime.store import Store
from fabric.type.v1 import node_pb2


def take_physical(store: Store, physical_network: str, spec: pb.NetworkSpec) -> None:
    """The physical network that leads outside, as long as a live node has it and no other network took it."""
    if not spec.external or spec.network_type or not physical_network:
        return
    if store.owner(NETWORKS, "segment", f"flat:{physical_network}"):
        return
    if any(life.agent == KIND and has_physical(life, physical_network) for life in store.lives()):
        spec.network_type, spec.physical_network = "flat", physical_network


def has_physical(life: node_pb2.Life, name: str) -> bool:
    """Whether the node says that it has the physical network."""
    return name in physical_networks(life)
