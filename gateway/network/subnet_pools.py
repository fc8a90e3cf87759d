"""Networking API v2.0, section "Subnet pools extension", and its prefix operations."""

from typing import Any

from fabric.network.v1 import subnet_pool_pb2 as pb
from fabric.network.v1.subnet_pool_pb2_grpc import SubnetPoolServiceStub
from gateway.core.codec import Cidr, Integer, List, Text, Uuid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.network.codec import PrefixLength
from gateway.network.resource import BOOL, BOTH, PREFIX, Resource, first_fields, only, shown, standard_fields
from gateway.network.tags import Tags

PREFIXES = List(Cidr())
QUOTA = Integer(0, nullable=True, lenient=True)

SUBNET_POOLS = Table(
    singular="subnetpool",
    plural="subnetpools",
    message=pb.SubnetPool,
    service=SubnetPoolServiceStub,
    fields=[
        *first_fields(),
        Field("prefixes", "spec.prefixes", write=BOTH, required=True, codec=PREFIXES),
        shown("ip_version", "spec.ip_version"),
        shown("default_prefixlen", "spec.default_prefixlen", write=BOTH, codec=PrefixLength()),
        shown("min_prefixlen", "spec.min_prefixlen", write=BOTH, codec=PrefixLength()),
        shown("max_prefixlen", "spec.max_prefixlen", write=BOTH, codec=PrefixLength()),
        shown("default_quota", "spec.default_quota", write=BOTH, codec=QUOTA),
        shown("shared", "spec.shared", write="create", codec=BOOL),
        shown("is_default", "spec.is_default", write=BOTH, codec=BOOL),
        shown("address_scope_id", "spec.address_scope_id", write=BOTH, codec=Uuid(nullable=True)),
        *standard_fields(),
    ],
)


class SubnetPools(Resource):
    """What changes prefixes beside the usual handlers."""

    def operations(self) -> list[Route]:
        """Below the pool's item."""
        item = f"{PREFIX}/{self.table.plural}/{{id}}"
        return [
            Route("PUT", f"{item}/add_prefixes", self.add),
            Route("PUT", f"{item}/remove_prefixes", self.remove),
            Route("PUT", f"{item}/onboard_network_subnets", self.onboard),
        ]

    async def add(self, request: Request) -> Response:
        asked = pb.AddPrefixesRequest(id=request.params["id"], prefixes=_prefixes(request))
        pool = await request.call(request.stub(SubnetPoolServiceStub).AddPrefixes, asked)
        return Response(200, {"prefixes": list(pool.spec.prefixes)})

    async def remove(self, request: Request) -> Response:
        asked = pb.RemovePrefixesRequest(id=request.params["id"], prefixes=_prefixes(request))
        pool = await request.call(request.stub(SubnetPoolServiceStub).RemovePrefixes, asked)
        return Response(200, {"prefixes": list(pool.spec.prefixes)})

    async def onboard(self, request: Request) -> Response:
        network_id = Text(36, min=1).from_json(only(request, "network_id"), "network_id")
        asked = pb.OnboardSubnetsRequest(id=request.params["id"], network_id=network_id)
        reply = await request.call(request.stub(SubnetPoolServiceStub).OnboardSubnets, asked)
        return Response(200, [{"id": s.meta.id, "cidr": s.spec.cidr} for s in reply.subnets])


def _prefixes(request: Request) -> list[Any]:
    return PREFIXES.from_json(only(request, "prefixes"), "prefixes")


_resource = SubnetPools(SUBNET_POOLS)
routes = [*_resource.routes(), *_resource.operations(), *Tags(_resource).routes()]
