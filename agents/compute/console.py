"""The consoles of a domain as streams: the socket of QEMU's VNC server, and the terminal behind the serial port."""

import asyncio
import os
import tty
from asyncio.streams import FlowControlMixin
from pathlib import Path
from xml.etree import ElementTree as ET

from fabric.compute.v1 import console_pb2 as pb
from fabric.runtime.errors import NotFound

_PIECE_BYTES = 1 << 16


class Stream:
    """A Console of a pair of streams."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        reading: asyncio.BaseTransport | None = None,
    ) -> None:
        """reading: where what is read comes from, if not from where the writer writes to."""
        self._reader = reader
        self._writer = writer
        self._reading = reading

    async def read(self) -> bytes:
        try:
            return await self._reader.read(_PIECE_BYTES)
        except OSError:  # so does a terminal end
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()
        if self._reading is not None:
            self._reading.close()


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


async def open_terminal(path: Path) -> Stream:
    """Raises NotFound."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise NotFound("the console is gone", path=str(path)) from error
    tty.setraw(file)
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
    out = os.fdopen(os.dup(file), "wb", buffering=0)
    reading, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(file, "rb", buffering=0)
    )
    writing, protocol = await loop.connect_write_pipe(FlowControlMixin, out)
    return Stream(reader, asyncio.StreamWriter(writing, protocol, reader, loop), reading)
