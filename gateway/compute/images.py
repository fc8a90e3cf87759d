"""Compute API, section "Images" (until 2.35; metadata until 2.38): a thin proxy of the Image API."""

from collections.abc import Callable, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.image.v1 import image_pb2 as pb
from fabric.image.v1.image_pb2_grpc import ImageServiceStub
from fabric.type.v1.query_pb2 import Filter
from gateway.compute import body
from gateway.compute.links import links
from gateway.compute.reading import body_of, change, limit_of, marker_of, page, time_form
from gateway.core.codec import JsonValue, Timestamp
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

_TIME = Timestamp("iso_z")
_STATES = {
    pb.ImageView.STATUS_ACTIVE: "ACTIVE",
    pb.ImageView.STATUS_QUEUED: "SAVING",
    pb.ImageView.STATUS_SAVING: "SAVING",
    pb.ImageView.STATUS_UPLOADING: "SAVING",
    pb.ImageView.STATUS_IMPORTING: "SAVING",
    pb.ImageView.STATUS_KILLED: "DELETED",
}


def _links(request: Request, image: pb.Image) -> JsonValue:
    id_ = image.meta.id
    alternate = {
        "rel": "alternate",
        "type": "application/vnd.openstack.image",
        "href": f"{request.base_url}/image/images/{id_}",
    }
    own: JsonValue = links(request, "images", id_)
    return [*own, alternate]


def _shown(request: Request, image: pb.Image) -> dict[str, JsonValue]:
    status = _STATES.get(image.view.status, "UNKNOWN")
    shown: dict[str, JsonValue] = {
        "id": image.meta.id,
        "name": image.meta.name,
        "links": _links(request, image),
        "status": status,
        "progress": 100 if status == "ACTIVE" else 25,
        "created": _TIME.to_json(image.meta.create_time),
        "updated": _TIME.to_json(image.meta.update_time),
        "minDisk": image.spec.min_disk_gb,
        "minRam": image.spec.min_ram_mib,
        "metadata": dict(image.spec.properties),
        "OS-EXT-IMG-SIZE:size": image.view.size_bytes,
    }
    server_id = image.spec.properties.get("instance_uuid", "")
    if server_id:
        own: JsonValue = links(request, "servers", server_id)
        shown["server"] = {"id": server_id, "links": own}
    return shown


async def _list(request: Request) -> list[pb.Image]:
    asked = pb.ListImagesRequest()
    query = asked.query
    query.limit, query.marker = limit_of(request), marker_of(request)
    for name, value in request.query:
        if name == "name":
            query.filters.add(path="meta.name", values=[value])
        elif name == "status":
            names = [pb.ImageView.Status.Name(key) for key, word in _STATES.items() if word == value.upper()]
            query.filters.add(path="view.status", values=names or ["STATUS_UNSPECIFIED"])
        elif name == "changes-since":
            query.filters.add(path="meta.update_time", op=Filter.OP_GE, values=[time_form(value, name)])
        elif name in ("minDisk", "minRam") and value.isascii() and value.isdigit():
            path = "spec.min_disk_gb" if name == "minDisk" else "spec.min_ram_mib"
            query.filters.add(path=path, op=Filter.OP_GE, values=[value])
        elif name == "type" or name.startswith("property-"):
            key = "image_type" if name == "type" else name.removeprefix("property-")
            query.filters.add(path=f"spec.properties.{key}", values=[value])
        elif name == "server":
            id_ = value.rpartition("/")[2]
            query.filters.add(path="spec.properties.instance_uuid", values=[id_])
    reply = await request.call(request.stub(ImageServiceStub).ListImages, asked)
    return list(reply.images)


def _page(request: Request, shown: Sequence[JsonValue], images: Sequence[pb.Image]) -> Response:
    return Response(200, page(request, "images", list(shown), [image.meta.id for image in images]))


async def index(request: Request) -> Response:
    """Ids, names and links."""
    images = await _list(request)
    shown = [
        {"id": image.meta.id, "name": image.meta.name, "links": _links(request, image)} for image in images
    ]
    return _page(request, shown, images)


async def detail(request: Request) -> Response:
    """With all details."""
    images = await _list(request)
    return _page(request, [_shown(request, image) for image in images], images)


async def _find(request: Request) -> pb.Image:
    asked = pb.GetImageRequest(id=request.params["image_id"])
    return await request.call(request.stub(ImageServiceStub).GetImage, asked)


async def show(request: Request) -> Response:
    """One."""
    return Response(200, {"image": _shown(request, await _find(request))})


async def delete(request: Request) -> Response:
    """One."""
    asked = pb.DeleteImageRequest(id=request.params["image_id"])
    await request.call(request.stub(ImageServiceStub).DeleteImage, asked)
    return Response(204)


async def nothing(request: Request) -> Response:
    """DELETE /images/ names no image."""
    raise Fault(404, "Image could not be found.", reason="IMAGE_NOT_FOUND")


async def metadata(request: Request) -> Response:
    """Its properties."""
    return Response(200, {"metadata": dict((await _find(request)).spec.properties)})


async def metadata_item(request: Request) -> Response:
    """One of them."""
    found, key = (await _find(request)).spec.properties, request.params["key"]
    if key not in found:
        raise Fault(404, "Metadata item was not found", reason="METADATA_NOT_FOUND")
    return Response(200, {"meta": {key: found[key]}})


async def _change(request: Request, changed: Callable[[pb.Image], None]) -> pb.Image:
    async def write(image: pb.Image) -> pb.Image:
        asked = pb.UpdateImageRequest(image=image, update_mask=FieldMask(paths=["spec.properties"]))
        return await request.call(request.stub(ImageServiceStub).UpdateImage, asked)

    return await change(lambda: _find(request), write, changed)


async def add_metadata(request: Request) -> Response:
    """Add and overwrite."""
    given = body_of(request, "metadata", body.METADATA)
    image = await _change(request, lambda image: image.spec.properties.update(given))
    return Response(200, {"metadata": dict(image.spec.properties)})


async def replace_metadata(request: Request) -> Response:
    """These and no others."""
    given = body_of(request, "metadata", body.METADATA)

    def changed(image: pb.Image) -> None:
        image.spec.properties.clear()
        image.spec.properties.update(given)

    image = await _change(request, changed)
    return Response(200, {"metadata": dict(image.spec.properties)})


async def set_metadata_item(request: Request) -> Response:
    """One, named twice."""
    meta, key = body_of(request, "meta", body.METADATA), request.params["key"]
    if len(meta) != 1:
        raise Invalid("Request body contains too many items", field="meta")
    if key not in meta:
        raise Invalid("Request body and URI mismatch", field="meta")
    await _change(request, lambda image: image.spec.properties.update(meta))
    return Response(200, {"meta": meta})


async def delete_metadata_item(request: Request) -> Response:
    """One."""
    key = request.params["key"]

    def changed(image: pb.Image) -> None:
        if key not in image.spec.properties:
            raise Fault(404, f"Metadata item {key[:64]} was not found", reason="METADATA_NOT_FOUND")
        del image.spec.properties[key]

    await _change(request, changed)
    return Response(204)


_BASE, _UNTIL = "/v2.1/images", "2.35"
routes = [
    Route("GET", _BASE, index, until=_UNTIL),
    Route("DELETE", _BASE, nothing, until=_UNTIL),
    Route("GET", f"{_BASE}/detail", detail, until=_UNTIL),
    Route("GET", f"{_BASE}/{{image_id}}", show, until=_UNTIL),
    Route("DELETE", f"{_BASE}/{{image_id}}", delete, until=_UNTIL),
    Route("GET", f"{_BASE}/{{image_id}}/metadata", metadata, until="2.38"),
    Route("POST", f"{_BASE}/{{image_id}}/metadata", add_metadata, until="2.38"),
    Route("PUT", f"{_BASE}/{{image_id}}/metadata", replace_metadata, until="2.38"),
    Route("GET", f"{_BASE}/{{image_id}}/metadata/{{key}}", metadata_item, until="2.38"),
    Route("PUT", f"{_BASE}/{{image_id}}/metadata/{{key}}", set_metadata_item, until="2.38"),
    Route("DELETE", f"{_BASE}/{{image_id}}/metadata/{{key}}", delete_metadata_item, until="2.38"),
]
