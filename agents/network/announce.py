"""Tell a link at which MAC an address is now: gratuitous ARP (RFC 5227) and unsolicited advertisements (RFC 4861)."""

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterable

_ALL_NODES = "ff02::1"
_OVERRIDE = 0x20000000
_ROUTER = 0x80000000
_REPLY = 2


def announce(device: str, mac: str, addresses: Iterable[str]) -> None:
    """Runs in the namespace that has the device; addresses without prefix length."""
    raw = bytes.fromhex(mac.replace(":", ""))
    for address in addresses:
        with contextlib.suppress(OSError):  # the link may be down: it is not heard then anyway
            if ":" in address:
                _advertise(device, raw, address)
            else:
                _send_arp(device, raw, address)


def _send_arp(device: str, mac: bytes, address: str) -> None:
    """As a reply: a request would be answered by bridges of other nodes, and frames to the MAC then sent there."""
    packed = socket.inet_aton(address)
    frame = b"\xff" * 6 + mac + b"\x08\x06"
    frame += struct.pack("!HHBBH", 1, 0x0800, 6, 4, _REPLY) + (mac + packed) * 2
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as handle:
        handle.bind((device, 0))
        handle.send(frame)


def _advertise(device: str, mac: bytes, address: str) -> None:
    body = struct.pack("!BBHI", 136, 0, 0, _ROUTER | _OVERRIDE) + ipaddress.IPv6Address(address).packed
    body += b"\x02\x01" + mac  # target link-layer address
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as handle:
        handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        handle.sendto(body, (_ALL_NODES, 0, 0, socket.if_nametoindex(device)))
