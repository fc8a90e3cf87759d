"""Networking API v2.0, section "Networking Flavors Framework"."""

from fabric.network.v1 import flavor_pb2 as pb
from fabric.network.v1.flavor_pb2_grpc import FlavorServiceStub
from gateway.core.codec import List, Text
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.network.resource import BOOL, BOTH, PREFIX, Resource, shown

_DESCRIPTION = shown("description", "meta.description", write=BOTH, codec=Text(1024, nullable=True))

FLAVORS = Table(
    singular="flavor",
    plural="flavors",
    message=pb.Flavor,
    service=FlavorServiceStub,
    fields=[
        shown("id", "meta.id"),
        shown("name", "meta.name", write=BOTH),
        _DESCRIPTION,
        shown("service_type", "spec.service_type", write="create", required=True),
        shown("enabled", "spec.enabled", write=BOTH, codec=BOOL),
        Field("service_profiles", "spec.service_profile_ids", write=BOTH, codec=List(Text(36, min=1))),
    ],
)

PROFILES = Table(
    singular="service_profile",
    plural="service_profiles",
    message=pb.ServiceProfile,
    service=FlavorServiceStub,
    fields=[
        shown("id", "meta.id"),
        _DESCRIPTION,
        shown("driver", "spec.driver", write=BOTH, codec=Text(1024)),
        shown("metainfo", "spec.metainfo", write=BOTH, codec=Text(4096)),
        shown("enabled", "spec.enabled", write=BOTH, codec=BOOL),
    ],
)


async def associate(request: Request) -> Response:
    body = request.json().get("service_profile")
    id_ = body.get("id") if isinstance(body, dict) else None
    if not isinstance(id_, str):
        raise Invalid("Resource body required", field="service_profile", reason="HTTP_BAD_REQUEST")
    asked = pb.AddServiceProfileRequest(id=request.params["id"], service_profile_id=id_)
    await request.call(request.stub(FlavorServiceStub).AddServiceProfile, asked)
    return Response(201, {"service_profile": {"id": id_}})


async def dissociate(request: Request) -> Response:
    asked = pb.RemoveServiceProfileRequest(
        id=request.params["id"], service_profile_id=request.params["service_profile"]
    )
    await request.call(request.stub(FlavorServiceStub).RemoveServiceProfile, asked)
    return Response(204)


_below = f"{PREFIX}/flavors/{{id}}/service_profiles"
routes = [
    *Resource(FLAVORS).routes(),
    *Resource(PROFILES).routes(path=f"{PREFIX}/service_profiles"),
    Route("POST", _below, associate),
    Route("DELETE", f"{_below}/{{service_profile}}", dissociate),
]
