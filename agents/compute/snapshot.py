"""Copies of disks that become images: made, sent to an image agent, told of."""

from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from agents.compute.driver import ComputeDriver, Found, HypervisorRefused, ImageUnusable
from agents.compute.work import Work
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import Exhausted, FabricError, InvalidArgument, PoolFull

log = structlog.get_logger(__name__)

Seen = pb.SnapshotStatus
SendCopy = Callable[[pb.SnapshotWant, int, AsyncIterator[bytes]], Awaitable[None]]
_HOPELESS = (HypervisorRefused, ImageUnusable, PoolFull)
_REFUSED = (Exhausted, InvalidArgument)  # the image agent will not have it, whoever sends it


class Snapshots:
    """What it only remembers is what has failed or was sent; after a restart it is tried once more."""

    def __init__(self, driver: ComputeDriver, work: Work, send: SendCopy) -> None:
        self._driver = driver
        self._work = work
        self._send = send
        self._ended: dict[str, Seen] = {}  # by server
        self._copying: dict[str, str] = {}  # by server, the image

    async def copy(self, want: pb.ServerWant) -> None:
        """Have the disk copied; raises what went wrong with that last time, if another try may help."""
        server_id, image_id = want.server.meta.id, want.snapshot.image_id
        if self._copying.get(server_id, image_id) != image_id:
            await self.stop(server_id)
        key = _copying(server_id)
        self._work.raise_failure(key)
        self._copying[server_id] = image_id
        self._work.start(key, server_id, lambda: self._copy(server_id, image_id))

    def send(self, want: pb.ServerWant) -> None:
        """Send the copy to where it shall go."""
        server_id, snapshot = want.server.meta.id, pb.SnapshotWant()
        snapshot.CopyFrom(want.snapshot)
        self._work.start(_sending(server_id), server_id, lambda: self._sent(server_id, snapshot))

    async def stop(self, server_id: str) -> None:
        """Break off what is under way."""
        await self._work.stop(_copying(server_id))
        await self._work.stop(_sending(server_id))
        self._copying.pop(server_id, None)

    def copying(self, want: pb.ServerWant) -> bool:
        server_id = want.server.meta.id
        is_this = self._copying.get(server_id) == want.snapshot.image_id
        return is_this and self._work.running(_copying(server_id))

    def failed(self, want: pb.ServerWant) -> bool:
        """Whether there is no hope for this snapshot."""
        return self._outcome(want).state == Seen.STATE_FAILED

    def unsent(self, want: pb.ServerWant) -> bool:
        """Whether its present upload has yet to begin."""
        upload_id = want.snapshot.upload_id
        tried = self._outcome(want).upload_id == upload_id
        return bool(upload_id) and not tried and not self._work.running(_sending(want.server.meta.id))

    def status(self, want: pb.ServerWant, found: Found | None) -> pb.SnapshotStatus | None:
        """What the controller must know of it; None: there is no snapshot."""
        if not want.snapshot.image_id:
            return None
        snapshot, outcome = want.snapshot, self._outcome(want)
        seen = Seen(image_id=snapshot.image_id)
        if outcome.state == Seen.STATE_FAILED or (
            outcome.upload_id and outcome.upload_id == snapshot.upload_id
        ):
            return outcome
        if found is None or snapshot.image_id not in found.copies:
            seen.state = Seen.STATE_COPYING
        elif snapshot.upload_id:
            seen.state, seen.upload_id = Seen.STATE_SENDING, snapshot.upload_id
        else:
            seen.state = Seen.STATE_COPIED
        return seen

    def forget(self, server_id: str) -> None:
        self._ended.pop(server_id, None)
        self._copying.pop(server_id, None)

    def _outcome(self, want: pb.ServerWant) -> Seen:
        ended = self._ended.get(want.server.meta.id)
        return ended if ended is not None and ended.image_id == want.snapshot.image_id else Seen()

    async def _copy(self, server_id: str, image_id: str) -> None:
        try:
            await self._driver.ensure_copy(server_id, image_id)
        except _HOPELESS as error:
            self._ended[server_id] = Seen(image_id=image_id, state=Seen.STATE_FAILED, message=error.message)
            log.error("disk not copied", server=server_id, image=image_id, cause=error.message)
        else:
            log.info("disk copied", server=server_id, image=image_id)

    async def _sent(self, server_id: str, snapshot: pb.SnapshotWant) -> None:
        ended = Seen(image_id=snapshot.image_id, upload_id=snapshot.upload_id, state=Seen.STATE_SENT)
        try:
            size_bytes = await self._driver.copy_size_bytes(server_id, snapshot.image_id)
            await self._send(snapshot, size_bytes, self._driver.read_copy(server_id, snapshot.image_id))
        except FabricError as error:
            ended.state = Seen.STATE_FAILED if isinstance(error, _REFUSED) else Seen.STATE_BROKEN
            ended.message = error.message
            log.warning("copy not sent", server=server_id, image=snapshot.image_id, cause=error.message)
        except OSError as error:  # the copy cannot be read
            ended.state, ended.message = Seen.STATE_BROKEN, str(error)
            log.warning("copy not sent", server=server_id, image=snapshot.image_id, cause=str(error))
        else:
            log.info("copy sent", server=server_id, image=snapshot.image_id, size_bytes=size_bytes)
        self._ended[server_id] = ended


def _copying(server_id: str) -> str:
    return f"copy {server_id}"


def _sending(server_id: str) -> str:
    return f"send copy {server_id}"
