"""Where a port is: its node's agent holds it, by a finalizer, from the moment it is told of it."""

from fabric.network.collection import AGENTS
from fabric.network.v1 import port_pb2 as pb
from fabric.runtime.store import Store

HOLDER = "agent"
KIND = "network"  # of the agents that hold ports


def bind(new: pb.Port, old: pb.Port | None) -> None:
    """Make the finalizers of a changed port say who holds it."""
    if old is not None and new.spec.node == old.spec.node:
        return
    kept = [name for name in new.meta.finalizers if name != HOLDER]
    new.meta.finalizers[:] = [*kept, HOLDER] if new.spec.node else kept


def is_known(store: Store, node: str) -> bool:
    """Whether the node has, or had, an agent that may hold something."""
    if any(agent.spec.node == node for agent in store.table(AGENTS)):
        return True
    return store.life(node, KIND) is not None
