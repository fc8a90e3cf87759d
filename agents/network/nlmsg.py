"""Netlink messages as bytes (linux/netlink.h), for answers of which decoding all would cost too much."""

import struct
from collections.abc import Iterator
from socket import socket

REQUEST, ACK, DUMP, CREATE = 1, 4, 0x300, 0x600  # what is made was not there before
NESTED = 0x8000
_ERROR, _DONE = 2, 3
_BUFFER = 1 << 18


def message(kind: int, flags: int, body: bytes) -> bytes:
    """A request; kind: the type of the message."""
    return struct.pack("=IHHII", 16 + len(body), kind, flags | REQUEST, 1, 0) + body


def attribute(kind: int, payload: bytes) -> bytes:
    """Padded, to be followed by another."""
    raw = struct.pack("=HH", 4 + len(payload), kind) + payload
    return raw + bytes(-len(raw) % 4)


def answers(handle: socket) -> Iterator[bytes]:
    """Payloads until the end of a dump or an acknowledgement. Raises OSError as the kernel says."""
    while True:
        data = handle.recv(_BUFFER)
        at = 0
        while at < len(data):
            length, kind = struct.unpack_from("=IH", data, at)
            payload = data[at + 16 : at + length]
            at += (length + 3) & ~3
            if kind == _DONE:
                return
            if kind == _ERROR:
                (code,) = struct.unpack_from("=i", payload)
                if code:
                    raise OSError(-code, "netlink")
                return
            yield payload


def attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """By kind, from this offset on."""
    found = {}
    while start + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, start)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[start + 4 : start + length]
        start += (length + 3) & ~3
    return found
