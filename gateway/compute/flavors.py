"""Compute API, sections "Flavors" and "Flavors extra-specs"."""

import uuid

from fabric.compute.v1 import flavor_pb2 as pb
from fabric.compute.v1.flavor_pb2_grpc import FlavorServiceStub
from gateway.compute.links import links
from gateway.core.codec import Bool, Integer, Map, Number, Text
from gateway.core.crud import Crud, crud
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table

_MOST = 2**31 - 1

FLAVORS = Table(
    singular="flavor",
    plural="flavors",
    message=pb.Flavor,
    service=FlavorServiceStub,
    fields=[
        Field("id", "meta.id", write="create", codec=Text(255, nullable=True), sort=True, aliases=()),
        Field("name", "meta.name", write="create", required=True, codec=Text(255, min=1), sort=True),
        Field(
            "description",
            "meta.description",
            write="create update",
            codec=Text(65535, nullable=True),
            since="2.55",
        ),
        Field("links", compute=lambda flavor, request: links(request, "flavors", flavor.meta.id)),
        Field(
            "ram",
            "spec.ram_mib",
            write="create",
            required=True,
            codec=Integer(1, _MOST, lenient=True),
            detail_only=True,
            sort=True,
        ),
        Field(
            "vcpus",
            "spec.vcpus",
            write="create",
            required=True,
            codec=Integer(1, _MOST, lenient=True),
            detail_only=True,
            sort=True,
        ),
        Field(
            "disk",
            "spec.root_gb",
            write="create",
            required=True,
            codec=Integer(0, _MOST, lenient=True),
            detail_only=True,
            sort=True,
        ),
        Field(
            "OS-FLV-EXT-DATA:ephemeral",
            "spec.ephemeral_gb",
            write="create",
            codec=Integer(0, _MOST, lenient=True),
            detail_only=True,
        ),
        Field(
            "swap", write="create", read=False, codec=Integer(0, _MOST, lenient=True), path="spec.swap_mib"
        ),
        Field("swap", detail_only=True, compute=lambda flavor, request: _swap(flavor, request)),
        Field("rxtx_factor", "spec.rxtx_factor", write="create", codec=Number(), detail_only=True),
        Field(
            "os-flavor-access:is_public",
            "spec.public",
            write="create",
            codec=Bool(lenient=True),
            default=True,
            detail_only=True,
        ),
        Field("OS-FLV-DISABLED:disabled", "spec.disabled", codec=Bool, detail_only=True),
        Field("extra_specs", "spec.extra_specs", codec=Map(), since="2.61", detail_only=True),
    ],
)


def _swap(flavor: pb.Flavor, request: Request) -> int | str:
    return flavor.spec.swap_mib or (0 if request.microversion >= (2, 75) else "")


HANDLERS = Crud(FLAVORS, "flavor_id", {}, (200, 200, 202))


async def create(request: Request) -> Response:
    """Without an id (or with "auto") the cloud chooses one."""
    body = dict(request.api.dialect.unwrap(FLAVORS, request.json(), request))
    if body.get("id") in (None, "auto", ""):
        body["id"] = str(uuid.uuid4())
    message = FLAVORS.parse_create(body, request)
    reply = await request.call(
        request.stub(FlavorServiceStub).CreateFlavor, pb.CreateFlavorRequest(flavor=message)
    )
    return Response(200, {"flavor": FLAVORS.render(reply, request)})


async def extra_specs(request: Request) -> Response:
    """All of a flavor."""
    flavor = await HANDLERS.get(request)
    return Response(200, {"extra_specs": dict(flavor.spec.extra_specs)})


routes = [
    Route("POST", "/v2.1/flavors", create),
    *crud(
        FLAVORS,
        "/v2.1",
        only="list detail show update delete",
        detail=True,
        delete_status=202,
        item_id="flavor_id",
    ),
    Route("GET", "/v2.1/flavors/{flavor_id}/os-extra_specs", extra_specs),
]
