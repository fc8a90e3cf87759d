"""Compute API, sections "Networks" and "Project networks" (until 2.35): a thin proxy of the Network API, to read."""

from fabric.network.v1 import network_pb2 as pb
from fabric.network.v1.network_pb2_grpc import NetworkServiceStub
from gateway.core.codec import JsonValue
from gateway.core.http import Request, Response
from gateway.core.route import Route


def _shown(network: pb.Network) -> JsonValue:
    return {"id": network.meta.id, "label": network.meta.name, "cidr": str(None)}


async def _list(request: Request) -> list[pb.Network]:
    reply = await request.call(request.stub(NetworkServiceStub).ListNetworks, pb.ListNetworksRequest())
    return list(reply.networks)


async def _find(request: Request) -> pb.Network:
    asked = pb.GetNetworkRequest(id=request.params["network_id"])
    return await request.call(request.stub(NetworkServiceStub).GetNetwork, asked)


async def index(request: Request) -> Response:
    """What the caller can see."""
    return Response(200, {"networks": [_shown(network) for network in await _list(request)]})


async def show(request: Request) -> Response:
    """One."""
    return Response(200, {"network": _shown(await _find(request))})


routes = [
    Route("GET", f"/v2.1/{name}{tail}", handler, until="2.35")
    for name in ("os-networks", "os-tenant-networks")
    for tail, handler in (("", index), ("/{network_id}", show))
]
