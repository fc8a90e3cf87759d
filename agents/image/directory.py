"""ImageStore in a directory: one file a blob."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from agents.image.driver import CHUNK_BYTES, Part
from fabric.runtime.errors import NotFound, PoolFull

_PART = ".part"


class DirectoryStore:
    """Whole files have the blob's name, those on their way in end with .part."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    async def ids(self) -> list[str]:
        names = await asyncio.to_thread(os.listdir, self._directory)
        return sorted(name for name in names if not name.endswith(_PART) and not name.startswith("."))

    async def find(self, id_: str) -> int | None:
        try:
            return (await asyncio.to_thread(self._path(id_).stat)).st_size
        except FileNotFoundError:
            return None

    @asynccontextmanager
    async def write(self, id_: str) -> AsyncIterator[Part]:
        path = self._path(id_)
        part = path.with_name(path.name + _PART)
        file = await asyncio.to_thread(part.open, "wb", 0)
        try:
            yield _FilePart(file, part, path)
        finally:
            file.close()
            with suppress(FileNotFoundError):
                part.unlink()

    async def read(self, id_: str, offset: int = 0, length: int = 0) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(self._path(id_).open, "rb", 0)
        except FileNotFoundError as error:
            raise NotFound(f"The bytes {id_} are not here.", reason="BYTES_NOT_FOUND") from error
        ahead: asyncio.Future[bytes] | None = None
        try:
            end = min(offset + length if length else 1 << 63, os.fstat(file.fileno()).st_size)
            while offset < end or ahead is not None:
                data = await ahead if ahead is not None else b""
                ahead = None
                if offset < end:
                    want = min(CHUNK_BYTES, end - offset)
                    ahead = asyncio.ensure_future(asyncio.to_thread(os.pread, file.fileno(), want, offset))
                    offset += want
                if data:
                    yield data
        finally:
            if ahead is not None:
                await asyncio.wait({ahead})
            file.close()

    async def remove(self, id_: str) -> None:
        await asyncio.to_thread(self._path(id_).unlink, missing_ok=True)

    async def clean(self) -> None:
        for path in await asyncio.to_thread(lambda: list(self._directory.glob(f"*{_PART}"))):
            path.unlink(missing_ok=True)

    async def free_bytes(self) -> int:
        return (await asyncio.to_thread(shutil.disk_usage, self._directory)).free

    def _path(self, id_: str) -> Path:
        if not id_ or "/" in id_ or id_.startswith(".") or id_.endswith(_PART):
            raise ValueError(f"{id_!r} is not a blob's id")
        return self._directory / id_


class _FilePart:
    def __init__(self, file: BinaryIO, part: Path, path: Path) -> None:
        self._file, self._part, self._path = file, part, path
        self.size_bytes = 0

    def append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]
        except OSError as error:
            raise _full(error) from error
        self.size_bytes += len(data)

    async def file(self) -> Path:
        return self._part

    async def keep(self) -> None:
        try:
            await asyncio.to_thread(self._publish)
        except OSError as error:
            raise _full(error) from error

    def _publish(self) -> None:
        os.fsync(self._file.fileno())
        self._part.rename(self._path)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _full(error: OSError) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return PoolFull("There is not enough disk space on the image storage media.")
    return error
