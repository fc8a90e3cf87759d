"""Image API v2, section "Schemas": what clients may learn of the resources' attributes."""

import functools

from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.image.images import CONTAINER_FORMATS, DISK_FORMATS
from gateway.image.metadef_schemas import SCHEMAS, collection

_UUID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"


def _text(description: str, *, most: int = 0, null: bool = False, read_only: bool = False) -> JsonValue:
    schema: dict[str, JsonValue] = {
        "type": ["null", "string"] if null else "string",
        "description": description,
    }
    if most:
        schema["maxLength"] = most
    if read_only:
        schema["readOnly"] = True
    return schema


def _words(description: str, words: tuple[str, ...], *, null: bool = False) -> JsonValue:
    kinds: JsonValue = ["null", "string"] if null else "string"
    return {"type": kinds, "description": description, "enum": [*([None] if null else []), *words]}


def _number(description: str, *, read_only: bool = False) -> JsonValue:
    if read_only:
        return {"type": ["null", "integer"], "description": description, "readOnly": True}
    return {"type": "integer", "description": description}


_STATUSES = (
    "queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated",
)  # fmt: skip
_IMAGE: dict[str, JsonValue] = {
    "id": {"type": "string", "pattern": _UUID, "description": "An identifier for the image"},
    "name": _text("Descriptive name for the image", most=255, null=True),
    "status": {**_words("Status of the image", _STATUSES), "readOnly": True},
    "visibility": _words("Scope of image accessibility", ("community", "public", "private", "shared")),
    "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
    "os_hidden": {"type": "boolean", "description": "If true, image will not appear in default image list"},
    "checksum": _text("md5 hash of image contents.", most=32, null=True, read_only=True),
    "os_hash_algo": _text("Algorithm to calculate the os_hash_value", most=64, null=True, read_only=True),
    "os_hash_value": _text("Hash of the image contents", most=128, null=True, read_only=True),
    "owner": _text("Owner of the image", most=255, null=True),
    "size": _number("Size of image file in bytes", read_only=True),
    "virtual_size": _number("Virtual size of image in bytes", read_only=True),
    "container_format": _words("Format of the container", CONTAINER_FORMATS, null=True),
    "disk_format": _words("Format of the disk", DISK_FORMATS, null=True),
    "created_at": _text("Date and time of image registration", read_only=True),
    "updated_at": _text("Date and time of the last image modification", read_only=True),
    "tags": {
        "type": "array",
        "items": {"type": "string", "maxLength": 255},
        "description": "List of strings related to the image",
    },
    "direct_url": _text("URL to access the image file kept in external store", read_only=True),
    "min_ram": _number("Amount of ram (in MB) required to boot image."),
    "min_disk": _number("Amount of disk space (in GB) required to boot image."),
    "self": _text("An image self url", read_only=True),
    "file": _text("An image file url", read_only=True),
    "stores": _text("Store in which image data resides.", read_only=True),
    "schema": _text("An image schema url", read_only=True),
    "locations": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "url": {"type": "string", "maxLength": 255},
                "metadata": {"type": "object"},
                "validation_data": {
                    "type": "object",
                    "writeOnly": True,
                    "properties": {
                        "checksum": {"type": "string", "minLength": 32, "maxLength": 32},
                        "os_hash_algo": {"type": "string", "maxLength": 64},
                        "os_hash_value": {"type": "string", "maxLength": 128},
                    },
                    "required": ["os_hash_algo", "os_hash_value"],
                    "additionalProperties": False,
                },
            },
            "required": ["url", "metadata"],
        },
        "description": "A set of URLs to access the image file kept in external store",
    },
}
# Custom properties that have a meaning for servers.
_KNOWN = {
    "kernel_id": "ID of image stored in Glance that should be used as the kernel when booting an AMI-style image.",
    "ramdisk_id": "ID of image stored in Glance that should be used as the ramdisk when booting an AMI-style image.",
}
_MORE = {
    "instance_uuid": "Metadata which can be used to record which instance this image is associated with.",
    "architecture": "Operating system architecture",
    "os_distro": "Common name of operating system distribution",
    "os_version": "Operating system version as specified by the distributor.",
}
_MEMBER: dict[str, JsonValue] = {
    "member_id": _text("An identifier for the image member (tenantId)"),
    "image_id": {"type": "string", "pattern": _UUID, "description": "An identifier for the image"},
    "created_at": _text("Date and time of image member creation"),
    "updated_at": _text("Date and time of last modification of image member"),
    "status": _words("The status of this image member", ("pending", "accepted", "rejected")),
    "schema": _text("", read_only=True),
}
_TASK: dict[str, JsonValue] = {
    "id": {"type": "string", "pattern": _UUID, "description": "An identifier for the task"},
    "type": _words(
        "The type of task represented by this content", ("import", "api_image_import", "location_import")
    ),
    "status": _words("The current status of this task", ("pending", "processing", "success", "failure")),
    "input": {"type": ["null", "object"], "description": "The parameters required by task, JSON blob"},
    "result": {"type": ["null", "object"], "description": "The result of current task, JSON blob"},
    "owner": _text("An identifier for the owner of this task"),
    "message": _text("Human-readable informative message only included when appropriate"),
    "image_id": _text("Image associated with the task"),
    "request_id": _text("Human-readable informative request-id"),
    "user_id": _text("User associated with the task"),
    "expires_at": _text("Datetime when this resource would be subject to removal", null=True),
    "created_at": _text("Datetime when this resource was created"),
    "updated_at": _text("Datetime when this resource was updated"),
    "self": _text("", read_only=True),
    "schema": _text("", read_only=True),
}


@functools.cache
def _all() -> dict[str, JsonValue]:
    known = {
        name: {**_text(text, null=True), "pattern": _UUID, "is_base": False} for name, text in _KNOWN.items()
    }
    known |= {name: {**_text(text), "is_base": False} for name, text in _MORE.items()}
    image = {
        "name": "image",
        "properties": {**_IMAGE, **known},
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }
    member = {"name": "member", "properties": _MEMBER}
    task = {"name": "task", "properties": _TASK}
    return {
        "image": image,
        "images": collection("images", image),
        "member": member,
        "members": {
            "name": "members",
            "properties": {"members": {"type": "array", "items": member}, "schema": {"type": "string"}},
            "links": [{"rel": "describedby", "href": "{schema}"}],
        },
        "task": task,
        "tasks": collection("tasks", task),
    }


async def show(request: Request) -> Response:
    found = _all().get(request.params["name"])
    if found is None:
        raise Fault(404, "The resource could not be found.", reason="NO_SUCH_PATH")
    return Response(200, found)


async def show_metadef(request: Request) -> Response:
    found = SCHEMAS.get(request.params["name"])
    if found is None:
        raise Fault(404, "The resource could not be found.", reason="NO_SUCH_PATH")
    return Response(200, found)


routes = [
    Route("GET", "/v2/schemas/{name}", show),
    Route("GET", "/v2/schemas/metadefs/{name}", show_metadef),
]
