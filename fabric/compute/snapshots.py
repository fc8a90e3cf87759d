"""Snapshots of servers: their beginning, in the name of who asks, and the leader's steps to their end."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from fabric.compute import instance_action, server, shelf, snapshot
from fabric.compute.image_source import image_ref
from fabric.compute.server import SERVERS
from fabric.compute.server_create import check_metadata
from fabric.compute.snapshot import Step
from fabric.compute.v1 import server_pb2 as pb
from fabric.image.v1 import image_pb2, image_pb2_grpc
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.client import Client
from fabric.runtime.errors import (
    Conflict,
    FabricError,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    StaleRevision,
)
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store
from fabric.type.v1.query_pb2 import Query

log = structlog.get_logger(__name__)

NAMES: Mapping[str, str] = {
    "create_image": "createImage",
    "create_backup": "createBackup",
    "shelve": "shelve",
}
_LONGEST_NAME = 255
_LOOK_AGAIN = timedelta(seconds=1)  # whether its image is still there
_SOON = timedelta(milliseconds=200)
_Act = pb.ActOnServerRequest
_Asked = _Act.CreateImage | _Act.CreateBackup | _Act.Shelve


class Snapshots:
    """The server's record says how far its snapshot is; each step may be repeated."""

    def __init__(self, store: Store, client: Client) -> None:
        self._store = store
        self._client = client

    # -- the beginning

    async def begin(self, target: pb.Server, action: str, asked: _Asked, caller: Caller) -> pb.Server:
        """The server with its snapshot under way. Raises FailedPrecondition, and what the image service says.

        The image is recorded between two writes of the server: who dies between them leaves nothing.
        """
        name = NAMES[action]
        server.check(target, name)
        server.check_launched(target, name)
        metadata = {} if isinstance(asked, _Act.Shelve) else asked.metadata
        check_metadata(metadata, self._store.quota(caller.project_id, "compute.metadata_items").limit)
        rotation = asked.rotation if isinstance(asked, _Act.CreateBackup) else None
        id_, owner = str(uuid.uuid4()), (caller.project_id, caller.user_id)
        image = snapshot.image_of(target, id_, _image_name(target, asked), metadata, owner)
        if rotation is not None:
            snapshot.mark_backup(image, target.meta.id, rotation)
        await self._accept(target, name, id_, rotation, caller)
        try:
            await self._images("CreateImage", image_pb2.CreateImageRequest(image=image), caller)
        except FabricError as error:
            await self._abort(id_, target.meta.id, error.message)
            raise
        return await self._recorded(id_, target.meta.id)

    @again
    async def _accept(
        self, target: pb.Server, name: str, image_id: str, rotation: pb.Rotation | None, caller: Caller
    ) -> None:
        accepted = copy_of(self._store.get(SERVERS, target.meta.id))
        server.check(accepted, name)
        accepted.meta.request_id = caller.request_id
        snapshot.begin(accepted, image_id, caller.request_id, datetime.now(UTC), rotation)
        if name == "shelve":
            shelf.begin(accepted, image_id)
        async with self._store.transaction() as txn:
            txn.update(SERVERS, accepted)
            instance_action.record(self._store, txn, target, name, caller)

    async def _recorded(self, image_id: str, server_id: str) -> pb.Server:
        while (recorded := self._current(image_id, server_id)) is not None:
            recorded.snapshot.phase = pb.Snapshot.PHASE_COPYING
            try:
                async with self._store.transaction() as txn:
                    txn.update(SERVERS, recorded)
            except StaleRevision:
                continue
            return recorded
        await self.delete_image(image_id)
        raise Conflict(f"The snapshot of instance {server_id} was given up.", reason="SNAPSHOT_GIVEN_UP")

    async def _abort(self, image_id: str, server_id: str, message: str) -> None:
        if (changed := self._current(image_id, server_id)) is not None:
            await self._give_up(changed, message)

    def _current(self, image_id: str, server_id: str) -> pb.Server | None:
        """A copy of the server, if this snapshot of it is still only accepted."""
        found = self._store.find(SERVERS, server_id)
        if found is None or found.snapshot.image_id != image_id:
            return None
        return copy_of(found) if found.snapshot.phase == pb.Snapshot.PHASE_ACCEPTED else None

    # -- the leader's steps

    async def step(self, target: pb.Server) -> timedelta | None:
        """Take the next one. Returns when to look again; None: the record has changed."""
        image = await self._image(target)
        step, why = snapshot.next_step(target, image, datetime.now(UTC))
        match step:
            case Step.WAIT:
                sent = target.status.snapshot.state == pb.SnapshotStatus.STATE_SENT
                return _SOON if sent else _LOOK_AGAIN
            case Step.BEGIN_UPLOAD:
                return await self._begin_upload(target)
            case Step.GIVE_UP:
                await self._give_up(copy_of(target), why)
            case Step.FINISH:
                await self._rotate(target)
                await self._end(target, image, "")
            case Step.END:
                await self.delete_image(target.snapshot.image_id)
                await self._end(target, None, target.snapshot.message)
        return None

    async def drop(self, target: pb.Server) -> None:
        """Make the image of a server that goes not exist, unless it is complete."""
        image = await self._image(target)
        if image is not None and not snapshot.is_complete(image):
            await self.delete_image(image.meta.id)

    async def _begin_upload(self, target: pb.Server) -> timedelta | None:
        image_id = target.snapshot.image_id
        try:
            begun = await self._images("BeginUpload", image_pb2.BeginUploadRequest(id=image_id))
        except Conflict:  # an upload that nobody noted: it ends by itself
            return _LOOK_AGAIN
        except FailedPrecondition as error:
            await self._give_up(copy_of(target), error.message)
            return None
        changed = copy_of(target)
        changed.snapshot.phase = pb.Snapshot.PHASE_UPLOADING
        changed.snapshot.upload_id, changed.snapshot.address = begun.upload_id, begun.address
        changed.snapshot.tries += 1
        async with self._store.transaction() as txn:
            txn.update(SERVERS, changed)
        return None

    async def _give_up(self, changed: pb.Server, message: str) -> None:
        changed.snapshot.phase, changed.snapshot.message = pb.Snapshot.PHASE_ABORTING, message
        async with self._store.transaction() as txn:
            txn.update(SERVERS, changed)
        log.warning("snapshot given up", server=changed.meta.id, cause=message)

    async def _end(self, target: pb.Server, image: image_pb2.Image | None, message: str) -> None:
        changed = copy_of(target)
        changed.ClearField("snapshot")
        if shelf.is_put_away(target):
            if image is None:
                shelf.put_back(changed)
            else:
                shelf.keep(changed, image_ref(image), datetime.now(UTC))
        async with self._store.transaction() as txn:
            txn.update(SERVERS, changed)
            instance_action.end(self._store, txn, target.meta.id, target.snapshot.request_id, message)
        log.info("snapshot over", server=target.meta.id, image=target.snapshot.image_id, cause=message)

    async def _rotate(self, target: pb.Server) -> None:
        """Delete the oldest backups of the type, those of the server that its project has."""
        if not target.snapshot.HasField("rotation"):
            return
        asked = Query(all_projects=True)
        asked.filters.add(path="spec.properties.instance_uuid", values=[target.meta.id])
        listed = await self._images("ListImages", image_pb2.ListImagesRequest(query=asked, visibility="all"))
        for image in snapshot.surplus(listed.images, target.meta.id, target.snapshot.rotation):
            await self.delete_image(image.meta.id)

    # -- the image service

    async def _image(self, target: pb.Server) -> image_pb2.Image | None:
        request = image_pb2.GetImageRequest(id=target.snapshot.image_id)
        try:
            found: image_pb2.Image = await self._images("GetImage", request)
        except NotFound:
            return None
        return found

    async def delete_image(self, image_id: str) -> None:
        """Make it not exist, unless somebody has protected it."""
        try:
            await self._images("DeleteImage", image_pb2.DeleteImageRequest(id=image_id))
        except NotFound:
            return
        except PermissionDenied as error:  # somebody has protected it: so it stays
            log.warning("image not deleted", image=image_id, cause=error.message)

    async def _images(self, rpc: str, request: Any, caller: Caller | None = None) -> Any:
        return await self._client.call(image_pb2_grpc.ImageServiceStub, rpc, request, caller)


def _image_name(target: pb.Server, asked: _Asked) -> str:
    if not isinstance(asked, _Act.Shelve):
        return asked.name
    mark = "-shelved"
    return target.meta.name[: _LONGEST_NAME - len(mark)] + mark
