"""HTTP downloads for callers: only from where callers may send this host."""

import asyncio
import http.client
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

from agents.image.driver import CHUNK_BYTES
from fabric.image.address import is_public
from fabric.runtime.errors import InvalidArgument, Unavailable

_REDIRECTS = 5
_TIMEOUT_S = 60.0
_MOVED = (301, 302, 303, 307, 308)


class Downloader:
    """allowed says whether a connection may go to an IP address; asked for the very address that is used."""

    def __init__(self, allowed: Callable[[str], bool] = is_public) -> None:
        self._allowed = allowed

    async def download(self, url: str) -> AsyncIterator[bytes]:
        """The bytes of the URL. Raises InvalidArgument (may not, or is not there) and Unavailable."""
        connection, response = await asyncio.to_thread(self._open, url)
        try:
            while data := await asyncio.to_thread(response.read, CHUNK_BYTES):
                yield data
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"The download of {url} broke: {error}", reason="DOWNLOAD_BROKE") from error
        finally:
            connection.close()

    def _open(self, url: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        for _ in range(_REDIRECTS):
            connection, response = self._ask(url)
            if response.status == 200:
                return connection, response
            connection.close()
            target = response.getheader("location")
            if response.status not in _MOVED or not target:
                raise InvalidArgument(f"{url} answers {response.status}.", reason="DOWNLOAD_REFUSED")
            url = urljoin(url, target)
        raise InvalidArgument(f"{url} redirects too often.", reason="DOWNLOAD_REFUSED")

    def _ask(self, url: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidArgument(f"{url} is not an HTTP URL.", reason="DOWNLOAD_REFUSED")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            address = self._resolve(parts.hostname, port)
            connection = _connection(parts.scheme, parts.hostname, port, address)
            path = parts.path or "/"
            connection.request("GET", f"{path}?{parts.query}" if parts.query else path)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise InvalidArgument(f"{url} cannot be reached: {error}", reason="DOWNLOAD_REFUSED") from error

    def _resolve(self, host: str, port: int) -> str:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        for address in found:
            if not self._allowed(address):
                raise InvalidArgument(
                    f"{host} does not pass filtering criteria.", reason="DOWNLOAD_REFUSED", address=address
                )
        return found[0]


def _connection(scheme: str, host: str, port: int, address: str) -> http.client.HTTPConnection:
    """A connection to this very address, whatever the name says the next time it is asked."""
    ipaddress.ip_address(address.partition("%")[0])
    connection: Any
    if scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    connection._create_connection = lambda _, timeout, source: socket.create_connection(
        (address, port), timeout, source
    )
    made: http.client.HTTPConnection = connection
    return made
