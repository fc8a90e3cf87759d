"""Ports of other nodes: where frames to them go, and what they are called."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from agents.network.driver import SwitchDriver
from fabric.network.v1 import neighbor_pb2, port_pb2
from fabric.runtime.node import Wanted


class Neighbors:
    """Its reconcile function, and the names of each network's neighbors."""

    def __init__(
        self,
        store: Wanted[neighbor_pb2.Neighbor],
        switch: SwitchDriver,
        renamed: Callable[[str], None],
    ) -> None:
        """renamed: is called with the id of a network whose names have changed."""
        self._store = store
        self._switch = switch
        self._renamed = renamed
        self._names: dict[str, port_pb2.Port] = {}
        self._by_network: defaultdict[str, dict[str, port_pb2.Port]] = defaultdict(dict)

    def adopt(self) -> None:
        """Know all that are wanted before anything is written."""
        wanted = ((id_, self._store.get(id_)) for id_ in self._store.ids())
        neighbors = {id_: neighbor for id_, neighbor in wanted if neighbor is not None}
        self._switch.adopt(neighbors)
        for port_id, neighbor in neighbors.items():
            self._name(port_id, neighbor)

    def of_network(self, network_id: str) -> list[port_pb2.Port]:
        """As much of each neighbor as DNS needs: its addresses are of no subnet, so that DHCP serves it not."""
        return list(self._by_network.get(network_id, {}).values())

    def count(self, network_id: str) -> int:
        """How many they are."""
        return len(self._by_network.get(network_id, {}))

    async def reconcile(self, port_ids: Iterable[str]) -> None:
        """Where some ports of other nodes are."""
        neighbors = {port_id: self._store.get(port_id) for port_id in port_ids}
        await self._switch.ensure_neighbors(neighbors)
        renamed = set[str]()
        for port_id, neighbor in neighbors.items():
            renamed |= self._name(port_id, neighbor)
        for network_id in renamed:
            self._renamed(network_id)

    def _name(self, port_id: str, neighbor: neighbor_pb2.Neighbor | None) -> set[str]:
        """Returns the networks whose names are others now."""
        before, after = self._names.get(port_id), None if neighbor is None else _named(neighbor)
        if before == after:
            return set()
        if before is not None:
            del self._names[port_id], self._by_network[before.spec.network_id][port_id]
        if after is not None:
            self._names[port_id] = self._by_network[after.spec.network_id][port_id] = after
        return {port.spec.network_id for port in (before, after) if port is not None}


def _named(neighbor: neighbor_pb2.Neighbor) -> port_pb2.Port:
    port = port_pb2.Port()
    port.meta.id = neighbor.port_id
    port.spec.network_id, port.spec.mac_address = neighbor.network_id, neighbor.mac_address
    port.spec.dns_name = neighbor.dns_name
    port.spec.fixed_ips.extend(port_pb2.FixedIp(ip_address=address) for address in neighbor.addresses)
    return port
