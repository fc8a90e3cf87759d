"""Which URLs callers may have fetched for them."""

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from fabric.runtime.errors import InvalidArgument

SCHEMES = ("http", "https")
PORTS = (80, 443)  # from which downloads may come
_RESOLVE_S = 10.0


def check_url(url: str) -> None:
    """Raise InvalidArgument unless it is an HTTP URL that we would fetch."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidArgument(f"Invalid location: {url[:200]!r} is not a URL.", field="url") from error
    if parts.scheme not in SCHEMES or not parts.hostname or port == 0 or len(url) > 2048:
        raise InvalidArgument(
            f"Invalid location: {url[:200]!r} must be an http or https URL.",
            field="url",
            reason="BAD_LOCATION",
        )


async def check_public(url: str) -> None:
    """Raise InvalidArgument unless the URL is one that an agent may fetch for a caller.

    The agent looks again at the address that it connects to.
    """
    check_url(url)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme == "https"]
    refused = InvalidArgument(f"Given uri {url[:500]} does not pass filtering criteria.", field="uri")
    if port not in PORTS or parts.username or parts.password:
        raise refused
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise refused from error
    if not found or not all(is_public(str(entry[4][0])) for entry in found):
        raise refused


def is_public(address: str) -> bool:
    """Whether a download may connect there: neither this host nor its link, nor nowhere."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return not (ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved)
