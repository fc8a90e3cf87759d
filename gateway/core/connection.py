"""The connection of one client: uvicorn's, with an end to what a client may hold open or have kept."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_UNPARSED_BYTES = 128 * 1024  # of a head, of trailers: what no handler has seen yet
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Connection(HttpToolsProtocol):
    """A head must be there within patience_s of its beginning, and within a body no longer be silence."""

    def __init__(self, *arguments: Any, patience_s: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._patience_s = patience_s
        self._unparsed = 0  # bytes since the parser last came on
        self._owed_since: float | None = None  # when the client was to go on; None: it is our turn
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._owed_since = self.loop.time()
        self._timer = self.loop.call_later(self._patience_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """What comes from now on is not ours; who uses a console may be silent."""
        if self._timer is not None:
            self._timer.cancel()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        if self._owed_since is None:
            self._owed_since = self.loop.time()
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_UNPARSED_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._came_on()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._came_on()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._came_on()
        self._owed_since = None
        super().on_message_complete()

    def _came_on(self) -> None:
        self._unparsed = 0
        self._owed_since = self.loop.time()

    def _look(self) -> None:
        """Close the connection of who is silent; look again when the next one could be."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if self.flow.read_paused:  # it may want to send
            self._owed_since = now
        silent_s = now - self._owed_since if self._owed_since is not None else 0.0
        if silent_s >= self._patience_s:
            self.transport.close()
            return
        self._timer = self.loop.call_later(self._patience_s - silent_s, self._look)
