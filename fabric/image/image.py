"""What an image may be, and how it stands. No I/O."""

import re
from collections.abc import Iterator, Mapping

from fabric.image.v1 import image_pb2 as pb
from fabric.runtime.errors import Exhausted, FailedPrecondition, InvalidArgument, PermissionDenied
from fabric.runtime.store import Collection

DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop", "gpt")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
STORE = "fabric"  # all image agents together: which of them has the bytes is no business of callers
HTTP_STORE = "http"  # of bytes at locations elsewhere
RESERVED_PREFIX = "os_glance"  # of properties that callers do not write
AGENT = "image-agent"  # the finalizer: a node may hold bytes of it
FILE_SCHEME = "fabric"  # of the locations of bytes that an image agent holds

MAX_PROPERTIES = 128
MAX_TAGS = 128
MAX_MEMBERS = 128
MAX_LOCATIONS = 10
MAX_TEXT = 255
MAX_BYTES = 100 << 10  # of a record: etcd takes 1.5 MiB in one transaction, also when each byte is escaped
MAX_VALUE = 65535

View, Spec, Status, Upload = pb.ImageView, pb.ImageSpec, pb.ImageStatus, pb.Upload
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def stored(image: pb.Image) -> bool:
    """Whether the agent has all bytes of the present upload."""
    return (
        bool(image.upload.id)
        and image.status.state == Status.STATE_STORED
        and image.status.upload_id == image.upload.id
    )


def failed(image: pb.Image) -> bool:
    """Whether the agent has said that the bytes of the present upload will not come."""
    return (
        bool(image.upload.id)
        and image.status.state == Status.STATE_ERROR
        and image.status.upload_id == image.upload.id
    )


def is_active(image: pb.Image) -> bool:
    """Whether it has data, deactivated or not."""
    if not image.upload.id:
        return bool(image.spec.locations)
    return stored(image) and not image.upload.task_id and image.upload.kind != Upload.KIND_STAGE


def status_of(image: pb.Image) -> pb.ImageView.Status.ValueType:
    """The one word that the API has for how the image stands."""
    if is_active(image):
        return View.STATUS_DEACTIVATED if image.spec.deactivated else View.STATUS_ACTIVE
    if not image.upload.id:
        return View.STATUS_QUEUED
    if image.upload.task_id:
        return View.STATUS_IMPORTING
    if failed(image) and image.status.reason == "MISSING":
        return View.STATUS_KILLED
    return View.STATUS_UPLOADING if image.upload.kind == Upload.KIND_STAGE else View.STATUS_SAVING


def derive(image: pb.Image) -> None:
    """Fill the view from the rest."""
    view = image.view
    view.Clear()
    view.status = status_of(image)
    if not is_active(image):
        return
    if image.upload.id:
        status = image.status
        view.size_bytes = status.size_bytes
        if status.virtual_size_bytes:
            view.virtual_size_bytes = status.virtual_size_bytes
        view.checksum, view.hash_algo, view.hash_value = status.checksum, status.hash_algo, status.hash_value
        view.stores = STORE
        here = view.locations.add(url=f"{FILE_SCHEME}://{image.node}/{image.meta.id}")
        here.metadata["store"] = STORE
    else:
        said = image.spec.declared
        if said.HasField("size_bytes"):
            view.size_bytes = said.size_bytes
        view.checksum, view.hash_algo, view.hash_value = said.checksum, said.hash_algo, said.hash_value
        view.stores = HTTP_STORE
    view.locations.extend(image.spec.locations)


def _charges(_: pb.Image) -> Mapping[str | tuple[str, str], int]:
    return {"image.image": 1}


IMAGES = Collection(
    service="image",
    name="images",
    message=pb.Image,
    charges=_charges,
    indexes={
        "visibility": lambda image: (Spec.Visibility.Name(image.spec.visibility),),
        "member": lambda image: tuple(member.project_id for member in image.members),
        "node": lambda image: (image.node,) if image.node else (),
    },
    node=lambda image: image.node,
    wanted=True,
    status=pb.ImageStatus,
    output_only=("view",),
    derive=derive,
)


def check(image: pb.Image) -> None:
    """Raise InvalidArgument or PermissionDenied for what no image may be; fills in the defaults."""
    spec, meta = image.spec, image.meta
    if not _UUID.fullmatch(meta.id):
        raise InvalidArgument(f"'id' must be a UUID, not {meta.id[:64]!r}.", field="id")
    spec.visibility = spec.visibility or Spec.VISIBILITY_SHARED
    if spec.visibility not in Spec.Visibility.values():
        raise InvalidArgument("'visibility' has no such value.", field="visibility")
    if image.ByteSize() > MAX_BYTES:
        raise Exhausted(
            f"All attributes of an image have at most {MAX_BYTES} bytes.", reason="IMAGE_TOO_WORDY"
        )
    _check_text("name", meta.name, MAX_TEXT)
    _check_text("owner", meta.project_id, MAX_TEXT)
    _check_word("disk_format", spec.disk_format, DISK_FORMATS)
    _check_word("container_format", spec.container_format, CONTAINER_FORMATS)
    for name, value in (("min_disk", spec.min_disk_gb), ("min_ram", spec.min_ram_mib)):
        if value < 0:
            raise InvalidArgument(f"'{name}' must not be negative.", field=name)
    for problem in _format_problems(spec):
        raise InvalidArgument(problem, field="container_format")
    check_tags(image)
    _check_properties(spec)
    if len(spec.locations) > MAX_LOCATIONS:
        raise Exhausted(
            f"Attempted: {len(spec.locations)}, Maximum: {MAX_LOCATIONS}", reason="TOO_MANY_LOCATIONS"
        )


def _check_text(name: str, value: str, most: int) -> None:
    if len(value) > most:
        raise InvalidArgument(f"'{name}' is longer than {most} characters.", field=name)


def _check_word(name: str, value: str, words: tuple[str, ...]) -> None:
    if value and value not in words:
        raise InvalidArgument(f"'{name}' must be one of {', '.join(words)}, not {value[:64]!r}.", field=name)


def _format_problems(spec: pb.ImageSpec) -> Iterator[str]:
    """Amazon's formats come in pairs."""
    disk, container = spec.disk_format, spec.container_format
    pairs = ("ami", "ari", "aki")
    if disk and container and disk != container and container in pairs:
        yield (
            "Invalid mix of disk and container formats. When setting a disk or container format to one of "
            "'aki', 'ari', or 'ami', the container and disk formats must match."
        )


def check_tags(image: pb.Image) -> None:
    """Tags are unique, short and few."""
    tags = list(dict.fromkeys(image.meta.tags))
    for tag in tags:
        _check_text("tags", tag, MAX_TEXT)
        if not tag:
            raise InvalidArgument("'tags' must not hold an empty string.", field="tags")
    if len(tags) > MAX_TAGS:
        raise Exhausted(f"Attempted: {len(tags)}, Maximum: {MAX_TAGS}", reason="TOO_MANY_TAGS")
    if len(tags) != len(image.meta.tags):
        del image.meta.tags[:]
        image.meta.tags.extend(tags)


def _check_properties(spec: pb.ImageSpec) -> None:
    for name, value in spec.properties.items():
        if not name or len(name) > MAX_TEXT:
            raise InvalidArgument("A property's name must have 1 to 255 characters.", field=name[:64])
        if len(value) > MAX_VALUE:
            raise InvalidArgument(f"'{name}' is longer than {MAX_VALUE} characters.", field=name)
        if name.startswith(RESERVED_PREFIX):
            raise PermissionDenied(f"Attribute '{name}' is reserved.", reason="RESERVED", field=name)
    if len(spec.properties) > MAX_PROPERTIES:
        raise Exhausted(
            f"Attempted: {len(spec.properties)}, Maximum: {MAX_PROPERTIES}", reason="TOO_MANY_PROPERTIES"
        )


def check_change(new: pb.Image, old: pb.Image) -> None:
    """What may not change any more."""
    if old.view.status in (View.STATUS_QUEUED, View.STATUS_IMPORTING):
        return
    for name, field in (("disk_format", "disk_format"), ("container_format", "container_format")):
        if getattr(new.spec, field) != getattr(old.spec, field):
            raise PermissionDenied(
                f"Attribute {name} can be only replaced for a queued image.", reason="FORBIDDEN", field=name
            )


def check_data(image: pb.Image) -> None:
    """Raise unless its bytes can be read."""
    if image.spec.deactivated:
        raise PermissionDenied(
            "The requested image has been deactivated. Image data download is forbidden.",
            reason="DEACTIVATED",
        )
    if not is_active(image):
        raise FailedPrecondition(f"Image {image.meta.id} has no data.", reason="NO_DATA")
