"""Base images on this node: fetched once, verified, shared by hard links, evicted when nobody uses them."""

import asyncio
import errno
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import structlog

from agents.compute import disk
from agents.compute.driver import ImageUnusable
from fabric.compute.v1.server_pb2 import ImageSource
from fabric.runtime.errors import NotFound, PoolFull

log = structlog.get_logger(__name__)

Fetch = Callable[[ImageSource], AsyncIterator[bytes]]
_PART = ".part"


class ImageCache:
    """A directory of one file per image id.

    A user makes a hard link to the file on the same file system, and its backing file is the link: so the
    number of links says whether an image is in use, and evicting one can break nobody.
    """

    def __init__(self, directory: Path, fetch: Fetch, *, max_bytes: int, max_age: timedelta) -> None:
        """max_bytes, max_age: how much and how long images that are not in use are kept."""
        self._directory = directory
        self._fetch = fetch
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._fetching: dict[str, asyncio.Task[Path]] = {}

    def find(self, image_id: str) -> Path | None:
        """The image, when it is here as a whole."""
        path = self._path(image_id)
        return path if path.exists() else None

    async def ensure(self, source: ImageSource) -> Path:
        """Have the image here; all who ask at the same time wait for one fetch.

        Raises ImageUnusable (gone, other bytes than promised, refers to other files), PoolFull, what fetch raises.
        """
        task = self._fetching.get(source.image_id)
        if task is None:
            task = asyncio.create_task(self._ensure(source), name=f"fetch {source.image_id}")
            self._fetching[source.image_id] = task
            task.add_done_callback(lambda done: self._fetched(source.image_id, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Give up what is being fetched."""
        for task in list(self._fetching.values()):
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)

    def sweep(self) -> list[str]:
        """Evict what nobody uses and is too old or too much; remove what a crash left. Returns the ids."""
        evicted = []
        kept_bytes = 0
        for used_at, size, path in sorted(self._unused(), reverse=True):
            if time.time() - used_at > self._max_age.total_seconds() or kept_bytes + size > self._max_bytes:
                path.unlink(missing_ok=True)
                evicted.append(path.name)
                log.info("image evicted", image=path.name, size_bytes=size)
            else:
                kept_bytes += size
        for path in self._directory.glob(f"*{_PART}"):
            if path.name.removesuffix(_PART) not in self._fetching:  # who fetches it is there before the file
                path.unlink(missing_ok=True)
        return evicted

    def _fetched(self, image_id: str, task: asyncio.Task[Path]) -> None:
        self._fetching.pop(image_id, None)
        if not task.cancelled():
            task.exception()  # looked at, also when nobody waits any more

    def _unused(self) -> list[tuple[float, int, Path]]:
        """When they were used, and the bytes that they take."""
        found = []
        for path in self._directory.iterdir() if self._directory.exists() else ():
            if path.suffix == _PART:  # it may be whole, or gone, at any moment
                continue
            facts = path.stat()
            if facts.st_nlink == 1:
                found.append((facts.st_atime, facts.st_blocks * 512, path))
        return found

    async def _ensure(self, source: ImageSource) -> Path:
        path = self._path(source.image_id)
        if not path.exists():
            self._directory.mkdir(parents=True, exist_ok=True)
            started = time.monotonic()
            part = path.with_name(path.name + _PART)
            try:
                await self._download(source, part)
                await disk.inspect(part, source.disk_format)
                await asyncio.to_thread(_publish, part, path)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                raise PoolFull("the node has no room for the image", image=source.image_id) from error
            except NotFound as error:
                raise ImageUnusable(error.message, reason="IMAGE_GONE", image=source.image_id) from error
            finally:
                part.unlink(missing_ok=True)
            took_s = round(time.monotonic() - started, 3)
            log.info("image fetched", image=source.image_id, size_bytes=path.stat().st_size, took_s=took_s)
        return path

    async def _download(self, source: ImageSource, part: Path) -> None:
        if source.disk_format not in disk.FORMATS:
            raise ImageUnusable(f"servers do not boot from {source.disk_format}", image=source.image_id)
        digest, received_bytes = hashlib.sha512(), 0
        with part.open("wb") as file:
            async for chunk in self._fetch(source):
                received_bytes += len(chunk)
                if source.size_bytes and received_bytes > source.size_bytes:
                    raise ImageUnusable("the image is longer than promised", image=source.image_id)
                await asyncio.to_thread(_append, file.fileno(), digest.update, chunk)
            file.truncate(received_bytes)  # a hole at the end is part of it
        if source.size_bytes and received_bytes != source.size_bytes:
            raise ImageUnusable(
                f"the image has {received_bytes} bytes instead of {source.size_bytes}", image=source.image_id
            )
        if source.sha512 and digest.hexdigest() != source.sha512.lower():
            raise ImageUnusable("the image does not have the promised sha512", image=source.image_id)

    def _path(self, image_id: str) -> Path:
        if not image_id or "/" in image_id or image_id.startswith("."):
            raise ImageUnusable("not an image id", image=image_id)
        return self._directory / image_id


def touch(path: Path) -> None:
    """Remember that the image was used now."""
    os.utime(path, (time.time(), path.stat().st_mtime))


def _append(descriptor: int, update: Callable[[bytes], None], chunk: bytes) -> None:
    update(chunk)
    if chunk.count(0) == len(chunk):  # a hole
        os.lseek(descriptor, len(chunk), os.SEEK_CUR)
        return
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _publish(part: Path, path: Path) -> None:
    """Make the whole file appear under its name, also after a power failure."""
    part.chmod(0o444)
    _fsync(part)
    part.rename(path)
    _fsync(path.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
