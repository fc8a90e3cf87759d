"""Names for networks without a way out: dnsmasq, inside, asks 127.0.0.1, and this asks the node's resolvers.

While the agent is away, names of ports are still resolved and others are not.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

from agents.network import netns
from agents.network.inside import Inside

ADDRESS, PORT = "127.0.0.1", 5353
UPSTREAM = f"{ADDRESS}#{PORT}"  # as dnsmasq writes it

_TIMEOUT_S = 4.0
_MOST_AT_ONCE = 256  # queries of one network; more are dropped, as a full queue would


def host_resolvers(path: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The node's own DNS servers, read anew since they may change."""
    servers = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(errors="replace").splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] == "nameserver":
                with contextlib.suppress(ValueError):
                    servers.append(str(ipaddress.ip_address(words[1].partition("%")[0])))
    return servers


class DnsRelay(Inside):
    """One UDP and one TCP socket in each namespace."""

    def __init__(self, resolvers: Callable[[], Sequence[str]] = host_resolvers, *, port: int = 53) -> None:
        super().__init__()
        self._resolvers = resolvers
        self._port = port  # of the resolvers

    async def _begin(self, network_id: str, namespace: str, opened: contextlib.ExitStack) -> None:
        udp, tcp = netns.call(namespace, _listen)
        server = await asyncio.start_server(self._serve_tcp, sock=tcp, start_serving=False)
        opened.callback(server.close)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Udp(self._ask), sock=udp
        )
        opened.callback(transport.close)
        await server.start_serving()

    async def _ask(self, query: bytes) -> bytes | None:
        """The first answer of a resolver, each asked in turn; None: none answers."""
        loop = asyncio.get_running_loop()
        for server in self._resolvers():
            family = socket.AF_INET6 if ":" in server else socket.AF_INET
            handle = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            with handle, contextlib.suppress(OSError, TimeoutError):
                handle.connect((server, self._port))
                async with asyncio.timeout(_TIMEOUT_S):
                    await loop.sock_sendall(handle, query)
                    while True:
                        answer = await loop.sock_recv(handle, 65535)
                        if answer[:2] == query[:2]:
                            return answer
        return None

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, EOFError, TimeoutError):
            for server in self._resolvers():
                try:
                    async with asyncio.timeout(_TIMEOUT_S):
                        up_reader, up_writer = await asyncio.open_connection(server, self._port)
                except (OSError, TimeoutError):
                    continue
                with contextlib.closing(up_writer):
                    async with asyncio.timeout(_TIMEOUT_S * 2), asyncio.TaskGroup() as tasks:
                        tasks.create_task(_copy(reader, up_writer))
                        tasks.create_task(_copy(up_reader, writer))
                return


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, ask: Callable[[bytes], Awaitable[bytes | None]]) -> None:
        self._ask = ask
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(self._tasks) >= _MOST_AT_ONCE or len(data) < 12:
            return
        task = asyncio.get_running_loop().create_task(self._answer(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:
        for task in self._tasks:
            task.cancel()

    async def _answer(self, query: bytes, peer: tuple[str, int]) -> None:
        answer = await self._ask(query)
        if answer is not None:
            self._transport.sendto(answer, peer)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _listen() -> tuple[socket.socket, socket.socket]:
    """Runs inside the namespace."""
    with contextlib.ExitStack() as opened:
        udp = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        udp.bind((ADDRESS, PORT))
        tcp = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((ADDRESS, PORT))
        tcp.listen(32)
        opened.pop_all()
    return udp, tcp
