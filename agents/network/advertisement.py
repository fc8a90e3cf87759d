"""What routers advertise on a link (RFC 4861, section 4.2; RFC 8106). No I/O."""

import ipaddress
import struct
from collections.abc import Iterator

from agents.network.mtu import mtu_of
from fabric.network.v1 import router_pb2, subnet_pb2

SOLICITATION, ADVERTISEMENT = 133, 134
INTERVAL_S = 200.0  # no more than a third of the lifetime
_LIFETIME_S = 1800
_VALID_S, _PREFERRED_S = 86400, 14400
_HOP_LIMIT = 64
_MANAGED, _OTHER = 0x80, 0x40  # addresses, other configuration: by DHCPv6
_ON_LINK, _AUTONOMOUS = 0x80, 0x40


def advertisement(port: router_pb2.RouterPort) -> bytes | None:
    """The ICMPv6 message without its checksum; None: the router is silent there."""
    subnets = [subnet for subnet in port.subnets if subnet.spec.ipv6_ra_mode and not port.gateway]
    if not subnets:
        return None
    modes = {subnet.spec.ipv6_ra_mode for subnet in subnets}
    flags = (_MANAGED if "dhcpv6-stateful" in modes else 0) | (_OTHER if modes != {"slaac"} else 0)
    own = {fixed.ip_address for fixed in port.port.spec.fixed_ips}
    leads = any(subnet.spec.gateway_ip in own for subnet in subnets)
    head = struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, _HOP_LIMIT, flags, _LIFETIME_S if leads else 0, 0, 0)
    mac = bytes.fromhex(port.port.spec.mac_address.replace(":", ""))
    mtu = struct.pack("!BBHI", 5, 1, 0, mtu_of(port.network))
    return b"".join([head, b"\x01\x01" + mac, mtu, *map(_prefix, subnets), *_resolvers(subnets)])


def _prefix(subnet: subnet_pb2.Subnet) -> bytes:
    network = ipaddress.IPv6Network(subnet.spec.cidr)
    flags = _ON_LINK | (0 if subnet.spec.ipv6_ra_mode == "dhcpv6-stateful" else _AUTONOMOUS)
    head = struct.pack("!BBBBIII", 3, 4, network.prefixlen, flags, _VALID_S, _PREFERRED_S, 0)
    return head + network.network_address.packed


def _resolvers(subnets: list[subnet_pb2.Subnet]) -> Iterator[bytes]:
    """Those that the subnets name; hosts that ask DHCPv6 are told there."""
    named = [
        server
        for subnet in subnets
        if subnet.spec.ipv6_ra_mode == "slaac"
        for server in subnet.spec.dns_nameservers
        if ":" in server
    ]
    if named:
        packed = b"".join(ipaddress.IPv6Address(server).packed for server in dict.fromkeys(named))
        yield struct.pack("!BBHI", 25, 1 + len(packed) // 8, 0, _LIFETIME_S) + packed
