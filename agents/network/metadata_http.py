"""The metadata service of each network: HTTP on 169.254.169.254 and fe80::a9fe:a9fe inside its namespace.

A guest is known by the address it asks from, which the filters let it not choose; what it is told comes
from the compute agent's documents. It may leave a password (POST), and nothing else.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from http import HTTPStatus
from typing import Protocol

import structlog

from agents.network import name, netns
from agents.network.inside import Inside
from fabric.runtime.errors import Conflict, FabricError, InvalidArgument, NotFound

log = structlog.get_logger(__name__)

_IDLE_S = 30.0
_HEAD_BYTES = 16384
_BODY_BYTES = 4096
_PLAIN = "text/plain; charset=utf-8"
_STATUSES: dict[type[FabricError], HTTPStatus] = {
    Conflict: HTTPStatus.CONFLICT,
    InvalidArgument: HTTPStatus.BAD_REQUEST,
    NotFound: HTTPStatus.NOT_FOUND,
}


class Documents(Protocol):
    """What one guest may read and leave; agents.compute.metadata.Metadata is one."""

    def lookup(self, path: str) -> bytes | list[str] | None:
        """A document, the names below the path, or None: nothing is there."""

    def takes(self, path: str) -> bool:
        """Whether something may be left at the path."""

    async def leave(self, body: bytes) -> None:
        """Leave it. Raises FabricError."""


Lookup = Callable[[str, str], Documents | None]  # network id, address of the guest


class MetadataServer(Inside):
    """Answers the guests of each network in its namespace."""

    def __init__(self, lookup: Lookup) -> None:
        super().__init__()
        self._lookup = lookup

    async def _begin(self, network_id: str, namespace: str, opened: contextlib.ExitStack) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(network_id, reader, writer)

        servers: list[asyncio.Server] = []
        for sock in netns.call(namespace, _listen):  # brief; a cancelled thread would leave sockets to nobody
            servers.append(
                await asyncio.start_server(serve, sock=sock, limit=_HEAD_BYTES, start_serving=False)
            )
            opened.callback(servers[-1].close)
        for server in servers:
            await server.start_serving()

    async def _serve(
        self, network_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        address = str(writer.get_extra_info("peername")[0]).partition("%")[0]
        try:
            with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                while await self._answer(network_id, address, reader, writer):
                    pass
        finally:
            writer.close()

    async def _answer(
        self, network_id: str, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request. False: the connection ends with it."""
        try:
            async with asyncio.timeout(_IDLE_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            writer.write(_response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"", keep=False))
            return False
        request, *fields = head.decode("latin-1").split("\r\n")
        words = request.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            writer.write(_response(HTTPStatus.BAD_REQUEST, b"", keep=False))
            return False
        headers = {key.strip().lower(): value.strip() for key, _, value in (f.partition(":") for f in fields)}
        keep = words[2] != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
        keep = keep and headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
        if words[0] == "POST":
            sent = await _body(reader, headers.get("content-length", "0"))
            status, body, kind = await self._leave(network_id, address, words[1], sent)
        else:
            status, body, kind = self._document(network_id, address, words[0], words[1])
        writer.write(_response(status, body, kind=kind, keep=keep, head_only=words[0] == "HEAD"))
        await writer.drain()
        return keep

    async def _leave(
        self, network_id: str, address: str, target: str, body: bytes | None
    ) -> tuple[HTTPStatus, bytes, str]:
        documents = self._lookup(network_id, address)
        if documents is None or not documents.takes(target.partition("?")[0]):
            return HTTPStatus.METHOD_NOT_ALLOWED, b"405 Method Not Allowed\n", _PLAIN
        if body is None:
            return HTTPStatus.BAD_REQUEST, b"Request is too large.\n", _PLAIN
        try:
            await documents.leave(body)
        except FabricError as error:
            return _STATUSES.get(type(error), HTTPStatus.SERVICE_UNAVAILABLE), error.message.encode(), _PLAIN
        return HTTPStatus.OK, b"", _PLAIN

    def _document(
        self, network_id: str, address: str, method: str, target: str
    ) -> tuple[HTTPStatus, bytes, str]:
        if method not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, b"405 Method Not Allowed\n", _PLAIN
        documents = self._lookup(network_id, address)
        if documents is None:
            log.info("metadata asked for by nobody we know", network=network_id, address=address)
            return HTTPStatus.NOT_FOUND, b"404 Not Found\n", _PLAIN
        path = target.partition("?")[0]
        found = documents.lookup(path)
        if found is None:
            return HTTPStatus.NOT_FOUND, b"404 Not Found\n", _PLAIN
        if isinstance(found, list):
            return HTTPStatus.OK, "\n".join(found).encode(), _PLAIN
        return HTTPStatus.OK, found, "application/json" if path.endswith(".json") else _PLAIN


async def _body(reader: asyncio.StreamReader, length: str) -> bytes | None:
    """None: it is larger than anything that may be left."""
    if not length.isdecimal() or int(length) > _BODY_BYTES:
        return None
    async with asyncio.timeout(_IDLE_S):
        return await reader.readexactly(int(length))


def _response(
    status: HTTPStatus, body: bytes, *, kind: str = "text/plain", keep: bool, head_only: bool = False
) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)


def _listen() -> list[socket.socket]:
    """Runs inside the namespace."""
    sockets = []
    with contextlib.ExitStack() as opened:
        for family, address in ((socket.AF_INET, name.METADATA_V4), (socket.AF_INET6, name.METADATA_V6)):
            try:
                handle = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            except OSError:  # a kernel without IPv6
                continue
            opened.enter_context(handle)
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                handle.bind((address, 80, 0, socket.if_nametoindex(name.INNER)))
            else:
                handle.bind((address, 80))
            handle.listen(128)
            sockets.append(handle)
        opened.pop_all()
    return sockets
