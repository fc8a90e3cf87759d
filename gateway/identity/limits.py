"""Identity API v3, section "Unified limits"."""

from typing import Any

from fabric.identity.v1 import limit_pb2 as pb
from fabric.identity.v1.limit_pb2_grpc import LimitServiceStub as Stub
from gateway.core.codec import Integer, JsonValue, Text
from gateway.core.crud import crud
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.identity.dialect import collection
from gateway.identity.links import links
from gateway.identity.projects import BOTH

_NUMBER = Integer(-1, 2**31 - 1)
_TEXT = Text(65535, nullable=True)
_ID = Text(64, nullable=True)

REGISTERED = Table(
    singular="registered_limit",
    plural="registered_limits",
    message=pb.RegisteredLimit,
    service=Stub,
    fields=[
        Field("id", "meta.id"),
        Field("service_id", "service_id", write=BOTH, required=True, codec=Text(64), filter=True),
        Field("region_id", "region_id", write=BOTH, codec=Text(255, nullable=True), filter=True),
        Field(
            "resource_name", "resource_name", write=BOTH, required=True, codec=Text(255, min=1), filter=True
        ),
        Field("default_limit", "default_limit", write=BOTH, required=True, codec=_NUMBER),
        Field("description", "meta.description", write=BOTH, codec=_TEXT),
        links("registered_limits"),
    ],
)
LIMITS = Table(
    singular="limit",
    plural="limits",
    message=pb.Limit,
    service=Stub,
    fields=[
        Field("id", "meta.id"),
        Field("project_id", "project_id", write="create", codec=_ID, filter=True),
        Field("domain_id", "domain_id", write="create", codec=_ID, filter=True),
        Field("service_id", "service_id", write="create", required=True, codec=Text(64), filter=True),
        Field("region_id", "region_id", write="create", codec=Text(255, nullable=True), filter=True),
        Field(
            "resource_name",
            "resource_name",
            write="create",
            required=True,
            codec=Text(255, min=1),
            filter=True,
        ),
        Field("resource_limit", "resource_limit", write=BOTH, required=True, codec=_NUMBER),
        Field("description", "meta.description", write=BOTH, codec=_TEXT),
        links("limits"),
    ],
)


def _parsed(table: Table, request: Request) -> list[Any]:
    bodies = request.json().get(table.plural)
    if not isinstance(bodies, list) or not bodies or not all(isinstance(body, dict) for body in bodies):
        raise Invalid(f"'{table.plural}' must be a list of objects.", field=table.plural)
    return [table.parse_create(body, request) for body in bodies if isinstance(body, dict)]


async def create_registered(request: Request) -> Response:
    message = pb.CreateRegisteredLimitsRequest(registered_limits=_parsed(REGISTERED, request))
    reply = await request.call(request.stub(Stub).CreateRegisteredLimits, message)
    items = REGISTERED.render_list(reply.registered_limits, request)
    return Response(201, collection(request, "registered_limits", items))


async def create(request: Request) -> Response:
    message = pb.CreateLimitsRequest(limits=_parsed(LIMITS, request))
    reply = await request.call(request.stub(Stub).CreateLimits, message)
    return Response(201, collection(request, "limits", LIMITS.render_list(reply.limits, request)))


async def model(request: Request) -> Response:
    """Limits stand alone: those of a project are not bounded by its parents'."""
    await request.call(request.stub(Stub).ListRegisteredLimits, pb.ListRegisteredLimitsRequest())
    shown: JsonValue = {
        "name": "flat",
        "description": "Limit enforcement and validation does not take project hierarchy into consideration.",
    }
    return Response(200, {"model": shown, "links": {"self": f"{request.api_url}/v3/limits/model"}})


routes = [
    Route("GET", "/v3/limits/model", model),
    *crud(REGISTERED, "/v3", only="list show update delete", update="PATCH", segment="registered_limits"),
    *crud(LIMITS, "/v3", only="list show update delete", update="PATCH"),
    Route("POST", "/v3/registered_limits", create_registered),
    Route("POST", "/v3/limits", create),
]
