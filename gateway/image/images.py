"""Image API v2, section "Images"."""

from collections.abc import Iterable, Mapping

from fabric.image.v1 import image_pb2 as pb
from fabric.image.v1.image_pb2_grpc import ImageServiceStub
from gateway.core.codec import Bool, Enum, Integer, Json, JsonValue, List, Text, Timestamp, Uuid
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Object, Table

DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop", "gpt")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
IMPORT_METHODS = ("glance-direct", "web-download", "glance-download", "copy-image")
READ_ONLY = (
    "created_at",
    "updated_at",
    "status",
    "checksum",
    "size",
    "virtual_size",
    "direct_url",
    "self",
    "file",
    "schema",
    "stores",
    "os_hash_algo",
    "os_hash_value",
)
RESERVED = ("location", "deleted", "deleted_at")
RESERVED_PREFIX = "os_glance"

LOCATION = Object(
    pb.Location,
    [
        Field("url", "url", write="create", required=True, codec=Text(2048)),
        Field("metadata", "metadata", write="create", codec=Json),
    ],
)
SIZE = Integer(0, 2**62)

IMAGES = Table(
    singular="image",
    plural="images",
    message=pb.Image,
    service=ImageServiceStub,
    extra="spec.properties",
    fields=[
        Field("id", "meta.id", write="create", codec=Uuid, filter=True, sort=True),
        Field("name", "meta.name", write="create update", codec=Text(nullable=True), filter=True, sort=True),
        Field("status", "view.status", codec=Enum(pb.ImageView.Status, lower=True), filter=True, sort=True),
        Field(
            "visibility",
            "spec.visibility",
            write="create update",
            codec=Enum(pb.ImageSpec.Visibility, lower=True, unset="shared"),
        ),
        Field("protected", "spec.protected", write="create update", codec=Bool, filter=True),
        Field("os_hidden", "spec.hidden", write="create update", codec=Bool, filter=True),
        Field(
            "disk_format",
            "spec.disk_format",
            write="create update",
            codec=Enum(DISK_FORMATS, nullable=True),
            filter=True,
            sort=True,
        ),
        Field(
            "container_format",
            "spec.container_format",
            write="create update",
            codec=Enum(CONTAINER_FORMATS, nullable=True),
            filter=True,
            sort=True,
        ),
        Field("min_disk", "spec.min_disk_gb", write="create update", codec=Integer(0), filter=True),
        Field("min_ram", "spec.min_ram_mib", write="create update", codec=Integer(0), filter=True),
        Field(
            "owner",
            "meta.project_id",
            write="create update",
            codec=Text(nullable=True),
            filter=True,
        ),
        Field("tags", "meta.tags", write="create update"),
        Field("size", "view.size_bytes", codec=SIZE, filter=True, sort=True),
        Field("virtual_size", "view.virtual_size_bytes", codec=SIZE),
        Field("checksum", "view.checksum", codec=Text(nullable=True), filter=True),
        Field("os_hash_algo", "view.hash_algo", codec=Text(nullable=True), filter=True),
        Field("os_hash_value", "view.hash_value", codec=Text(nullable=True), filter=True),
        Field("created_at", "meta.create_time", codec=Timestamp(), filter=True, sort=True),
        Field("updated_at", "meta.update_time", codec=Timestamp(), filter=True, sort=True),
        Field("locations", "spec.locations", write="create update", codec=List(LOCATION), read=False),
        Field("self", compute=lambda image, _: f"/v2/images/{image.meta.id}"),
        Field("file", compute=lambda image, _: f"/v2/images/{image.meta.id}/file"),
        Field("schema", const="/v2/schemas/image"),
    ],
)


def render(images: Iterable[pb.Image], request: Request) -> list[dict[str, JsonValue]]:
    """The images as the API shows them."""
    found = list(images)
    items = IMAGES.render_list(found, request)
    for image, item in zip(found, items, strict=True):
        item["locations"] = [LOCATION.to_json(location) for location in image.view.locations]
        if image.view.stores:
            item["stores"] = image.view.stores
        if image.HasField("import_mark"):
            item["os_glance_importing_to_stores"] = image.import_mark.importing
            item["os_glance_failed_import"] = image.import_mark.failed
    return items


def check_names(names: Iterable[str], *, read_only: Iterable[str] = READ_ONLY) -> None:
    """Raise for attributes that callers do not write."""
    for name in names:
        if name in read_only:
            raise Fault(403, f"Attribute '{name}' is read-only.", reason="READ_ONLY")
        if name in RESERVED or name.startswith(RESERVED_PREFIX):
            raise Fault(403, f"Attribute '{name[:255]}' is reserved.", reason="RESERVED")


def check_properties(body: Mapping[str, JsonValue]) -> None:
    """Raise for custom properties that are no strings."""
    for name, value in body.items():
        if name not in IMAGES.shape.by_name and not isinstance(value, str):
            raise Invalid(
                f"Provided object does not match schema 'image': {str(value)[:80]!r} is not of type 'string': "
                f"'{name[:255]}'",
                field=name[:255],
            )


async def create(request: Request) -> Response:
    body = request.json()
    check_names(body)
    check_properties(body)
    message = IMAGES.parse_create(body, request)
    image = await request.call(
        request.stub(ImageServiceStub).CreateImage, pb.CreateImageRequest(image=message)
    )
    headers = {
        "location": f"{request.api_url}/v2/images/{image.meta.id}",
        "openstack-image-import-methods": ",".join(IMPORT_METHODS),
    }
    return Response(201, render([image], request)[0], headers)


async def get(request: Request) -> pb.Image:
    """The image that the path names. Raises Fault."""
    asked = pb.GetImageRequest(id=request.params["image_id"])
    return await request.call(request.stub(ImageServiceStub).GetImage, asked)


async def show(request: Request) -> Response:
    return Response(200, render([await get(request)], request)[0])


def _no_empty_id(request: Request) -> None:
    """/v2/images/ is the image whose id is empty, not the list."""
    if request.path.endswith("/"):
        raise Fault(404, "No image found with ID ", reason="IMAGE_NOT_FOUND")


async def delete_nothing(request: Request) -> Response:
    _no_empty_id(request)
    raise Fault(405, "DELETE is not allowed here.", headers={"allow": "GET, HEAD, POST"})


async def list_images(request: Request) -> Response:
    _no_empty_id(request)
    dialect = request.api.dialect
    listing = dialect.listing(request, IMAGES)
    if not request.args("os_hidden"):
        listing.query.filters.add(path="spec.hidden", values=["false"])
    asked = pb.ListImagesRequest(
        query=listing.query,
        visibility=request.arg("visibility"),
        member_status=request.arg("member_status"),
    )
    reply = await request.call(request.stub(ImageServiceStub).ListImages, asked)
    if not listing.query.limit:
        reply = pb.ListImagesResponse()
    items = render(reply.images, request)
    return Response(200, dialect.page(request, IMAGES, items, listing, reply.next_marker))


async def delete(request: Request) -> Response:
    asked = pb.DeleteImageRequest(id=request.params["image_id"])
    await request.call(request.stub(ImageServiceStub).DeleteImage, asked)
    return Response(204)


async def deactivate(request: Request) -> Response:
    asked = pb.DeactivateImageRequest(id=request.params["image_id"])
    await request.call(request.stub(ImageServiceStub).DeactivateImage, asked)
    return Response(204)


async def reactivate(request: Request) -> Response:
    asked = pb.ReactivateImageRequest(id=request.params["image_id"])
    await request.call(request.stub(ImageServiceStub).ReactivateImage, asked)
    return Response(204)


async def add_tag(request: Request) -> Response:
    tag = request.params["tag"]
    if len(tag) > 255:
        raise Invalid(
            f"Provided object does not match schema 'image': {tag[:64]!r} is too long", field="tags"
        )
    asked = pb.AddImageTagRequest(id=request.params["image_id"], tag=tag)
    await request.call(request.stub(ImageServiceStub).AddImageTag, asked)
    return Response(204)


async def remove_tag(request: Request) -> Response:
    asked = pb.RemoveImageTagRequest(id=request.params["image_id"], tag=request.params["tag"])
    await request.call(request.stub(ImageServiceStub).RemoveImageTag, asked)
    return Response(204)


routes = [
    Route("GET", "/v2/images", list_images),
    Route("POST", "/v2/images", create),
    Route("DELETE", "/v2/images", delete_nothing),
    Route("GET", "/v2/images/{image_id}", show),
    Route("DELETE", "/v2/images/{image_id}", delete),
    Route("POST", "/v2/images/{image_id}/actions/deactivate", deactivate),
    Route("POST", "/v2/images/{image_id}/actions/reactivate", reactivate),
    Route("PUT", "/v2/images/{image_id}/tags/{tag}", add_tag),
    Route("DELETE", "/v2/images/{image_id}/tags/{tag}", remove_tag),
]
