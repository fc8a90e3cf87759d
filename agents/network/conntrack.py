"""The kernel's table of flows, by netlink (linux/netfilter/nfnetlink_conntrack.h): list and delete flows.

Read and written as bytes: a node may track many thousands of flows, and little of them is of interest.
"""

import ipaddress
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from agents.network import nlmsg
from agents.network.group_rule import ICMP, ICMPV6, Address, Flow

_NETFILTER = 12
_CTNETLINK, _GET, _DELETE = 1, 1, 2
_TUPLE_ORIG, _TUPLE_REPLY, _ZONE = 1, 2, 18


@dataclass(frozen=True)
class Tracked:
    """A flow as the kernel has it; raw is its first tuple, by which it is deleted."""

    zone: int
    family: int
    flow: Flow
    raw: bytes
    answered_to: Address  # its source, unless that is translated


def flows(zones: set[int]) -> list[Tracked]:
    """All flows of the zones; blocking."""
    found = []
    with _socket() as handle:
        for family in (socket.AF_INET, socket.AF_INET6):
            handle.send(_message(_GET, nlmsg.DUMP, family, b""))
            for payload in nlmsg.answers(handle):
                tracked = _parse(payload)
                if tracked is not None and tracked.zone in zones:
                    found.append(tracked)
    return found


def delete(gone: Iterable[Tracked]) -> int:
    """Forget the flows; their next packets are new ones. Returns how many there were. Blocking."""
    count = 0
    with _socket() as handle:
        for tracked in gone:
            attributes = nlmsg.attribute(_TUPLE_ORIG | nlmsg.NESTED, tracked.raw)
            attributes += nlmsg.attribute(_ZONE, struct.pack("!H", tracked.zone))
            handle.send(_message(_DELETE, nlmsg.ACK, tracked.family, attributes))
            try:
                for _ in nlmsg.answers(handle):
                    pass
                count += 1
            except FileNotFoundError:
                continue  # it ended by itself
    return count


def _socket() -> socket.socket:
    handle = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    handle.bind((0, 0))
    return handle


def _message(kind: int, flags: int, family: int, attributes: bytes) -> bytes:
    return nlmsg.message(_CTNETLINK << 8 | kind, flags, struct.pack("!BBH", family, 0, 0) + attributes)


def _parse(payload: bytes) -> Tracked | None:
    """None: a flow without the parts that rules speak of."""
    attributes = nlmsg.attributes(payload, 4)
    raw = attributes[_TUPLE_ORIG]
    first = nlmsg.attributes(raw)
    protocol = nlmsg.attributes(first[2])
    source, destination = _ends(first)
    number = protocol[1][0]
    icmp = {ICMP: (4, 5, 6), ICMPV6: (7, 8, 9)}.get(number)
    return Tracked(
        zone=int.from_bytes(attributes.get(_ZONE, b"\0\0"), "big"),
        family=payload[0],
        raw=raw,
        flow=Flow(
            source=source,
            destination=destination,
            protocol=number,
            source_port=int.from_bytes(protocol.get(2, b""), "big"),
            destination_port=int.from_bytes(protocol.get(3, b""), "big"),
            icmp_type=protocol[icmp[1]][0] if icmp and icmp[1] in protocol else 0,
            icmp_code=protocol[icmp[2]][0] if icmp and icmp[2] in protocol else 0,
        ),
        answered_to=_ends(nlmsg.attributes(attributes[_TUPLE_REPLY]))[1],
    )


def _ends(tuple_: dict[int, bytes]) -> tuple[Address, Address]:
    """Source and destination."""
    found = nlmsg.attributes(tuple_[1])
    source, destination = (found[1], found[2]) if 1 in found else (found[3], found[4])
    return ipaddress.ip_address(source), ipaddress.ip_address(destination)
