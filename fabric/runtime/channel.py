"""A gRPC channel that may be made anew while stubs of it are in use: for other addresses, another certificate."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any

import grpc

# A peer that is silent, with no end of the connection, is noticed within 5 s; also where nothing is sent, as on a
# watch. Servers must allow it: etcd by --grpc-keepalive-min-time.
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 1_500),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),  # as many as are due
)
# What is kept of a stream that its receiver does not read. gRPC's own estimate lets it grow to all that is sent.
# For bulk bytes only: without its probes a silent peer is noticed after 4.5 s, not 3.
WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 20))
MOST_PINGS = ("grpc.http2.min_ping_interval_without_data_ms", 1_000)  # that our own servers take

_LONG_S = 365 * 86400.0  # a watch may take that long; it ends when its server does


class Channel:
    """What stubs take for a channel. A call goes through the channel that is right when it begins, to its end."""

    def __init__(self, open_: Callable[[], grpc.aio.Channel], version: Callable[[], Hashable]) -> None:
        """version: of what open_ depends on; looked at before each call."""
        self._open = open_
        self._version = version
        self._opened: Hashable = None
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[str, Any] = {}
        self._leaving: dict[asyncio.Task[None], grpc.aio.Channel] = {}

    def unary_unary(self, path: str, *arguments: Any, **options: Any) -> Any:
        return self._multicallable("unary_unary", path, arguments, options)

    def unary_stream(self, path: str, *arguments: Any, **options: Any) -> Any:
        return self._multicallable("unary_stream", path, arguments, options)

    def stream_unary(self, path: str, *arguments: Any, **options: Any) -> Any:
        return self._multicallable("stream_unary", path, arguments, options)

    def stream_stream(self, path: str, *arguments: Any, **options: Any) -> Any:
        return self._multicallable("stream_stream", path, arguments, options)

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        channels = list(self._leaving.values())
        for task in self._leaving:
            task.cancel()
        if self._channel is not None:
            channels.append(self._channel)
        self._channel = None
        for channel in channels:
            await channel.close(None)

    def _multicallable(self, kind: str, path: str, arguments: Any, options: Any) -> Callable[..., Any]:
        def call(*of_call: Any, **call_options: Any) -> Any:
            channel = self._now()
            method = self._methods.get(path)
            if method is None:
                method = self._methods[path] = getattr(channel, kind)(path, *arguments, **options)
            return method(*of_call, **call_options)

        return call

    def _now(self) -> grpc.aio.Channel:
        version = self._version()
        if self._channel is None or version != self._opened:
            if self._channel is not None:
                self._leave(self._channel)
            self._methods.clear()
            self._channel, self._opened = self._open(), version
        return self._channel

    def _leave(self, channel: grpc.aio.Channel) -> None:
        """Its calls go on to their end."""
        task = asyncio.create_task(channel.close(_LONG_S))
        self._leaving[task] = channel
        task.add_done_callback(lambda done: self._leaving.pop(done, None))
