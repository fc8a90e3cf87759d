"""Ports of other nodes: where frames to them go, and what they are called."""

from collections.abc import Callable
from datetime import timedelta

from agents.network.directory import PortDirectory
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
        self._names = PortDirectory()

    def adopt(self) -> None:
        """Know all that are wanted before anything is written."""
        wanted = ((id_, self._store.get(id_)) for id_ in self._store.ids())
        neighbors = {id_: neighbor for id_, neighbor in wanted if neighbor is not None}
        self._switch.adopt(neighbors)
        for neighbor in neighbors.values():
            self._names.put(_named(neighbor))

    def of_network(self, network_id: str) -> list[port_pb2.Port]:
        """As much of each neighbor as DNS needs: its addresses are of no subnet, so that DHCP serves it not."""
        return self._names.of_network(network_id)

    async def reconcile(self, port_id: str) -> timedelta | None:
        """Where one port of another node is."""
        neighbor = self._store.get(port_id)
        before = self._names.get(port_id)
        if neighbor is None:
            await self._switch.remove_neighbor(port_id)
            self._names.forget(port_id)
        else:
            await self._switch.ensure_neighbor(port_id, neighbor)
            self._names.put(_named(neighbor))
        after = self._names.get(port_id)
        if before is not after:
            for network_id in {port.spec.network_id for port in (before, after) if port is not None}:
                self._renamed(network_id)
        return None


def _named(neighbor: neighbor_pb2.Neighbor) -> port_pb2.Port:
    port = port_pb2.Port()
    port.meta.id = neighbor.port_id
    port.spec.network_id, port.spec.mac_address = neighbor.network_id, neighbor.mac_address
    port.spec.dns_name = neighbor.dns_name
    port.spec.fixed_ips.extend(port_pb2.FixedIp(ip_address=address) for address in neighbor.addresses)
    return port
