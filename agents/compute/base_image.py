"""The images that the disks of servers stand on: in the cache, or on their way into it."""

import asyncio
from pathlib import Path

from agents.compute.image_cache import ImageCache, touch
from agents.compute.work import Work
from fabric.compute.v1 import server_pb2 as pb


class BaseImages:
    """Without a cache no server needs one: every disk is empty."""

    def __init__(self, cache: ImageCache | None, work: Work) -> None:
        self._cache = cache
        self._work = work

    def ready(self, image: pb.ImageSource) -> bool:
        """Whether disks of the image could be made now."""
        return self._cache is None or not image.image_id or self._cache.find(image.image_id) is not None

    def find(self, image: pb.ImageSource) -> tuple[bool, Path | None]:
        """Whether the image is here, and which one (None: none is needed)."""
        if self._cache is None or not image.image_id:
            return True, None
        base = self._cache.find(image.image_id)
        if base is None:
            return False, None  # evicted in between: the next look fetches it again
        touch(base)
        return True, base

    def fetch(self, server_id: str, image: pb.ImageSource) -> None:
        """Have it brought here; raises what went wrong with that last time."""
        key = f"fetch for {server_id}"
        self._work.raise_failure(key)
        self._work.start(key, server_id, lambda: self._ensured(image))

    async def sweep(self) -> None:
        """Let go of what nobody has asked for lately."""
        if self._cache is not None:
            await asyncio.to_thread(self._cache.sweep)

    async def close(self) -> None:
        if self._cache is not None:
            await self._cache.close()

    async def _ensured(self, source: pb.ImageSource) -> None:
        assert self._cache is not None
        await self._cache.ensure(source)
