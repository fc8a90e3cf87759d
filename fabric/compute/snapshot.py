"""A server's snapshot: what its image is, and what to do next about it. No I/O, no clock."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from fabric.compute.v1 import server_pb2 as pb
from fabric.image.v1 import image_pb2

Snapshot, Seen, View = pb.Snapshot, pb.SnapshotStatus, image_pb2.ImageView
RECORD_WITHIN = timedelta(seconds=40)  # the image's record; later, who asked has died
_MOST_TRIES = 8
_NOT_INHERITED = ("os_glance_", "img_signature", "cache_in_nova", "bittorrent")
_DONE = (View.STATUS_ACTIVE, View.STATUS_DEACTIVATED)


class Step(enum.Enum):
    """One transaction each, but for WAIT."""

    WAIT = enum.auto()
    BEGIN_UPLOAD = enum.auto()
    FINISH = enum.auto()
    GIVE_UP = enum.auto()
    END = enum.auto()  # it has been given up: its image goes, and the server is as before


def is_under_way(server: pb.Server) -> bool:
    """Whether an image is made of it."""
    return bool(server.snapshot.image_id)


def is_being_made(server: pb.Server) -> bool:
    """Whether its node has its part in it."""
    return server.snapshot.phase in (Snapshot.PHASE_COPYING, Snapshot.PHASE_UPLOADING)


def next_step(server: pb.Server, image: image_pb2.Image | None, now: datetime) -> tuple[Step, str]:
    """The step, and why if it is to give up. image None: there is no such image."""
    snapshot, seen = server.snapshot, server.status.snapshot
    if snapshot.phase == Snapshot.PHASE_ABORTING:
        return Step.END, ""
    if snapshot.phase == Snapshot.PHASE_ACCEPTED:
        late = now - snapshot.begin_time.ToDatetime(now.tzinfo) > RECORD_WITHIN
        return (Step.GIVE_UP, "The image was not recorded.") if late else (Step.WAIT, "")
    if image is None:
        return Step.GIVE_UP, "The image was deleted."
    if is_complete(image):
        return Step.FINISH, ""
    if server.node != snapshot.node or server.move.migration_id:
        return Step.GIVE_UP, "The server left its node."
    if seen.image_id != snapshot.image_id:
        return Step.WAIT, ""
    if seen.state == Seen.STATE_FAILED:
        return Step.GIVE_UP, seen.message
    if snapshot.phase == Snapshot.PHASE_COPYING:
        return (Step.WAIT if seen.state == Seen.STATE_COPYING else Step.BEGIN_UPLOAD), ""
    if image.view.status != View.STATUS_QUEUED:  # so it is after an upload that broke
        return Step.WAIT, ""
    if snapshot.tries >= _MOST_TRIES:
        return Step.GIVE_UP, seen.message or "The copy could not be sent."
    return Step.BEGIN_UPLOAD, ""


def is_complete(image: image_pb2.Image) -> bool:
    """Whether the image has its bytes."""
    return image.view.status in _DONE


def task_state(server: pb.Server) -> str:
    """The Compute API's word for what goes on."""
    match server.snapshot.phase:
        case pb.Snapshot.PHASE_ACCEPTED:
            return "image_backup" if server.snapshot.HasField("rotation") else "image_snapshot_pending"
        case pb.Snapshot.PHASE_COPYING:
            is_copying = server.status.snapshot.image_id == server.snapshot.image_id
            return "image_pending_upload" if is_copying else "image_snapshot"
    return "image_uploading"


TASK_STATES = (
    "image_backup",
    "image_snapshot_pending",
    "image_snapshot",
    "image_pending_upload",
    "image_uploading",
)


def begin(
    server: pb.Server, image_id: str, request_id: str, now: datetime, rotation: pb.Rotation | None
) -> None:
    """Note that an image is made of it."""
    server.snapshot.image_id, server.snapshot.phase = image_id, Snapshot.PHASE_ACCEPTED
    server.snapshot.node, server.snapshot.request_id = server.node, request_id
    server.snapshot.begin_time.FromDatetime(now)
    if rotation is not None:
        server.snapshot.rotation.CopyFrom(rotation)


def image_of(
    server: pb.Server, id_: str, name: str, metadata: Mapping[str, str], caller_ids: tuple[str, str]
) -> image_pb2.Image:
    """The record of the new image; caller_ids: project and user. It inherits what the server's image says."""
    image = image_pb2.Image()
    image.meta.id, image.meta.name = id_, name
    image.meta.project_id, user_id = caller_ids
    spec, source = image.spec, server.spec.image
    spec.visibility = image_pb2.ImageSpec.VISIBILITY_PRIVATE
    spec.disk_format, spec.container_format = "qcow2", "bare"
    spec.min_disk_gb, spec.min_ram_mib = server.spec.flavor.root_gb, source.min_ram_mib
    kept = {key: text for key, text in source.properties.items() if not key.startswith(_NOT_INHERITED)}
    spec.properties.update(kept)
    spec.properties.update(
        {
            "image_type": "snapshot",
            "instance_uuid": server.meta.id,
            "user_id": user_id,
            "base_image_ref": source.id,
            "owner_id": image.meta.project_id,
            "image_location": "snapshot",
            "image_state": "available",
        }
    )
    spec.properties.update(metadata)  # also over what is said above, as Nova has it
    return image


def mark_backup(image: image_pb2.Image, server_id: str, rotation: pb.Rotation) -> None:
    """Make it a backup of its type; rotation goes by these, so that no metadata goes over them."""
    image.spec.properties["instance_uuid"] = server_id
    image.spec.properties["image_type"] = "backup"
    image.spec.properties["backup_type"] = rotation.backup_type


def surplus(
    images: Iterable[image_pb2.Image], server_id: str, rotation: pb.Rotation
) -> Sequence[image_pb2.Image]:
    """The backups of the server and the type that are too many: the oldest."""
    mine = [
        image
        for image in images
        if image.spec.properties.get("instance_uuid") == server_id
        and image.spec.properties.get("image_type") == "backup"
        and image.spec.properties.get("backup_type") == rotation.backup_type
    ]
    mine.sort(key=lambda image: (image.meta.create_time.seconds, image.meta.create_time.nanos), reverse=True)
    return mine[rotation.kept :]
