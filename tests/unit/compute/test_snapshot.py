"""What is next about a snapshot, from what the node and the image service say."""

from datetime import UTC, datetime, timedelta

import pytest

from fabric.compute import server as servers
from fabric.compute import snapshot as rules
from fabric.compute.snapshot import Step
from fabric.compute.v1.server_pb2 import Rotation, Server, Snapshot, SnapshotStatus
from fabric.image.v1.image_pb2 import Image, ImageView
from tests.unit.compute.test_server import a_server

NOW = datetime(2026, 1, 2, tzinfo=UTC)
COPYING, UPLOADING = Snapshot.PHASE_COPYING, Snapshot.PHASE_UPLOADING


def snapshotted(
    phase: "Snapshot.Phase.ValueType" = Snapshot.PHASE_ACCEPTED,
    seen: "SnapshotStatus.State.ValueType" = SnapshotStatus.STATE_UNSPECIFIED,
) -> Server:
    server = a_server()
    rules.begin(server, "i1", "req-1", NOW, None)
    server.snapshot.phase = phase
    if seen:
        server.status.snapshot.image_id, server.status.snapshot.state = "i1", seen
        server.status.snapshot.message = "no room"
    return server


def an_image(status: "ImageView.Status.ValueType" = ImageView.STATUS_QUEUED) -> Image:
    return Image(view=ImageView(status=status))


@pytest.mark.parametrize(
    ("phase", "seen", "status", "step"),
    [
        (COPYING, SnapshotStatus.STATE_UNSPECIFIED, ImageView.STATUS_QUEUED, Step.WAIT),
        (COPYING, SnapshotStatus.STATE_COPYING, ImageView.STATUS_QUEUED, Step.WAIT),
        (COPYING, SnapshotStatus.STATE_COPIED, ImageView.STATUS_QUEUED, Step.BEGIN_UPLOAD),
        (COPYING, SnapshotStatus.STATE_FAILED, ImageView.STATUS_QUEUED, Step.GIVE_UP),
        (UPLOADING, SnapshotStatus.STATE_SENDING, ImageView.STATUS_SAVING, Step.WAIT),
        (UPLOADING, SnapshotStatus.STATE_BROKEN, ImageView.STATUS_SAVING, Step.WAIT),
        (UPLOADING, SnapshotStatus.STATE_BROKEN, ImageView.STATUS_QUEUED, Step.BEGIN_UPLOAD),
        (UPLOADING, SnapshotStatus.STATE_FAILED, ImageView.STATUS_QUEUED, Step.GIVE_UP),
        (UPLOADING, SnapshotStatus.STATE_SENDING, ImageView.STATUS_ACTIVE, Step.FINISH),
        (Snapshot.PHASE_ABORTING, SnapshotStatus.STATE_COPIED, ImageView.STATUS_QUEUED, Step.END),
    ],
)
def test_what_is_next(
    phase: "Snapshot.Phase.ValueType",
    seen: "SnapshotStatus.State.ValueType",
    status: "ImageView.Status.ValueType",
    step: Step,
) -> None:
    assert rules.next_step(snapshotted(phase, seen), an_image(status), NOW)[0] == step


def test_one_whose_image_was_never_recorded_is_given_up_in_time() -> None:
    server = snapshotted()
    assert rules.next_step(server, None, NOW) == (Step.WAIT, "")
    assert rules.next_step(server, None, NOW + 2 * rules.RECORD_WITHIN)[0] == Step.GIVE_UP


def test_without_its_image_or_its_node_it_is_given_up() -> None:
    server = snapshotted(COPYING, SnapshotStatus.STATE_COPYING)
    assert rules.next_step(server, None, NOW)[0] == Step.GIVE_UP
    server.node = "n2"
    assert rules.next_step(server, an_image(), NOW)[0] == Step.GIVE_UP


def test_uploads_are_not_tried_for_ever() -> None:
    server = snapshotted(UPLOADING, SnapshotStatus.STATE_BROKEN)
    server.snapshot.tries = 8
    assert rules.next_step(server, an_image(), NOW) == (Step.GIVE_UP, "no room")


def test_a_server_says_how_far_its_snapshot_is() -> None:
    words = []
    for phase in (Snapshot.PHASE_ACCEPTED, COPYING, UPLOADING):
        server = snapshotted(phase)
        servers.derive(server)
        words.append((server.view.status, server.view.task_state))
    assert words == [
        ("ACTIVE", "image_snapshot_pending"),
        ("ACTIVE", "image_snapshot"),
        ("ACTIVE", "image_uploading"),
    ]


def test_the_image_inherits_what_the_servers_image_says() -> None:
    server = a_server()
    server.spec.flavor.root_gb, server.spec.image.id, server.spec.image.min_ram_mib = 5, "base", 64
    server.spec.image.properties.update({"hw_disk_bus": "scsi", "img_signature": "x", "os_glance_x": "y"})
    image = rules.image_of(server, "i1", "name", {"mine": "1", "image_type": "test"}, ("p1", "u1"))
    assert (image.spec.min_disk_gb, image.spec.min_ram_mib, image.spec.disk_format) == (5, 64, "qcow2")
    said = image.spec.properties
    assert said["image_type"] == "test"
    assert {"hw_disk_bus": "scsi", "mine": "1", "base_image_ref": "base"}.items() <= dict(said).items()
    assert not {"img_signature", "os_glance_x"} & set(said)


def test_the_oldest_backups_of_the_type_are_surplus() -> None:
    images = []
    for age, kind in enumerate(["daily", "weekly", "daily", "daily"]):
        server = a_server()
        image = rules.image_of(server, f"i{age}", "b", {}, ("p1", "u1"))
        rules.mark_backup(image, "s1", Rotation(backup_type=kind))
        image.meta.create_time.FromDatetime(NOW - timedelta(days=age))
        images.append(image)
    surplus = rules.surplus(images, "s1", Rotation(backup_type="daily", kept=2))
    assert [image.meta.id for image in surplus] == ["i3"]
    assert not rules.surplus(images, "s2", Rotation(backup_type="daily", kept=0))
