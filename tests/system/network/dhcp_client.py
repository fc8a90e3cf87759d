"""DHCPv4 and DNS clients, as small as a test needs them; they run inside a guest's namespace."""

import contextlib
import ipaddress
import os
import socket
import struct
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Offer:
    """What the server said."""

    kind: int  # 2 offer, 5 ack, 6 nak
    address: str
    options: dict[int, bytes]

    def addresses(self, option: int) -> list[str]:
        raw = self.options.get(option, b"")
        return [str(ipaddress.IPv4Address(raw[i : i + 4])) for i in range(0, len(raw), 4)]


def obtain(mac: str, timeout_s: float = 10.0) -> Offer | None:
    """DISCOVER, OFFER, REQUEST, ACK; None: nobody answered."""
    offer = _ask(mac, 1, b"", timeout_s)
    if offer is None:
        return None
    chosen = b"\x32\x04" + socket.inet_aton(offer.address) + b"\x36\x04" + offer.options[54]
    return _ask(mac, 3, chosen, timeout_s)


def _ask(mac: str, kind: int, options: bytes, timeout_s: float) -> Offer | None:
    transaction = os.urandom(4)
    hardware = bytes.fromhex(mac.replace(":", ""))
    head = struct.pack("!BBBB4sHH16x16s192x", 1, 1, 6, 0, transaction, 0, 0x8000, hardware)
    wanted = b"\x37\x08" + bytes([1, 3, 6, 12, 15, 26, 51, 121])
    message = head + b"\x63\x82\x53\x63" + bytes([53, 1, kind]) + options + wanted + b"\xff"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        handle.bind(("0.0.0.0", 68))
        handle.settimeout(0.5)
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                handle.sendto(message, ("255.255.255.255", 67))
                answer = handle.recv(2000)
                if answer[4:8] == transaction:
                    return _parse(answer)
    return None


def _parse(answer: bytes) -> Offer:
    options: dict[int, bytes] = {}
    rest = answer[240:]
    while rest and rest[0] != 255:
        if rest[0] == 0:
            rest = rest[1:]
            continue
        options[rest[0]] = rest[2 : 2 + rest[1]]
        rest = rest[2 + rest[1] :]
    return Offer(options[53][0], str(ipaddress.IPv4Address(answer[16:20])), options)


def resolve(server: str, host: str, timeout_s: float = 5.0) -> list[str]:
    """A records of the host; inside a guest."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
    query = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.settimeout(0.5)
        answer = b""
        end = time.monotonic() + timeout_s
        while not answer and time.monotonic() < end:
            with contextlib.suppress(OSError):
                handle.sendto(query, (server, 53))
                answer = handle.recv(2000)
    if not answer:
        return []
    count = struct.unpack_from("!H", answer, 6)[0]
    return [socket.inet_ntoa(answer[-4:])] if count == 1 else []
