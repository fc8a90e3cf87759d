"""Packets that nftables hands to a group of NFLOG (linux/netfilter/nfnetlink_log.h), as they come.

A small reader of its own: what is asked of the kernel is one socket, two settings and a few attributes.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from agents.network import netns
from fabric.runtime.errors import Unavailable

log = structlog.get_logger(__name__)

_NETLINK_NETFILTER = 12
_ULOG = 4 << 8
_PACKET, _CONFIG = _ULOG | 0, _ULOG | 1
_REQUEST_ACK = 1 | 4
_ERROR = 2
_CFG_CMD, _CFG_MODE, _CFG_TIMEOUT = 1, 2, 4
_BIND, _COPY_PACKET = 1, 2
_HDR, _MARK, _PAYLOAD, _PREFIX = 1, 2, 9, 10
_BUFFER = 1 << 20
PREROUTING = 0  # linux/netfilter.h


@dataclass(frozen=True)
class Packet:
    """hook: as in linux/netfilter.h. payload: from the IP header on."""

    hook: int
    mark: int
    prefix: str
    payload: bytes


class NflogReader:
    """Listens in the network namespace of the thread that makes it."""

    def __init__(self, group: int, snap_bytes: int = 128) -> None:
        """Raises Unavailable: the kernel has no NFLOG, or somebody else listens to the group."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.bind((0, 0))
            self._socket.settimeout(2)
            self._configure(group, _attribute(_CFG_CMD, struct.pack("B", _BIND)))
            self._configure(group, _attribute(_CFG_MODE, struct.pack(">IBB", snap_bytes, _COPY_PACKET, 0)))
            self._configure(group, _attribute(_CFG_TIMEOUT, struct.pack(">I", 10)))  # hundredths of a second
        except OSError as error:
            self._socket.close()
            raise Unavailable(
                f"packets cannot be logged: {error.strerror}", reason="NFLOG_REFUSED"
            ) from error
        self._socket.setblocking(False)

    def listen(self, callback: Callable[[Packet], None]) -> None:
        """Call back in the running event loop until closed."""

        def ready() -> None:
            with contextlib.suppress(BlockingIOError, OSError):  # ENOBUFS: the kernel had to leave some out
                while True:
                    for packet in _packets(self._socket.recv(_BUFFER)):
                        callback(packet)

        asyncio.get_running_loop().add_reader(self._socket, ready)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # there is no loop any more
            asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _configure(self, group: int, attribute: bytes) -> None:
        body = struct.pack(">BBH", 0, 0, group) + attribute
        self._socket.send(struct.pack("IHHII", 16 + len(body), _CONFIG, _REQUEST_ACK, 1, 0) + body)
        while True:
            for kind, content in _messages(self._socket.recv(_BUFFER)):
                if kind == _ERROR:
                    if code := -struct.unpack_from("i", content)[0]:
                        raise OSError(code, "the kernel refused")
                    return


def _packets(data: bytes) -> Iterator[Packet]:
    for kind, content in _messages(data):
        if kind != _PACKET:
            continue
        found = dict(_attributes(content[4:]))
        if _HDR in found and _PAYLOAD in found:
            mark = struct.unpack(">I", found[_MARK])[0] if _MARK in found else 0
            prefix = found.get(_PREFIX, b"").rstrip(b"\0").decode(errors="replace")
            yield Packet(found[_HDR][2], mark, prefix, found[_PAYLOAD])


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each netlink message."""
    while len(data) >= 16:
        length, kind = struct.unpack_from("IH", data)
        if length < 16:
            return
        yield kind, data[16:length]
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def _attribute(kind: int, value: bytes) -> bytes:
    padding = b"\0" * (-len(value) % 4)
    return struct.pack("HH", 4 + len(value), kind) + value + padding


def is_possible() -> bool:
    """Whether the kernel can, tried in a namespace that goes at once; blocking."""

    def attempt() -> None:
        NflogReader(1).close()

    try:
        netns.scratch(attempt)
    except (Unavailable, OSError) as error:
        log.warning("the node cannot log packets", problem=str(error))
        return False
    return True
