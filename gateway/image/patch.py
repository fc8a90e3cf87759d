"""Image API v2, "Update image": JSON patches of both media types."""

import dataclasses
import re

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.image.v1 import image_pb2 as pb
from fabric.image.v1.image_pb2_grpc import ImageServiceStub
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.image import images
from gateway.image.images import IMAGES, LOCATION

MEDIA_TYPES = {
    "application/openstack-images-v2.0-json-patch": "2.0",
    "application/openstack-images-v2.1-json-patch": "2.1",
}
_OPERATIONS = ("add", "replace", "remove")
_DEPTHS = {"locations": {"add": 2, "remove": 2, "replace": 1}}
_TRIES = 8
_READ_ONLY = (*images.READ_ONLY, "id")


@dataclasses.dataclass(frozen=True)
class Operation:
    """One change; path without the slashes, unescaped."""

    op: str
    path: tuple[str, ...]
    value: JsonValue = None


def parse(request: Request) -> list[Operation]:
    """The operations of the body. Raises Invalid, Fault 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    version = MEDIA_TYPES.get(kind)
    if version is None:
        accepted = ", ".join(MEDIA_TYPES)
        raise Fault(415, f"The Content-Type must be one of {accepted}.", headers={"accept-patch": accepted})
    body = request.json_value
    if not isinstance(body, list):
        raise Invalid("Request body must be a JSON array of operation objects.")
    return [_operation(part, version) for part in body]


def _operation(part: JsonValue, version: str) -> Operation:
    if not isinstance(part, dict):
        raise Invalid("Operations must be JSON objects.")
    if version == "2.0":
        found = [op for op in _OPERATIONS if op in part]
        if len(found) != 1:
            raise Invalid("Operation objects must contain only one member named add, remove, or replace.")
        op, pointer = found[0], part[found[0]]
    else:
        op, pointer = str(part.get("op")), part.get("path")
        if op not in _OPERATIONS:
            raise Invalid("Operation objects must contain a member 'op' that is add, remove or replace.")
    if not isinstance(pointer, str):
        raise Invalid("Unable to find 'path' in JSON Schema change")
    path = _path(pointer)
    depth = _DEPTHS.get(path[0], {}).get(op, 1)
    if len(path) > depth:
        raise Invalid(f"Invalid JSON pointer for this resource: '{pointer[:255]}'")
    if op != "remove" and "value" not in part:
        raise Invalid(f'Operation "{op}" requires a member named "value".')
    return Operation(op, path, part.get("value"))


def _path(pointer: str) -> tuple[str, ...]:
    shown = pointer[:255]
    if not pointer.startswith("/"):
        raise Invalid(f'Pointer `{shown}` does not start with "/".')
    if re.search(r"/\s*?/", pointer[1:]):
        raise Invalid(f'Pointer `{shown}` contains adjacent "/".')
    if len(pointer) > 1 and pointer.endswith("/"):
        raise Invalid(f'Pointer `{shown}` end with "/".')
    if pointer[1:].strip() == "/" or pointer == "/":
        raise Invalid(f"Pointer `{shown}` does not contains a valid token.")
    if re.search(r"~[^01]", pointer) or pointer.endswith("~"):
        raise Invalid(f'Pointer `{shown}` contains "~" not part of a recognized escape sequence.')
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))


async def update(request: Request) -> Response:
    operations = parse(request)
    images.check_names((operation.path[0] for operation in operations), read_only=_READ_ONLY)
    for attempt in range(_TRIES):
        image = await images.get(request)
        try:
            image = await _apply(request, image, operations)
        except Fault as fault:
            if fault.reason != "STALE_REVISION" or attempt + 1 == _TRIES:
                raise
            continue
        return Response(200, images.render([image], request)[0])
    raise AssertionError


async def _apply(request: Request, image: pb.Image, operations: list[Operation]) -> pb.Image:
    attributes: dict[str, JsonValue] = {}
    properties = dict(image.spec.properties)
    for operation in operations:
        name = operation.path[0]
        if name == "locations" and len(operation.path) > 1:
            image = await _change_location(request, image, operation)
        elif name in IMAGES.shape.by_name:
            if operation.op == "remove":
                raise Fault(403, f"Property {name} may not be removed.", reason="FORBIDDEN")
            attributes[name] = operation.value
        else:
            _change_property(properties, operation)
    message, paths = IMAGES.parse_update(attributes, request)
    if properties != dict(image.spec.properties):
        message.spec.properties.update(properties)
        paths = [*paths, "spec.properties"]
    if not paths:
        return image
    message.meta.id, message.meta.etag = image.meta.id, image.meta.etag
    asked = pb.UpdateImageRequest(image=message, update_mask=FieldMask(paths=paths))
    return await request.call(request.stub(ImageServiceStub).UpdateImage, asked)


def _change_property(properties: dict[str, str], operation: Operation) -> None:
    name = operation.path[0]
    if operation.op != "add" and name not in properties:
        raise Fault(409, f"Property {name[:255]} does not exist.", reason="CONFLICT")
    if operation.op == "remove":
        del properties[name]
        return
    images.check_properties({name: operation.value})
    properties[name] = operation.value


async def _change_location(request: Request, image: pb.Image, operation: Operation) -> pb.Image:
    where = operation.path[1]
    position = 0 if where == "-" and operation.op == "add" else _position(where)
    if operation.op == "remove":
        gone = pb.RemoveImageLocationRequest(id=image.meta.id, position=position)
        return await request.call(request.stub(ImageServiceStub).RemoveImageLocation, gone)
    if operation.op == "replace":
        raise Invalid("A single location cannot be replaced.", field="locations")
    location, declared = location_of(operation.value)
    made = pb.AddImageLocationRequest(
        id=image.meta.id, location=location, declared=declared, position=position
    )
    return await request.call(request.stub(ImageServiceStub).AddImageLocation, made)


def _position(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise Invalid(f"Invalid position for a location: {text[:64]!r}.", field="locations")
    return int(text) + 1


def location_of(value: JsonValue) -> tuple[pb.Location, pb.Declared]:
    """A location and what is said of its bytes. Raises Invalid."""
    if not isinstance(value, dict):
        raise Invalid("A location must be an object.", field="locations")
    said = value.get("validation_data") or {}
    if not isinstance(said, dict):
        raise Invalid("'validation_data' must be an object.", field="validation_data")
    names = {"checksum": "checksum", "os_hash_algo": "hash_algo", "os_hash_value": "hash_value"}
    declared = pb.Declared()
    for name, entry in said.items():
        if name not in names or not isinstance(entry, str):
            raise Invalid(f"'validation_data' must not have {name[:64]!r}.", field="validation_data")
        setattr(declared, names[name], entry)
    rest = {name: entry for name, entry in value.items() if name != "validation_data"}
    location = LOCATION.from_json(rest, "locations")
    assert isinstance(location, pb.Location)
    return location, declared


routes = [Route("PATCH", "/v2/images/{image_id}", update)]
