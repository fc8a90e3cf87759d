"""Networking API v2.0, sections "Floating IPs" and "Floating IP pools"."""

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network.v1 import floating_ip_pb2 as pb
from fabric.network.v1.floating_ip_pb2_grpc import FloatingIpServiceStub
from gateway.core.codec import Enum, IpAddress, JsonValue, Text, Uuid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.network.port_forwardings import brief
from gateway.network.ports import STATUS as PORT_STATUS
from gateway.network.resource import BOTH, PREFIX, Resource, shown, standard_fields
from gateway.network.tags import Tags

STATUS = Enum(pb.FloatingIpStatus.State, unset="DOWN")
ID = Uuid(nullable=True)
IP = IpAddress(nullable=True)


def port_details(floating: pb.FloatingIp, request: Request) -> JsonValue:
    """What is worth knowing of the port that it leads to."""
    if not floating.HasField("port"):
        return None
    port = floating.port
    return {
        "status": PORT_STATUS.to_json(port.status.state),
        "name": port.meta.name,
        "admin_state_up": port.spec.admin_state_up,
        "network_id": port.spec.network_id,
        "device_owner": port.spec.device_owner,
        "mac_address": port.spec.mac_address,
        "device_id": port.spec.device_id,
    }


FLOATING_IPS = Table(
    singular="floatingip",
    plural="floatingips",
    message=pb.FloatingIp,
    service=FloatingIpServiceStub,
    fields=[
        shown("id", "meta.id"),
        shown("project_id", "meta.project_id", write="create", aliases=("tenant_id",)),
        shown("floating_network_id", "spec.floating_network_id", write="create", required=True, codec=Uuid),
        shown("floating_ip_address", "spec.floating_ip_address", write="create", codec=IP),
        Field("subnet_id", "spec.subnet_id", write="create", codec=ID, read=False),
        shown("port_id", "spec.port_id", write=BOTH, codec=ID),
        shown("fixed_ip_address", "spec.fixed_ip_address", write=BOTH, codec=IP),
        shown("router_id", "spec.router_id", codec=ID),
        shown("status", "status.state", codec=STATUS),
        shown("dns_name", "spec.dns_name", write="create"),
        shown("dns_domain", "spec.dns_domain", write="create", codec=Text(255)),
        shown("qos_policy_id", "spec.qos_policy_id", write=BOTH, codec=Text(36, nullable=True)),
        Field("qos_network_policy_id", "qos_network_policy_id", codec=Text(nullable=True)),
        Field("port_details", compute=port_details),
        Field(
            "port_forwardings",
            compute=lambda floating, _: [brief(part) for part in floating.port_forwardings],
        ),
        *standard_fields(),
    ],
)


class FloatingIps(Resource):
    """An update that says nothing ends the association: once it was all that an update could say."""

    async def update(self, request: Request) -> Response:
        if request.json().get("floatingip") != {}:
            return await super().update(request)
        alone = pb.FloatingIp()
        alone.meta.id, alone.meta.etag = request.params["id"], await self.expected(request)
        changed = await self.change(request, alone, FieldMask(paths=["spec.port_id"]))
        return Response(200, {"floatingip": self.table.render(changed, request)})


async def pools(request: Request) -> Response:
    """The IPv4 subnets of external networks."""
    asked = pb.ListFloatingIpPoolsRequest()
    reply = await request.call(request.stub(FloatingIpServiceStub).ListFloatingIpPools, asked)
    found = [
        {name: getattr(pool, name) for name in pool.DESCRIPTOR.fields_by_name}
        | {"tenant_id": pool.project_id}
        for pool in reply.floating_ip_pools
    ]
    for name in (*pb.FloatingIpPool.DESCRIPTOR.fields_by_name, "tenant_id"):
        if wanted := request.args(name):
            found = [pool for pool in found if pool[name] in wanted]
    return Response(200, {"floatingip_pools": found})


_resource = FloatingIps(FLOATING_IPS)
routes = [
    *_resource.routes(),
    *Tags(_resource).routes(),
    *(Route("GET", f"{PREFIX}/{word}", pools) for word in ("floatingip_pools", "floatingip-pools")),
]
