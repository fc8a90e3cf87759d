"""Networking API v2.0, section "L3 agent scheduler": which node has a router."""

from fabric.network.v1 import agent_pb2, router_pb2
from fabric.network.v1.agent_pb2_grpc import AgentServiceStub
from fabric.network.v1.router_pb2_grpc import RouterServiceStub
from fabric.type.v1.query_pb2 import Filter, Query
from gateway.core.codec import Uuid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.network.agents import AGENTS, node_of
from gateway.network.resource import PREFIX
from gateway.network.routers import ROUTERS

_ID = Uuid()


async def agents_of(request: Request) -> Response:
    """The agent of the router's node."""
    asked = router_pb2.GetRouterRequest(id=request.params["router_id"])
    router = await request.call(request.stub(RouterServiceStub).GetRouter, asked)
    query = Query(
        filters=[Filter(path="spec.node", values=[router.node]), Filter(path="spec.role", values=["l3"])]
    )
    reply = await request.call(
        request.stub(AgentServiceStub).ListAgents, agent_pb2.ListAgentsRequest(query=query)
    )
    return Response(200, {"agents": AGENTS.render_list(reply.agents, request)})


async def routers_of(request: Request) -> Response:
    """Those that live on the agent's node."""
    node = await node_of(request)
    query = Query(filters=[Filter(path="node", values=[node])])
    reply = await request.call(
        request.stub(RouterServiceStub).ListRouters, router_pb2.ListRoutersRequest(query=query)
    )
    return Response(200, {"routers": ROUTERS.render_list(reply.routers, request)})


async def place(request: Request) -> Response:
    """Move the router to the agent's node."""
    router_id = _ID.from_json(request.json().get("router_id"), "router_id")
    asked = router_pb2.PlaceRouterRequest(id=router_id, node=await node_of(request))
    await request.call(request.stub(RouterServiceStub).PlaceRouter, asked)
    return Response(201, {})


async def displace(request: Request) -> Response:
    """Take the router from the agent's node; it is nowhere until it is placed."""
    asked = router_pb2.PlaceRouterRequest(
        id=request.params["router_id"], node=await node_of(request), away=True
    )
    await request.call(request.stub(RouterServiceStub).PlaceRouter, asked)
    return Response(204)


_PLACED = f"{PREFIX}/agents/{{agent_id}}/l3-routers"
routes = [
    Route("GET", f"{PREFIX}/routers/{{router_id}}/l3-agents", agents_of),
    Route("GET", _PLACED, routers_of),
    Route("POST", _PLACED, place),
    Route("DELETE", f"{_PLACED}/{{router_id}}", displace),
]
