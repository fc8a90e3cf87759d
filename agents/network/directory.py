"""Which ports the node has, by network and by address: what DHCP serves and whom metadata knows."""

import ipaddress
from collections import defaultdict

from fabric.network.v1 import port_pb2


def link_local(mac: str) -> str:
    """The IPv6 link-local address that a MAC makes (RFC 4291, appendix A)."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 2
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + octets[:3] + b"\xff\xfe" + octets[3:]))


class PortDirectory:
    """Holds the newest want of each port that this node has or is making."""

    def __init__(self) -> None:
        self._ports: dict[str, port_pb2.Port] = {}
        self._by_network: defaultdict[str, set[str]] = defaultdict(set)
        self._by_address: dict[tuple[str, str], str] = {}

    def put(self, port: port_pb2.Port) -> None:
        """Know the port by its addresses of now."""
        if self._ports.get(port.meta.id) == port:
            return
        self.forget(port.meta.id)
        self._ports[port.meta.id] = port
        self._by_network[port.spec.network_id].add(port.meta.id)
        for address in _addresses(port):
            self._by_address[port.spec.network_id, address] = port.meta.id

    def forget(self, port_id: str) -> port_pb2.Port | None:
        """Returns what was known of it."""
        port = self._ports.pop(port_id, None)
        if port is None:
            return None
        self._by_network[port.spec.network_id].discard(port_id)
        for address in _addresses(port):
            if self._by_address.get((port.spec.network_id, address)) == port_id:
                del self._by_address[port.spec.network_id, address]
        return port

    def get(self, port_id: str) -> port_pb2.Port | None:
        """What is known of the port."""
        return self._ports.get(port_id)

    def of_network(self, network_id: str) -> list[port_pb2.Port]:
        """All ports of the network on this node."""
        return [self._ports[port_id] for port_id in self._by_network.get(network_id, ())]

    def ids(self) -> list[str]:
        """All ports of the node."""
        return list(self._ports)

    def find(self, network_id: str, address: str) -> str | None:
        """The port that has the address; None: no port of this node."""
        return self._by_address.get((network_id, address))


def _addresses(port: port_pb2.Port) -> list[str]:
    addresses = [
        str(ipaddress.ip_address(fixed.ip_address)) for fixed in port.spec.fixed_ips if fixed.ip_address
    ]
    return [*addresses, link_local(port.spec.mac_address)]
