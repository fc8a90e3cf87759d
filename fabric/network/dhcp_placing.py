"""Where DHCP is: on each node that has ports of the network; its port is on one of them, or else on any."""

import hashlib
import uuid
from collections.abc import Collection

from fabric.network.binding import KIND
from fabric.network.collection import AGENTS, DHCP_OWNER, PORTS, SUBNETS, agent_id, marked
from fabric.network.reach import missed
from fabric.network.v1 import network_pb2, subnet_pb2
from fabric.runtime.store import Store

_NAMESPACE = uuid.UUID("5a0f6c1c-1d0a-4b7e-8d0c-7b1d2f6f7c11")


def dhcp_port_id(network_id: str) -> str:
    """The id of a network's DHCP port: always the same."""
    return str(uuid.uuid5(_NAMESPACE, network_id))


def choose(
    network: network_pb2.Network, hosts: Collection[str], living: Collection[str], current: str = ""
) -> str:
    """The node of its DHCP port: where it is, as long as that will do; empty: no node can have it.

    hosts: the nodes that have ports of the network. Everybody who asks without a current one is told the same.
    """
    possible = set(living) - set(network.spec.nodes_without_dhcp)
    best = possible & {*hosts, *network.spec.nodes_with_dhcp} or possible
    if current in best:
        return current
    return max(best, key=lambda node: _weight(network.meta.id, node), default="")


def _weight(network_id: str, node: str) -> bytes:
    return hashlib.sha256(f"{network_id} {node}".encode()).digest()


def served(network: network_pb2.Network, hosts: Collection[str], home: str) -> set[str]:
    """The nodes that serve it; home: of its DHCP port."""
    return {*hosts, *network.spec.nodes_with_dhcp, home} - {*network.spec.nodes_without_dhcp, ""}


def living(store: Store, network: network_pb2.Network) -> set[str]:
    """The nodes that could have the network."""
    needs = [(network, frozenset[str]())]
    found = {life.node for life in store.lives() if life.agent == KIND and missed(life, needs) is None}
    return {node for node in found if _takes_more(store, node)}


def _takes_more(store: Store, node: str) -> bool:
    agent = store.find(AGENTS, agent_id(node))
    return agent is None or agent.spec.admin_state_up


def dhcp_subnets(store: Store, network_id: str) -> list[subnet_pb2.Subnet]:
    """Those that DHCP serves."""
    found = store.table(SUBNETS).by("network", network_id)
    return [subnet for subnet in found if subnet.spec.enable_dhcp and not marked(subnet)]


def nodes_of(store: Store, network: network_pb2.Network) -> set[str]:
    """The nodes that serve the network now, or will at once."""
    if not dhcp_subnets(store, network.meta.id):
        return served(network, (), "")
    hosts = set()
    for port in store.table(PORTS).by("network", network.meta.id):
        if port.spec.device_owner != DHCP_OWNER and not marked(port):
            hosts.update(PORTS.nodes(port))
    known = store.find(PORTS, dhcp_port_id(network.meta.id))
    current = known.spec.node if known is not None else ""
    return served(network, hosts, current or choose(network, hosts, living(store, network)))
