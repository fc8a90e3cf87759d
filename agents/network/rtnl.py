"""Links, addresses and routes as the kernel has them (rtnetlink(7)), of the namespace of the calling thread; blocking.

An agent that starts again asks for all of them and writes nothing: questions are read as bytes, and pyroute2, of
which one answer costs a millisecond, is only there to write.
"""

import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from pyroute2 import IPRoute

from agents.network import nlmsg

_NEW_QUEUE, _KIND, _OPTIONS = 36, 1, 2
_GET_LINK, _GET_ADDRESS, _GET_ROUTE, _GET_RULE = 18, 22, 26, 34
_LINK_ADDRESS, _NAME, _MTU, _QDISC, _MASTER, _LINK_INFO, _ALIAS, _MASK = 1, 3, 4, 6, 10, 18, 20, 29
_INFO_KIND, _INFO_DATA, _INFO_MEMBER = 1, 2, 5
_NO_STATISTICS = struct.pack("=I", 8)
_UP = 0x1
MAIN, _UNICAST = 254, 1
_PRIORITY, _MARK, _SUPPRESSED = 6, 10, 14
_DESTINATION, _INTERFACE, _GATEWAY, _MULTIPATH = 1, 4, 5, 9


class Writer:
    """A socket of pyroute2, made when something is to be written."""

    def __init__(self) -> None:
        self._netlink: IPRoute | None = None

    @property
    def ip(self) -> IPRoute:
        if self._netlink is None:
            self._netlink = IPRoute()
        return self._netlink

    def close(self) -> None:
        """What was written stays."""
        if self._netlink is not None:
            self._netlink.close()


@dataclass(frozen=True, slots=True)
class Link:
    """master: the index of the bridge, 0: none."""

    index: int
    name: str
    up: bool
    mac: str
    mtu: int
    qdisc: str
    master: int
    alias: str
    info: bytes

    @property
    def kind(self) -> str:
        """Such as bridge, veth or vlan."""
        return nlmsg.attributes(self.info).get(_INFO_KIND, b"").rstrip(b"\0").decode()

    def data(self) -> dict[int, bytes]:
        """What is special to its kind (IFLA_INFO_DATA)."""
        return self._nested(_INFO_DATA)

    def member(self) -> dict[int, bytes]:
        """How it is a member of its bridge (IFLA_BRPORT_*)."""
        return self._nested(_INFO_MEMBER)

    def _nested(self, kind: int) -> dict[int, bytes]:
        return nlmsg.attributes(nlmsg.attributes(self.info).get(kind, b""))


@dataclass(frozen=True, slots=True)
class Route:
    """destination: with prefix length, or default; hops: gateway (empty: there is none) and interface."""

    destination: str
    hops: frozenset[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Rule:
    """Which table is asked for what has the mark (0: for all); links_only: its default route does not count."""

    priority: int
    mark: int
    table: int
    links_only: bool = False


def find(device: str) -> Link | None:
    """None: there is no such device."""
    asked = nlmsg.attribute(_NAME, device.encode() + b"\0") + nlmsg.attribute(_MASK, _NO_STATISTICS)
    try:
        for payload in _ask(_GET_LINK, nlmsg.ACK, bytes(16) + asked):
            return _link(payload)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
    return None


def links() -> list[Link]:
    """All of them."""
    body = bytes(16) + nlmsg.attribute(_MASK, _NO_STATISTICS)
    return [_link(payload) for payload in _ask(_GET_LINK, nlmsg.DUMP, body)]


def addresses(index: int | None = None) -> list[tuple[int, str]]:
    """Of one link, or of all: its index, and the address with prefix length."""
    found = []
    for payload in _ask(_GET_ADDRESS, nlmsg.DUMP, bytes(8)):
        _, length, _, _, owner = struct.unpack_from("=BBBBI", payload)
        if index in (None, owner):
            packed = nlmsg.attributes(payload, 8)[_LINK_ADDRESS]
            found.append((owner, f"{ipaddress.ip_address(packed)}/{length}"))
    return found


def routes(family: int, protocol: int | None = None, table: int = MAIN) -> Iterator[Route]:
    """Unicast routes of a table; protocol: only those that were made by this one."""
    for payload in _ask(_GET_ROUTE, nlmsg.DUMP, struct.pack("=B11x", family)):
        _, length, _, _, number, origin, _, kind = struct.unpack_from("=8B", payload)
        if (number, kind) != (table, _UNICAST) or protocol not in (None, origin):
            continue
        found = nlmsg.attributes(payload, 12)
        destination = f"{_text(found[_DESTINATION])}/{length}" if _DESTINATION in found else "default"
        yield Route(destination, frozenset(_hops(found)))


def rules(family: int) -> list[Rule]:
    """Which tables are asked."""
    found = []
    for payload in _ask(_GET_RULE, nlmsg.DUMP, struct.pack("=B11x", family)):
        parts = nlmsg.attributes(payload, 12)
        suppressed = parts.get(_SUPPRESSED, b"\xff" * 4) == bytes(4)
        found.append(Rule(_number(parts, _PRIORITY), _number(parts, _MARK), payload[4], suppressed))
    return found


def add_fifo(index: int, queue: int, parent: int, limit_bytes: int) -> None:
    """Let a class of the link's queue keep so much, in order (tc-bfifo(8), which pyroute2 does not know)."""
    head = struct.pack("=B3xiIII", socket.AF_UNSPEC, index, queue, parent, 0)
    facts = nlmsg.attribute(_KIND, b"bfifo\0") + nlmsg.attribute(_OPTIONS, struct.pack("=I", limit_bytes))
    _ask(_NEW_QUEUE, nlmsg.ACK | nlmsg.CREATE, head + facts)


def _hops(parts: dict[int, bytes]) -> Iterator[tuple[str, int]]:
    """Of a route: its one, or those that it is shared among."""
    rest = parts.get(_MULTIPATH, b"")
    if not rest:
        yield _text(parts.get(_GATEWAY, b"")), _number(parts, _INTERFACE)
    while rest:
        length, index = struct.unpack_from("=H2xi", rest)
        yield _text(nlmsg.attributes(rest[:length], 8).get(_GATEWAY, b"")), index
        rest = rest[(length + 3) & ~3 :]


def _number(parts: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(parts.get(kind, b""), sys.byteorder)


def _ask(kind: int, flags: int, body: bytes) -> list[bytes]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as handle:
        handle.send(nlmsg.message(kind, flags, body))
        return list(nlmsg.answers(handle))


def _link(payload: bytes) -> Link:
    index, flags = struct.unpack_from("=4xiI", payload)
    found = nlmsg.attributes(payload, 16)
    return Link(
        index=index,
        name=found[_NAME].rstrip(b"\0").decode(),
        up=bool(flags & _UP),
        mac=found.get(_LINK_ADDRESS, b"").hex(":"),
        mtu=_number(found, _MTU),
        qdisc=found.get(_QDISC, b"").rstrip(b"\0").decode(),
        master=_number(found, _MASTER),
        alias=found.get(_ALIAS, b"").rstrip(b"\0").decode(),
        info=found.get(_LINK_INFO, b""),
    )


def _text(packed: bytes) -> str:
    return str(ipaddress.ip_address(packed)) if packed else ""
