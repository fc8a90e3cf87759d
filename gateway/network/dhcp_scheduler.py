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
    """Those that serve the network to the ports that their node has of it."""
    asked = network_pb2.GetNetworkRequest(id=request.params["network_id"])
    network = await request.call(request.stub(NetworkServiceStub).GetNetwork, asked)
    without = Filter(path="spec.node", op=Filter.OP_NOT_IN, values=network.spec.nodes_without_dhcp)
    query = Query(filters=[Filter(path="spec.role", values=["dhcp"]), without])
    stub = request.stub(AgentServiceStub)
    reply = await request.call(stub.ListAgents, agent_pb2.ListAgentsRequest(query=query))
    return Response(200, {"agents": AGENTS.render_list(reply.agents, request)})


async def networks_of(request: Request) -> Response:
    """Those that the agent serves where its node has ports of them."""
    without = Filter(path="spec.nodes_without_dhcp", op=Filter.OP_NOT_IN, values=[await node_of(request)])
    asked = network_pb2.ListNetworksRequest(query=Query(filters=[without]))
    reply = await request.call(request.stub(NetworkServiceStub).ListNetworks, asked)
    return Response(200, {"networks": NETWORKS.render_list(reply.networks, request)})


async def place(request: Request) -> Response:
    """Let the agent serve the network again."""
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
