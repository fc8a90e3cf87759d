"""The consoles of a domain as streams: the socket of QEMU's VNC server, and the terminal behind the serial port."""

import asyncio
import os
import tty
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

from fabric.compute.v1 import console_pb2 as pb
from fabric.runtime.errors import NotFound

_PIECE_BYTES = 1 << 16


class Stream:
    """A Console of a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        try:
            return await self._reader.read(_PIECE_BYTES)
        except OSError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()


class Terminal:
    """A Console of a terminal: uvloop's pipes would read what the other one is waiting for."""

    def __init__(self, file: int) -> None:
        """file: open for both, without blocking."""
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._waits: set[asyncio.Future[None]] = set()
        self._is_open = True

    async def read(self) -> bytes:
        while self._is_open:
            try:
                return os.read(self._file, _PIECE_BYTES)
            except BlockingIOError:
                await self._until(self._loop.add_reader, self._loop.remove_reader)
            except OSError:  # nobody has the other end
                break
        return b""

    async def write(self, data: bytes) -> None:
        while data and self._is_open:
            try:
                data = data[os.write(self._file, data) :]
            except BlockingIOError:
                await self._until(self._loop.add_writer, self._loop.remove_writer)
            except OSError:
                break

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            for wait in self._waits:
                _end(wait)
            self._loop.call_soon(os.close, self._file)  # when those that waited have let go of it

    async def _until(self, begin: Callable[..., None], end: Callable[[int], object]) -> None:
        wait = self._loop.create_future()
        self._waits.add(wait)
        begin(self._file, _end, wait)
        try:
            await wait
        finally:
            end(self._file)
            self._waits.discard(wait)


def _end(wait: asyncio.Future[None]) -> None:
    if not wait.done():
        wait.set_result(None)


def place(domain: ET.Element, kind: pb.ConsoleKind.ValueType) -> str:
    """The path of a running domain's console, as libvirtd sees it; empty: it has none."""
    if kind == pb.CONSOLE_KIND_SERIAL:
        found = domain.find("devices/serial[@type='pty']/source")
        return "" if found is None else found.get("path", "")
    found = domain.find("devices/graphics[@type='vnc']/listen[@type='socket']")
    return "" if found is None else found.get("socket", "")


async def open_socket(path: Path) -> Stream:
    """Raises NotFound."""
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:  # the path itself may be longer than a socket's address
            return Stream(*await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{path.name}"))
        finally:
            os.close(folder)
    except OSError as error:
        raise NotFound("the console is gone", path=str(path)) from error


async def open_terminal(path: Path) -> Terminal:
    """Raises NotFound."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise NotFound("the console is gone", path=str(path)) from error
    tty.setraw(file)
    return Terminal(file)
