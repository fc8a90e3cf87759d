"""Networking API v2.0, section "DHCP agent scheduler": which nodes serve a network."""

from fabric.network.v1 import agent_pb2, dhcp_pb2, network_pb2
from fabric.network.v1.agent_pb2_grpc import AgentServiceStub
from fabric.network.v1.dhcp_pb2_grpc import DhcpServiceStub
from fabric.network.v1.network_pb2_grpc import NetworkServiceStub
from fabric.type.v1.query_pb2 import Filter, Query
from gateway.core.codec import Text
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.network.agents import AGENTS, node_of
from gateway.network.networks import NETWORKS
from gateway.network.resource import PREFIX, only

_ID = Text(36, min=1)


async def agents_of(request: Request) -> Response:
    """Those whose nodes serve the network."""
    nodes = await _listed(request, dhcp_pb2.ListDhcpRequest(network_id=request.params["network_id"]))
    query = Query(filters=[Filter(path="spec.role", values=["dhcp"]), Filter(path="spec.node", values=nodes)])
    asked = agent_pb2.ListAgentsRequest(query=query)
    reply = await request.call(request.stub(AgentServiceStub).ListAgents, asked)
    return Response(200, {"agents": AGENTS.render_list(reply.agents, request)})


async def networks_of(request: Request) -> Response:
    """Those that the agent's node serves."""
    found = await _listed(request, dhcp_pb2.ListDhcpRequest(node=await node_of(request)))
    query = Query(filters=[Filter(path="meta.id", values=found)])
    asked = network_pb2.ListNetworksRequest(query=query)
    reply = await request.call(request.stub(NetworkServiceStub).ListNetworks, asked)
    return Response(200, {"networks": NETWORKS.render_list(reply.networks, request)})


async def _listed(request: Request, asked: dhcp_pb2.ListDhcpRequest) -> list[str]:
    reply = await request.call(request.stub(DhcpServiceStub).ListDhcp, asked)
    return list(reply.ids)


async def place(request: Request) -> Response:
    """Let the agent serve the network, whether its node has ports of it or not."""
    network_id = _ID.from_json(only(request, "network_id"), "network_id")
    asked = dhcp_pb2.PlaceDhcpRequest(id=network_id, node=await node_of(request))
    await request.call(request.stub(DhcpServiceStub).PlaceDhcp, asked)
    return Response(201, {})


async def displace(request: Request) -> Response:
    """The agent does not serve the network, whatever ports its node has."""
    asked = dhcp_pb2.PlaceDhcpRequest(id=request.params["network_id"], node=await node_of(request), away=True)
    await request.call(request.stub(DhcpServiceStub).PlaceDhcp, asked)
    return Response(204)


_PLACED = f"{PREFIX}/agents/{{agent_id}}/dhcp-networks"
routes = [
    Route("GET", f"{PREFIX}/networks/{{network_id}}/dhcp-agents", agents_of),
    Route("GET", _PLACED, networks_of),
    Route("POST", _PLACED, place),
    Route("DELETE", f"{_PLACED}/{{network_id}}", displace),
]
