"""Networking API v2.0, sections "Agents" and "Availability zones"."""

from datetime import UTC

from google.protobuf.timestamp_pb2 import Timestamp

from fabric.network.v1 import agent_pb2 as pb
from fabric.network.v1.agent_pb2_grpc import AgentServiceStub
from gateway.core.codec import Json, JsonValue, Text
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.network.codec import AgentRole
from gateway.network.resource import BOOL, PREFIX, Resource, shown

BINARY, TOPIC = "fabric-agent", "N/A"


def _time(instant: Timestamp) -> JsonValue:
    """As agents have it, and nothing else in this API."""
    if not instant.seconds:
        return None
    return instant.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%S")


AGENTS = Table(
    singular="agent",
    plural="agents",
    message=pb.Agent,
    service=AgentServiceStub,
    fields=[
        shown("id", "meta.id"),
        shown("host", "spec.node"),
        shown("agent_type", "spec.role", codec=AgentRole()),
        Field("binary", const=BINARY, filter=True),
        Field("topic", const=TOPIC, filter=True),
        shown("admin_state_up", "spec.admin_state_up", write="update", codec=BOOL),
        shown("alive", "status.alive", codec=BOOL),
        shown("availability_zone", "spec.availability_zone", codec=Text(nullable=True)),
        shown("description", "meta.description", write="update", codec=Text(nullable=True)),
        Field("configurations", "status.detail", codec=Json),
        Field("created_at", compute=lambda agent, _: _time(agent.meta.create_time)),
        Field("started_at", compute=lambda agent, _: _time(agent.spec.start_time)),
        Field("heartbeat_timestamp", compute=lambda agent, _: _time(agent.status.heartbeat_time)),
        Field("resources_synced", const=None),
    ],
)


async def node_of(request: Request) -> str:
    """The node of the agent that the path names. Raises Fault: there is none."""
    asked = pb.GetAgentRequest(id=request.params["agent_id"])
    agent = await request.call(request.stub(AgentServiceStub).GetAgent, asked)
    return str(agent.spec.node)


async def zones(request: Request) -> Response:
    """Each zone once for each kind of resource that has zones."""
    reply = await request.call(request.stub(AgentServiceStub).ListZones, pb.ListZonesRequest())
    found = [
        {
            "name": zone.name,
            "resource": resource,
            "state": "available" if zone.available else "unavailable",
        }
        for zone in reply.zones
        for resource in ("network", "router")
    ]
    for name in ("name", "resource", "state"):
        if wanted := request.args(name):
            found = [zone for zone in found if zone[name] in wanted]
    return Response(200, {"availability_zones": found})


routes = [
    *Resource(AGENTS).routes("list show update delete"),
    Route("GET", f"{PREFIX}/availability_zones", zones),
]
