"""Networking API v2.0, section "Trunk networking"."""

from typing import Any

from fabric.network.v1 import trunk_pb2 as pb
from fabric.network.v1.trunk_pb2_grpc import TrunkServiceStub
from gateway.core.codec import Enum, Integer, JsonValue, List, Text
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Object, Table
from gateway.network.resource import BOOL, BOTH, PREFIX, Resource, first_fields, shown, standard_fields
from gateway.network.tags import Tags

STATUS = Enum(pb.TrunkStatus.State, names={"STATE_BUILDING": "BUILD"}, unset="DOWN")
_FIELDS = [
    Field("port_id", "port_id", write=BOTH, required=True, codec=Text(36, min=1)),
    Field("segmentation_type", "segmentation_type", write=BOTH, codec=Enum(("vlan", "inherit"))),
    Field("segmentation_id", "segmentation_id", write=BOTH, codec=Integer(lenient=True)),
]
SUB_PORTS = List(Object(pb.SubPort, _FIELDS), nullable=True)
_DETAILS = List(Object(pb.SubPort, [*_FIELDS, Field("mac_address", "mac_address")]))

TRUNKS = Table(
    singular="trunk",
    plural="trunks",
    message=pb.Trunk,
    service=TrunkServiceStub,
    fields=[
        *first_fields(),
        shown("admin_state_up", "spec.admin_state_up", write=BOTH, codec=BOOL),
        shown("port_id", "spec.port_id", write="create", required=True),
        shown("status", "status.state", codec=STATUS),
        Field("sub_ports", "spec.sub_ports", write="create", codec=SUB_PORTS),
        *standard_fields(),
    ],
)


class Trunks(Resource):
    """Trunks, and the ports that carry tags on them."""

    async def add(self, request: Request) -> Response:
        asked = pb.AddSubPortsRequest(id=request.params["id"], sub_ports=_sub_ports(request))
        changed = await request.call(request.stub(TrunkServiceStub).AddSubPorts, asked)
        return Response(200, TRUNKS.render(changed, request))

    async def remove(self, request: Request) -> Response:
        asked = pb.RemoveSubPortsRequest(id=request.params["id"], sub_ports=_sub_ports(request))
        changed = await request.call(request.stub(TrunkServiceStub).RemoveSubPorts, asked)
        return Response(200, TRUNKS.render(changed, request))

    async def sub_ports(self, request: Request) -> Response:
        found = await self.get(request)
        return Response(200, {"sub_ports": SUB_PORTS.to_json(found.spec.sub_ports)})


def _sub_ports(request: Request) -> list[pb.SubPort]:
    body = request.json()
    if set(body) != {"sub_ports"}:
        raise Invalid("Resource body required", field="sub_ports", reason="HTTP_BAD_REQUEST")
    found: list[pb.SubPort] = list(SUB_PORTS.from_json(body["sub_ports"], "sub_ports"))
    return found


def details(port: Any, request: Request) -> JsonValue:
    """Of a port that is the parent of a trunk."""
    if not port.HasField("trunk"):
        return None
    return {"trunk_id": port.trunk.meta.id, "sub_ports": _DETAILS.to_json(port.trunk.spec.sub_ports)}


_trunks = Trunks(TRUNKS)
_item = f"{PREFIX}/trunks/{{id}}"
routes = [
    *_trunks.routes(),
    *Tags(_trunks).routes(),
    Route("PUT", f"{_item}/add_subports", _trunks.add),
    Route("PUT", f"{_item}/remove_subports", _trunks.remove),
    Route("GET", f"{_item}/get_subports", _trunks.sub_ports),
]
