"""How images stand."""

import pytest

from fabric.image import image as rules
from fabric.image.v1 import image_pb2 as pb

Upload, Status, View = pb.Upload, pb.ImageStatus, pb.ImageView


def an_image(
    kind: pb.Upload.Kind.ValueType = Upload.KIND_UNSPECIFIED,
    state: pb.ImageStatus.State.ValueType = Status.STATE_UNSPECIFIED,
    *,
    seen: str = "u",
    task: str = "",
    reason: str = "",
    location: str = "",
    deactivated: bool = False,
) -> pb.Image:
    image = pb.Image(spec=pb.ImageSpec(deactivated=deactivated))
    image.meta.id = "i"
    if kind:
        image.node = "n"
        image.upload.CopyFrom(pb.Upload(id="u", kind=kind, task_id=task))
        image.status.CopyFrom(pb.ImageStatus(state=state, upload_id=seen, reason=reason, size_bytes=7))
    if location:
        image.spec.locations.add(url=location)
    return image


@pytest.mark.parametrize(
    ("image", "word"),
    [
        (an_image(), "QUEUED"),
        (an_image(location="http://x"), "ACTIVE"),
        (an_image(location="http://x", deactivated=True), "DEACTIVATED"),
        (an_image(Upload.KIND_PUT), "SAVING"),
        (an_image(Upload.KIND_PUT, Status.STATE_STORED), "ACTIVE"),
        (an_image(Upload.KIND_PUT, Status.STATE_STORED, deactivated=True), "DEACTIVATED"),
        (an_image(Upload.KIND_PUT, Status.STATE_STORED, seen="another"), "SAVING"),
        (an_image(Upload.KIND_PUT, Status.STATE_ERROR), "SAVING"),
        (an_image(Upload.KIND_PUT, Status.STATE_ERROR, reason="MISSING"), "KILLED"),
        (an_image(Upload.KIND_STAGE), "UPLOADING"),
        (an_image(Upload.KIND_STAGE, Status.STATE_STORED), "UPLOADING"),
        (an_image(Upload.KIND_STAGE, Status.STATE_STORED, task="t"), "IMPORTING"),
        (an_image(Upload.KIND_DOWNLOAD, task="t"), "IMPORTING"),
        (an_image(Upload.KIND_DOWNLOAD, Status.STATE_STORED), "ACTIVE"),
    ],
)
def test_status(image: pb.Image, word: str) -> None:
    rules.derive(image)
    assert View.Status.Name(image.view.status) == f"STATUS_{word}"


def test_only_active_images_have_a_size_and_locations() -> None:
    saving = an_image(Upload.KIND_PUT)
    rules.derive(saving)
    assert not saving.view.HasField("size_bytes")
    assert not saving.view.locations
    active = an_image(Upload.KIND_PUT, Status.STATE_STORED)
    rules.derive(active)
    assert active.view.size_bytes == 7
    assert [location.url for location in active.view.locations] == ["fabric://n/i"]
    assert active.view.stores == "fabric"
