"""Which nodes need what: counted from the bound ports, one change at a time. No I/O."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from fabric.network.collection import DHCP_OWNER, PORTS, marked
from fabric.network.v1 import port_pb2


@dataclass(frozen=True)
class Place:
    """What one port says of where it is and whose rules it follows."""

    network: str
    groups: frozenset[str]
    nodes: frozenset[str]  # none: bound nowhere, or on its way out; two: it is moving


def place(port: port_pb2.Port) -> Place:
    """Of a port; the DHCP port is wherever its network is."""
    bound = not marked(port) and port.spec.device_owner != DHCP_OWNER
    nodes = frozenset(PORTS.nodes(port)) if bound else frozenset[str]()
    return Place(port.spec.network_id, frozenset(port.spec.security_group_ids), nodes)


class Places:
    """The nodes of each network and of each security group."""

    def __init__(self) -> None:
        self._ports: dict[str, Place] = {}
        self._networks: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._groups: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def of(self, port_id: str) -> frozenset[str]:
        """The nodes that host the port."""
        known = self._ports.get(port_id)
        return frozenset() if known is None else known.nodes

    def networks(self, network_id: str) -> set[str]:
        """The nodes that host ports of the network."""
        return set(self._networks.get(network_id, ()))

    def groups(self, group_id: str) -> set[str]:
        """The nodes that host ports of the group."""
        return set(self._groups.get(group_id, ()))

    def put(self, port_id: str, new: Place | None) -> tuple[set[str], set[str], set[str]]:
        """The port is there now (None: gone).

        Returns the networks and groups whose nodes changed, and the groups that have the port or had it.
        """
        old = self._ports.pop(port_id, None)
        if new is not None:
            self._ports[port_id] = new
        members = set(old.groups if old else ()) | set(new.groups if new else ())
        moved_networks: set[str] = set()
        moved_groups: set[str] = set()
        for before, sign in ((old, -1), (new, 1)):
            if before is None:
                continue
            for node in before.nodes:
                moved_networks |= _count(self._networks, [before.network], node, sign)
                moved_groups |= _count(self._groups, before.groups, node, sign)
        return moved_networks, moved_groups, members


def _count(counters: defaultdict[str, Counter[str]], keys: Iterable[str], node: str, sign: int) -> set[str]:
    """Count the node for each key; returns the keys for which it came or went."""
    turned = set()
    for key in keys:
        counter = counters[key]
        counter[node] += sign
        if counter[node] == 0:
            del counter[node]
            turned.add(key)
        elif sign > 0 and counter[node] == 1:
            turned.add(key)
        if not counter:
            del counters[key]
    return turned
