"""Keep the bytes of the images that are bound to this node, and report what is here."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog

from agents.image.download import Downloader
from agents.image.driver import ImageStore
from agents.image.fetch import fetch
from agents.image.ingest import Ingest
from fabric.image.v1 import image_pb2 as pb
from fabric.runtime.errors import Conflict, FabricError, LeaseLost, NotFound, StaleRevision, Unavailable
from fabric.runtime.log import REQUEST_ID
from fabric.runtime.node import NodeStore
from fabric.runtime.reconcile import Loop
from fabric.runtime.tls import Identity

log = structlog.get_logger(__name__)

Upload, Status = pb.Upload, pb.ImageStatus
_STREAMS = (Upload.KIND_PUT, Upload.KIND_STAGE)
_ARRIVE_S = 10.0  # within which the watch brings the want of a stream
_BEGIN_S = 15.0  # within which the stream of a new upload must come
_SKEW_S = 5.0  # by which the clocks of nodes may differ
_REPORT_S = 60.0  # how long a complete upload waits for an absent etcd
MISSING, BROKEN = "MISSING", "UPLOAD_BROKEN"


def blob(image_id: str, upload_id: str) -> str:
    """The blob's id: bytes of different uploads of one image never meet."""
    return f"{image_id}.{upload_id}"


Images = NodeStore[pb.Image, pb.ImageStatus]


class ImageAgent:
    """Told which image to look at, never what happened to it.

    It outlives the node's lives: a stream goes on when the lease is lost, and what it brought is reported
    under the next one, if the image still waits for it.
    """

    def __init__(
        self,
        driver: ImageStore,
        downloader: Downloader | None = None,
        *,
        orphan_grace: timedelta = timedelta(minutes=1),
        identity: Identity | None = None,
    ) -> None:
        """orphan_grace: how long whole bytes are kept that nobody wants here (etcd may be coming back).
        identity: shown to the agents that images are copied from."""
        self._driver = driver
        self._downloader = downloader or Downloader()
        self._identity = identity
        self._grace_s = orphan_grace.total_seconds()
        self._started = time.time()
        self._images: Images | None = None
        self._loop: Loop | None = None
        self._going: dict[str, asyncio.Task[pb.ImageStatus]] = {}  # by image
        self._since: dict[str, float] = {}  # an upload without a stream, a blob without a want: first seen
        self._broken: dict[str, FabricError | None] = {}  # uploads whose stream has ended badly
        self._change = asyncio.Event()  # set for a moment at each change of a want

    async def run(self, store: Images) -> None:
        """Work in one life, whose store has listed; until cancelled, raises LeaseLost."""
        if self._images is None:
            await self._driver.clean()
        self._images = store
        self._loop = Loop("image", self.reconcile, self._ids)
        store.on_change(self._changed)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sweep())
                await self._loop.run()
        except* FabricError as errors:
            raise errors.exceptions[0] from None

    async def close(self) -> None:
        """Break off what is on its way in."""
        going = list(self._going.values())
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)

    @property
    def _store(self) -> Images:
        if self._images is None:
            raise Unavailable("The image agent is starting.", reason="STARTING")
        return self._images

    def _wake(self, id_: str) -> None:
        if self._loop is not None:
            self._loop.wake(id_)

    def _ids(self) -> list[str]:
        return [*{*self._store.ids(), *self._going}]

    def _changed(self, id_: str) -> None:
        self._wake(id_)
        self._change.set()
        self._change.clear()

    # -- one image

    async def reconcile(self, image_id: str) -> timedelta | None:
        """Take one step."""
        image = self._store.get(image_id)
        task = self._going.get(image_id)
        if task is not None and (image is None or _other(image, task.get_name())):
            task.cancel()  # looks at the image again when it has ended
            return None
        if image is None or task is not None:
            return None
        if image.meta.HasField("delete_time"):
            await self._release(image)
            return None
        return await self._settle(image)

    async def _release(self, image: pb.Image) -> None:
        for id_ in await self._driver.ids():
            if id_.startswith(image.meta.id):
                await self._driver.remove(id_)
        await self._store.report(image.meta.id, pb.ImageStatus(upload_id=image.upload.id, released=True))
        log.info("image released", image=image.meta.id, **{REQUEST_ID: image.meta.request_id})

    async def _settle(self, image: pb.Image) -> timedelta | None:
        upload = image.upload
        said = self._store.status(image.meta.id)
        here = await self._driver.find(blob(image.meta.id, upload.id))
        if said is not None and said.upload_id == upload.id and said.state == Status.STATE_STORED:
            if here is None:
                log.error("image bytes are gone", image=image.meta.id)
                await self._fail(image, MISSING, "The bytes of the image are not on its node.")
            return None
        if said is not None and said.upload_id == upload.id and said.state == Status.STATE_ERROR:
            return None
        if here is not None:
            # a crash came between keeping and reporting them: nobody was told that they are safe
            await self._driver.remove(blob(image.meta.id, upload.id))
        if upload.id in self._broken:
            error = self._broken[upload.id]
            reason, text = (
                (error.reason, error.message) if error is not None else (BROKEN, "The upload broke.")
            )
            await self._fail(image, reason, text)
            self._broken.pop(upload.id, None)
            return None
        if upload.kind not in _STREAMS:
            self._begin(image, self._fetched(image))
            return None
        waited_s = time.monotonic() - self._since.setdefault(upload.id, time.monotonic())
        died = upload.begin_time.ToSeconds() < self._started - _SKEW_S  # with the process before this one
        if waited_s < _BEGIN_S and not died:
            return timedelta(seconds=_BEGIN_S - waited_s)
        self._since.pop(upload.id, None)
        await self._fail(image, BROKEN, "The upload broke, or did not begin.")
        return None

    async def _fail(self, image: pb.Image, reason: str, message: str) -> None:
        status = pb.ImageStatus(
            state=Status.STATE_ERROR,
            upload_id=image.upload.id,
            observed_generation=image.meta.generation,
            reason=reason,
            message=message,
        )
        await self._store.report(image.meta.id, status)
        log.warning("image bytes will not come", image=image.meta.id, reason=reason, cause=message)

    # -- bytes on their way in

    async def take(
        self, image_id: str, upload_id: str, pieces: AsyncIterator[bytes], size_bytes: int
    ) -> pb.ImageStatus:
        """Take the stream of an upload; returns when its bytes are safe and reported."""
        image = await self._wanted(image_id, upload_id)
        said = self._store.status(image_id)
        if image_id in self._going or upload_id in self._broken:
            raise Conflict("The upload is under way, or was.", reason="UPLOAD_TAKEN")
        if said is not None and said.upload_id == upload_id:
            raise Conflict("The upload is complete.", reason="UPLOAD_TAKEN")
        self._since.pop(upload_id, None)
        task = self._begin(image, self._received(image, pieces, size_bytes))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            if (current := asyncio.current_task()) is not None and current.cancelling():
                raise
            raise Conflict("The image was deleted meanwhile.", reason="IMAGE_GONE") from None

    async def _wanted(self, image_id: str, upload_id: str) -> pb.Image:
        """The image, when the watch has brought it. Raises NotFound."""
        try:
            async with asyncio.timeout(_ARRIVE_S):
                while True:
                    image = self._store.get(image_id)
                    if image is not None and not _other(image, upload_id):
                        return image
                    await self._change.wait()
        except TimeoutError as error:
            raise NotFound("The upload is not expected here.", reason="UPLOAD_UNKNOWN") from error

    def _begin(
        self, image: pb.Image, work: Coroutine[Any, Any, pb.ImageStatus]
    ) -> asyncio.Task[pb.ImageStatus]:
        task = asyncio.create_task(work, name=image.upload.id)
        self._going[image.meta.id] = task
        task.add_done_callback(lambda done: self._ended(image, done))
        return task

    def _ended(self, image: pb.Image, task: asyncio.Task[pb.ImageStatus]) -> None:
        self._going.pop(image.meta.id, None)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            self._broken[image.upload.id] = error if isinstance(error, FabricError) else None
            if error is not None and not isinstance(error, FabricError):
                log.error("upload broke", image=image.meta.id, exc_info=error)
        self._wake(image.meta.id)

    async def _received(
        self, image: pb.Image, pieces: AsyncIterator[bytes], size_bytes: int
    ) -> pb.ImageStatus:
        started = time.monotonic()
        async with self._driver.write(blob(image.meta.id, image.upload.id)) as part:
            ingest = Ingest(image, part)
            await ingest.take(pieces, size_bytes)
            status = await ingest.verify()
            await part.keep()
        await self._report_surely(image.meta.id, status)
        log.info(
            "image stored",
            image=image.meta.id,
            size_bytes=status.size_bytes,
            format=status.format,
            took_s=round(time.monotonic() - started, 3),
            **{REQUEST_ID: image.meta.request_id},
        )
        return status

    async def _report_surely(self, image_id: str, status: pb.ImageStatus) -> None:
        """A long upload is not lost because etcd restarts just then, or the image changes otherwise.

        Raises LeaseLost, Unavailable, Conflict.
        """
        deadline = time.monotonic() + _REPORT_S
        while True:
            image = self._store.get(image_id)
            if image is None or _other(image, status.upload_id):
                raise Conflict("The image waits for other bytes now.", reason="IMAGE_GONE")
            try:
                await self._store.report(image_id, status)
                return
            except (Unavailable, LeaseLost, StaleRevision):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def _fetched(self, image: pb.Image) -> pb.ImageStatus:
        """The bytes of an import that the agent gets itself; what is wrong with them is reported here."""
        upload = image.upload
        copied = upload.kind == Upload.KIND_COPY
        pieces = fetch(upload.source, self._identity) if copied else self._downloader.download(upload.url)
        return await self._received(image, pieces, 0)

    # -- what readers need

    def readable(self, image_id: str) -> str:
        """The blob of an image that is here as a whole. Raises NotFound."""
        image, said = self._store.get(image_id), self._store.status(image_id)
        if image is None or said is None or said.upload_id != image.upload.id:
            raise NotFound(f"Image {image_id} is not on this node.", reason="BYTES_NOT_FOUND")
        return blob(image_id, image.upload.id)

    # -- what nobody wants

    async def _sweep(self) -> None:
        while True:
            with suppress(OSError):
                await self.sweep()
            await asyncio.sleep(max(self._grace_s / 2, 0.05))

    async def sweep(self) -> None:
        """Remove blobs that have not been wanted for the grace period."""
        wanted = {
            blob(id_, image.upload.id)
            for id_ in self._store.ids()
            if (image := self._store.get(id_)) is not None
        }
        here = await self._driver.ids()
        now = time.monotonic()
        for id_ in here:
            if id_ in wanted or id_.partition(".")[0] in self._going:
                self._since.pop(id_, None)
            elif now - self._since.setdefault(id_, now) >= self._grace_s:
                await self._driver.remove(id_)
                self._since.pop(id_, None)
                log.info("orphaned bytes removed", blob=id_)


def _other(image: pb.Image, upload_id: str) -> bool:
    """Whether the image has no use for this upload (any more)."""
    return image.upload.id != upload_id or image.meta.HasField("delete_time")
