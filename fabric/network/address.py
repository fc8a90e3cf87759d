"""Addresses, pools and prefixes: pure decisions about text that people write."""

import functools
import ipaddress
import itertools
import re
from collections.abc import Iterable, Sequence

from fabric.network.v1 import subnet_pb2
from fabric.runtime.errors import AlreadyExists, InvalidArgument

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Range = tuple[int, int]  # first and last address, as numbers

AUTOMATIC = frozenset({"slaac", "dhcpv6-stateless"})  # address modes where hosts make their own address
MODES = frozenset({"", "slaac", "dhcpv6-stateful", "dhcpv6-stateless"})
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


def invalid(message: str, field: str, reason: str = "INVALID_INPUT") -> InvalidArgument:
    """What Neutron says of wrong input."""
    return InvalidArgument(f"Invalid input for operation: {message}.", reason=reason, field=field)


def network(text: str, field: str = "cidr") -> IpNetwork:
    """The network of a CIDR, host bits cleared. Raises InvalidArgument."""
    try:
        return _network(text)
    except ValueError as error:
        raise invalid(f"'{text}' is not a valid IP subnet", field) from error


@functools.lru_cache(maxsize=4096)
def _network(text: str) -> IpNetwork:
    if "%" in text:  # a scope means something on one host only
        raise ValueError(text)
    return ipaddress.ip_network(text, strict=False)


def address(text: str, field: str) -> IpAddress:
    """Raises InvalidArgument."""
    try:
        if "%" in text:
            raise ValueError(text)
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise invalid(f"'{text}' is not a valid IP address", field) from error


def mac(text: str) -> str:
    """Lower case with colons. Raises InvalidArgument for what is no unicast MAC address."""
    found = text.lower().replace("-", ":")
    if not _MAC.fullmatch(found) or found == "00:00:00:00:00:00":
        raise invalid(f"'{text}' is not a valid MAC address", "mac_address")
    if int(found[:2], 16) & 1:
        raise invalid(f"'{text}' is a multicast MAC address", "mac_address")
    return found


def eui64(prefix: str, mac_address: str) -> str:
    """The address that a host with this MAC makes in the prefix (RFC 4291, appendix A)."""
    octets = bytearray.fromhex(mac_address.replace(":", ""))
    octets[0] ^= 2
    interface = int.from_bytes(octets[:3] + b"\xff\xfe" + octets[3:], "big")
    return str(ipaddress.IPv6Address(int(_network(prefix).network_address) + interface))


def is_automatic(subnet: subnet_pb2.Subnet) -> bool:
    """Whether ports get their EUI-64 address of the subnet without being asked."""
    return subnet.spec.ipv6_address_mode in AUTOMATIC


def is_host(net: IpNetwork, ip: IpAddress) -> bool:
    """Whether a port may have the address: not the network's own, nor the broadcast address."""
    if ip not in net:
        return False
    if net.version == 4:
        return net.prefixlen >= 31 or ip not in (net.network_address, net.broadcast_address)
    return net.prefixlen >= 127 or ip != net.network_address


def default_gateway(net: IpNetwork) -> str:
    """The first address that a router may have."""
    if net.num_addresses == 1:
        return str(net.network_address)
    return str(net.network_address + 1)


def default_pools(net: IpNetwork, gateway_ip: str) -> list[Range]:
    """All addresses but the network's, the broadcast's and the gateway's."""
    first, last = int(net.network_address), int(net.broadcast_address)
    if first == last or first + 1 >= last - (net.version == 4):
        return [(first, last)]
    first, last = first + 1, last - (net.version == 4)
    gateway = ipaddress.ip_address(gateway_ip) if gateway_ip else None
    if gateway is None or gateway not in net:
        return [(first, last)]
    middle = int(gateway)
    return [(a, b) for a, b in ((first, middle - 1), (middle + 1, last)) if a <= b]


def text(number: int, version: int) -> str:
    """The address of a number."""
    return str(ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number))


def ranges(pools: Iterable[subnet_pb2.AllocationPool]) -> list[Range]:
    """Pools as numbers."""
    return [(int(ipaddress.ip_address(pool.start)), int(ipaddress.ip_address(pool.end))) for pool in pools]


def pools_of(found: Iterable[Range], version: int) -> list[subnet_pb2.AllocationPool]:
    """Numbers as pools."""
    return [
        subnet_pb2.AllocationPool(start=text(first, version), end=text(last, version))
        for first, last in found
    ]


def checked_pools(pools: Sequence[subnet_pb2.AllocationPool], net: IpNetwork) -> list[Range]:
    """The pools as sorted numbers. Raises InvalidArgument, AlreadyExists for overlaps."""
    found: list[Range] = []
    lowest, highest = int(net.network_address), int(net.broadcast_address)
    if net.version == 4 and net.prefixlen < 31:
        lowest, highest = lowest + 1, highest - 1
    elif net.version == 6 and net.prefixlen < 127:
        lowest += 1
    for pool in pools:
        shown = f"{pool.start}-{pool.end}"
        first, last = address(pool.start, "allocation_pools"), address(pool.end, "allocation_pools")
        if first.version != net.version or last.version != net.version or int(first) > int(last):
            raise InvalidArgument(
                f"The allocation pool {shown} is not valid.",
                reason="INVALID_ALLOCATION_POOL",
                field="allocation_pools",
            )
        if int(first) < lowest or int(last) > highest:
            raise InvalidArgument(
                f"The allocation pool {shown} spans beyond the subnet cidr {net}.",
                reason="OUT_OF_BOUNDS_ALLOCATION_POOL",
                field="allocation_pools",
            )
        found.append((int(first), int(last)))
    found.sort()
    for before, after in itertools.pairwise(found):
        if after[0] <= before[1]:
            raise AlreadyExists(
                f"Found overlapping allocation pools: {text(after[0], net.version)} for subnet {net}.",
                reason="OVERLAPPING_ALLOCATION_POOLS",
                field="allocation_pools",
            )
    return found
