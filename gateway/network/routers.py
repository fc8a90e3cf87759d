"""Networking API v2.0, sections "Routers", "Extra routes" and "External gateways"."""

from collections.abc import Sequence
from typing import Any

from fabric.network.v1 import router_pb2 as pb
from fabric.network.v1.router_pb2_grpc import RouterServiceStub
from gateway.core.codec import Enum, JsonValue, List, Text, Uuid
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Object, Table
from gateway.network.ports import FIXED_IPS
from gateway.network.resource import BOOL, BOTH, PREFIX, Resource, first_fields, shown, standard_fields
from gateway.network.subnets import ROUTES
from gateway.network.tags import Tags

# A router that is being made, or is switched off, is ACTIVE for callers: clients take any other word for a failure.
STATUS = Enum(
    pb.RouterStatus.State, names={"STATE_BUILDING": "ACTIVE", "STATE_DOWN": "ACTIVE"}, unset="ACTIVE"
)
GATEWAY = Object(
    pb.ExternalGateway,
    [
        Field("network_id", "network_id", write=BOTH, required=True, codec=Uuid),
        Field("enable_snat", "enable_snat", write=BOTH, codec=BOOL, default=True),
        Field("external_fixed_ips", "external_fixed_ips", write=BOTH, codec=FIXED_IPS),
        Field("qos_policy_id", "qos_policy_id", write=BOTH, codec=Text(36, nullable=True)),
    ],
)
GATEWAYS = List(GATEWAY, max=16)
Change = pb.ChangeRouterPartsRequest


class OnlyGateway(List):
    """external_gateway_info: the first of the gateways; written, it becomes the only one."""

    def __init__(self) -> None:
        super().__init__(GATEWAY, nullable=True)

    @property
    def schema(self) -> dict[str, JsonValue]:
        return GATEWAY.schema

    def to_json(self, value: Sequence[Any]) -> JsonValue:
        return GATEWAY.to_json(value[0]) if value else None

    def from_json(self, value: JsonValue, field: str) -> list[Any]:
        return [] if value == {} else [GATEWAY.from_json(value, field)]


ROUTERS = Table(
    singular="router",
    plural="routers",
    message=pb.Router,
    service=RouterServiceStub,
    fields=[
        *first_fields(),
        shown("admin_state_up", "spec.admin_state_up", write=BOTH, codec=BOOL),
        Field("status", "status.state", codec=STATUS),
        Field("external_gateway_info", "spec.external_gateways", write=BOTH, codec=OnlyGateway()),
        Field("external_gateways", "spec.external_gateways", codec=GATEWAYS),
        Field("routes", "spec.routes", write="update", codec=ROUTES),
        Field("distributed", "spec.distributed", write=BOTH, codec=BOOL, visible_to="admin"),
        Field("ha", "spec.ha", write=BOTH, codec=BOOL, visible_to="admin"),
        Field("enable_snat", const=True, filter=True),  # of gateways that say nothing of it
        Field("enable_default_route_ecmp", "spec.enable_default_route_ecmp", write=BOTH, codec=BOOL),
        Field(
            "availability_zone_hints", "spec.availability_zone_hints", write="create", codec=List(Text(min=1))
        ),
        Field("availability_zones", "status.availability_zones"),
        shown("flavor_id", "spec.flavor_id", write="create", codec=Text(36, nullable=True)),
        *standard_fields(),
    ],
)
_ID = Uuid()
_resource = Resource(ROUTERS)


def _interface(made: pb.RouterInterface) -> Response:
    owner = {"project_id": made.project_id, "tenant_id": made.project_id}
    return Response(
        200,
        {
            "id": made.router_id,
            "port_id": made.port_id,
            "network_id": made.network_id,
            "subnet_id": made.subnet_ids[0] if made.subnet_ids else None,
            "subnet_ids": list(made.subnet_ids),
            "tags": list(made.tags),
            **owner,
        },
    )


def _places(request: Request) -> dict[str, str]:
    """subnet_id and port_id of a body that may have both."""
    body = request.json_value
    if not isinstance(body, dict):
        raise Invalid("Either subnet_id or port_id must be specified", reason="BAD_REQUEST")
    return {
        name: _ID.from_json(body[name], name)
        for name in ("subnet_id", "port_id")
        if body.get(name) is not None
    }


async def add_interface(request: Request) -> Response:
    asked = pb.AddRouterInterfaceRequest(id=request.params["id"], **_places(request))
    return _interface(await request.call(request.stub(RouterServiceStub).AddRouterInterface, asked))


async def remove_interface(request: Request) -> Response:
    asked = pb.RemoveRouterInterfaceRequest(id=request.params["id"], **_places(request))
    return _interface(await request.call(request.stub(RouterServiceStub).RemoveRouterInterface, asked))


async def _change(request: Request, change: Change.Change.ValueType, name: str) -> Response:
    """Some of the routes or gateways: {"router": {name: [...]}}."""
    body = request.api.dialect.unwrap(ROUTERS, request.json(), request)
    if set(body) != {name} or not body[name]:
        raise Invalid(f"The router must have '{name}', and nothing else.", field=name)
    asked = Change(id=request.params["id"], change=change)
    if name == "routes":
        asked.routes.extend(ROUTES.from_json(body[name], name))
    else:
        asked.external_gateways.extend(GATEWAYS.from_json(body[name], name))
    changed = await request.call(request.stub(RouterServiceStub).ChangeRouterParts, asked)
    return Response(200, {"router": ROUTERS.render(changed, request)})


async def add_routes(request: Request) -> Response:
    return await _change(request, Change.CHANGE_ADD, "routes")


async def remove_routes(request: Request) -> Response:
    return await _change(request, Change.CHANGE_REMOVE, "routes")


async def add_gateways(request: Request) -> Response:
    return await _change(request, Change.CHANGE_ADD, "external_gateways")


async def update_gateways(request: Request) -> Response:
    return await _change(request, Change.CHANGE_UPDATE, "external_gateways")


async def remove_gateways(request: Request) -> Response:
    if request.api.dialect.unwrap(ROUTERS, request.json(), request) == {"external_gateways": {}}:
        asked = pb.GetRouterRequest(id=request.params["id"])  # the client says next that there is to be none
        found = await request.call(request.stub(RouterServiceStub).GetRouter, asked)
        return Response(200, {"router": ROUTERS.render(found, request)})
    return await _change(request, Change.CHANGE_REMOVE, "external_gateways")


_ITEM = f"{PREFIX}/routers/{{id}}"
routes = [
    *_resource.routes(),
    *Tags(_resource).routes(),
    Route("PUT", f"{_ITEM}/add_router_interface", add_interface),
    Route("PUT", f"{_ITEM}/remove_router_interface", remove_interface),
    Route("PUT", f"{_ITEM}/add_extraroutes", add_routes),
    Route("PUT", f"{_ITEM}/remove_extraroutes", remove_routes),
    Route("PUT", f"{_ITEM}/add_external_gateways", add_gateways),
    Route("PUT", f"{_ITEM}/update_external_gateways", update_gateways),
    Route("PUT", f"{_ITEM}/remove_external_gateways", remove_gateways),
]
