"""A load generator that leaves the machine to what it measures: prepared requests over kept connections."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reply: asyncio.Future[tuple[int, dict[bytes, bytes], bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(exc or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        assert self._reply is not None
        if not self._reply.done():
            self._reply.set_result((self._parser.get_status_code(), self._headers, b"".join(self._body)))

    async def ask(self, request: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
        """Status, headers and body of the answer."""
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._reply

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()


class Target:
    """A gateway and a token."""

    def __init__(self, url: str, token: str = "") -> None:
        self._host, self._port = urlsplit(url).hostname or "", urlsplit(url).port or 80
        self.token = token

    async def connect(self) -> Connection:
        """A new connection."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port)
        return connection

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """The bytes of a request."""
        data = b"" if body is None else orjson.dumps(body)
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self._host}:{self._port}",
            f"Content-Length: {len(data)}",
        ]
        if self.token:
            lines.append(f"X-Auth-Token: {self.token}")
        if data:
            lines.append("Content-Type: application/json")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + data


@dataclass(frozen=True)
class Result:
    """seconds: of each operation."""

    seconds: list[float]
    took_s: float

    @property
    def per_second(self) -> float:
        """Throughput."""
        return len(self.seconds) / self.took_s

    def p_ms(self, percent: float) -> float:
        """A percentile of the latency."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000

    @property
    def median_ms(self) -> float:
        """Of the latency."""
        return statistics.median(self.seconds) * 1000


Operation = Callable[[Connection], Awaitable[None]]


async def run(target: Target, operation: Operation, *, concurrency: int, count: int) -> Result:
    """Do the operation count times over so many connections; a failure ends the benchmark."""
    left = iter(range(count))
    seconds: list[float] = []

    async def worker(connection: Connection) -> None:
        for _ in left:
            started = time.perf_counter()
            await operation(connection)
            seconds.append(time.perf_counter() - started)

    connections = [await target.connect() for _ in range(concurrency)]
    started = time.perf_counter()
    try:
        await asyncio.gather(*map(worker, connections))
    finally:
        for connection in connections:
            connection.close()
    return Result(seconds, time.perf_counter() - started)


def simple(request: bytes, expected: Iterable[int] = (200, 201, 202, 204)) -> Operation:
    """The same request again and again."""
    wanted = set(expected)

    async def operation(connection: Connection) -> None:
        status, _, body = await connection.ask(request)
        if status not in wanted:
            raise RuntimeError(f"{status}: {body[:300]!r}")

    return operation
