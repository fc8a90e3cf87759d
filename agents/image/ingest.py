"""Taking in bytes: written, counted and hashed side by side, then looked at."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

from agents.image.driver import Part
from agents.image.inspect import inspect
from fabric.image.v1 import image_pb2 as pb
from fabric.runtime.errors import Exhausted, InvalidArgument

HASH_ALGO = "sha512"
Upload, Status = pb.Upload, pb.ImageStatus


class Ingest:
    """The bytes of one upload on their way into a part."""

    def __init__(self, image: pb.Image, part: Part) -> None:
        self._image = image
        self._part = part
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()

    async def take(self, pieces: AsyncIterator[bytes], size_bytes: int = 0) -> None:
        """Take all pieces; size_bytes: how many there must be, 0: any. Raises Exhausted, InvalidArgument.

        One piece is worked on while the next is on its way: memory does not grow with the image.
        """
        most = self._image.upload.max_bytes
        working: asyncio.Future[tuple[None, None, None]] | None = None
        received = 0
        try:
            async for data in pieces:
                received += len(data)
                if most and received > most:
                    raise Exhausted(f"The image exceeds {most} bytes.", reason="IMAGE_TOO_LARGE")
                if size_bytes and received > size_bytes:
                    break
                if working is not None:
                    await working
                working = self._work(data)
        finally:
            if working is not None:
                await asyncio.gather(working, return_exceptions=True)  # threads use the part: wait for them
        if working is not None:
            working.result()
        if size_bytes and received != size_bytes:
            raise InvalidArgument(
                f"Size mismatch: {size_bytes} bytes were announced and {received} came.",
                reason="SIZE_MISMATCH",
                field="size",
            )

    def _work(self, data: bytes) -> "asyncio.Future[tuple[None, None, None]]":
        return asyncio.gather(
            asyncio.to_thread(self._md5.update, data),
            asyncio.to_thread(self._sha512.update, data),
            asyncio.to_thread(self._part.append, data),
        )

    async def verify(self) -> pb.ImageStatus:
        """What the bytes are. Staged ones may have a problem; for others it is raised as InvalidArgument."""
        size = self._part.size_bytes
        found = await inspect(await self._part.file(), self._image.spec.disk_format)
        status = pb.ImageStatus(
            state=Status.STATE_STORED,
            upload_id=self._image.upload.id,
            observed_generation=self._image.meta.generation,
            size_bytes=size,
            checksum=self._md5.hexdigest(),
            hash_algo=HASH_ALGO,
            hash_value=self._sha512.hexdigest(),
            virtual_size_bytes=size if found.format == "raw" else found.virtual_size_bytes,  # not in sectors
            format=found.format,
        )
        if found.problem is not None:
            if self._image.upload.kind != Upload.KIND_STAGE:
                raise InvalidArgument(found.problem.message, reason=found.problem.reason, field="disk_format")
            status.problem = True
            status.reason, status.message = found.problem.reason, found.problem.message
        return status
