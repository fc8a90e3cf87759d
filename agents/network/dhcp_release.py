"""DHCPRELEASE in the name of ports that are gone (RFC 2131, 4.4.6), sent from the server's own namespace.

Without it dnsmasq would keep an address for the old MAC until the lease ends and refuse it to the next port.
"""

import ipaddress
import secrets
import socket
import struct
from collections.abc import Iterable, Sequence

from agents.network import name

Binding = tuple[str, str]  # MAC, IPv4 address


def bindings(hosts: str) -> set[Binding]:
    """The pairs that a hosts file speaks of."""
    found: set[Binding] = set()
    for line in hosts.splitlines():
        mac, *fields = line.split(",")
        found.update((mac, field) for field in fields if _is_v4(field))
    return found


def send(gone: Iterable[Binding], servers: Sequence[str]) -> None:
    """Runs inside the namespace.

    The server takes it as it comes on its interface, so the socket is bound to that.
    """
    own = [address for address in servers if _is_v4(address)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name.INNER.encode())
        for mac, address in gone:
            for server in own:
                handle.sendto(_message(mac, address, server), (server, 67))


def _message(mac: str, address: str, server: str) -> bytes:
    hardware = bytes.fromhex(mac.replace(":", ""))
    head = struct.pack(
        "!BBBB4sHH4s4s4s4s16s64s128s",
        1, 1, 6, 0, secrets.token_bytes(4), 0, 0,
        socket.inet_aton(address), bytes(4), bytes(4), bytes(4), hardware, b"", b"",
    )  # fmt: skip
    options = b"\x35\x01\x07" + b"\x36\x04" + socket.inet_aton(server) + b"\xff"
    return head + b"\x63\x82\x53\x63" + options.ljust(60, b"\0")


def _is_v4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
