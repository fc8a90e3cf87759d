"""Files as pieces, in constant memory: holes are not read, sent or written."""

import asyncio
import errno
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

from agents.compute.driver import ImageUnusable, Piece
from fabric.runtime.errors import PoolFull

_PIECE_BYTES = 1 << 20
_NAME = re.compile(r"[a-z]+\.(qcow2|raw|iso|log)(\.\d)?")


async def read(path: Path) -> AsyncIterator[Piece]:
    """The file's data; at least one piece, which may be empty."""
    with path.open("rb") as file:
        size_bytes, offset = os.fstat(file.fileno()).st_size, 0
        yield Piece(path.name, size_bytes, 0, b"")
        while (found := await asyncio.to_thread(_next_data, file.fileno(), offset)) is not None:
            offset, data = found
            yield Piece(path.name, size_bytes, offset, data)
            offset += len(data)


async def write(folder: Path, pieces: AsyncIterator[Piece]) -> None:
    """Make the files of which there are pieces, as they are. Raises PoolFull, ImageUnusable."""
    begun: set[str] = set()
    async for piece in pieces:
        if not _NAME.fullmatch(piece.name):
            raise ImageUnusable("not the name of a server's file", name=piece.name)
        try:
            await asyncio.to_thread(_put, folder / piece.name, piece, piece.name not in begun)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise PoolFull("the node has no room for the server") from error
        begun.add(piece.name)


def _next_data(descriptor: int, offset: int) -> tuple[int, bytes] | None:
    try:
        start = os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole is left
            return None
        raise
    end = os.lseek(descriptor, start, os.SEEK_HOLE)
    return start, os.pread(descriptor, min(_PIECE_BYTES, end - start), start)


def _put(path: Path, piece: Piece, is_first: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        if is_first:
            os.ftruncate(descriptor, 0)
            os.ftruncate(descriptor, piece.size_bytes)
        rest, at = memoryview(piece.data), piece.offset
        while rest:
            done = os.pwrite(descriptor, rest, at)
            rest, at = rest[done:], at + done
    finally:
        os.close(descriptor)
