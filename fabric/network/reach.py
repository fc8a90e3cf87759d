"""Which networks a node reaches. No I/O."""

from collections.abc import Iterable

from google.protobuf.struct_pb2 import ListValue, Struct

from fabric.network import segment_list
from fabric.network.v1 import network_pb2
from fabric.type.v1 import node_pb2

# a network, and its segments one of which must be used; none: any will do
Need = tuple[network_pb2.Network, frozenset[str]]


def physical_networks(life: node_pb2.Life) -> frozenset[str]:
    """Those that the node names, whether as a list or with their interfaces."""
    if "physical_networks" not in life.detail:
        return frozenset()
    said = life.detail["physical_networks"]
    return frozenset(map(str, said)) if isinstance(said, Struct | ListValue) else frozenset()


def missed(life: node_pb2.Life, needs: Iterable[Need]) -> str | None:
    """The id of a network that the node does not reach by a segment that will do; None: it reaches all of them.

    One that does not say what it has, has any.
    """
    if "physical_networks" not in life.detail:
        return None
    reached = physical_networks(life)
    for network, segments in needs:
        used = segment_list.used(network, reached)
        if used is None or (segments and used.meta.id not in segments):
            return network.meta.id
    return None
