"""Networking API v2.0, section "Address groups"."""

from typing import Any

from fabric.network.v1 import address_group_pb2 as pb
from fabric.network.v1.address_group_pb2_grpc import AddressGroupServiceStub
from gateway.core.codec import List, Text
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.network.resource import (
    BOOL,
    PREFIX,
    Resource,
    first_fields,
    only,
    shown,
    standard_fields,
)
from gateway.network.tags import Tags

ADDRESSES = List(Text(64))

ADDRESS_GROUPS = Table(
    singular="address_group",
    plural="address_groups",
    message=pb.AddressGroup,
    service=AddressGroupServiceStub,
    fields=[
        *first_fields(),
        Field("addresses", "spec.addresses", write="create", codec=ADDRESSES),
        shown("shared", "spec.shared", codec=BOOL),
        *standard_fields(),
    ],
)


class AddressGroups(Resource):
    """What changes addresses beside the usual handlers."""

    def operations(self) -> list[Route]:
        """Below the group's item."""
        item = f"{PREFIX}/address-groups/{{id}}"
        return [
            Route("PUT", f"{item}/add_addresses", self.add),
            Route("PUT", f"{item}/remove_addresses", self.remove),
        ]

    async def add(self, request: Request) -> Response:
        asked = pb.AddAddressesRequest(id=request.params["id"], addresses=_addresses(request))
        return self._shown(
            request, await request.call(request.stub(AddressGroupServiceStub).AddAddresses, asked)
        )

    async def remove(self, request: Request) -> Response:
        asked = pb.RemoveAddressesRequest(id=request.params["id"], addresses=_addresses(request))
        return self._shown(
            request, await request.call(request.stub(AddressGroupServiceStub).RemoveAddresses, asked)
        )

    def _shown(self, request: Request, group: pb.AddressGroup) -> Response:
        return Response(200, {"address_group": self.table.render(group, request)})


def _addresses(request: Request) -> list[Any]:
    return ADDRESSES.from_json(only(request, "addresses"), "addresses")


_resource = AddressGroups(ADDRESS_GROUPS)
routes = [*_resource.routes(), *_resource.operations(), *Tags(_resource).routes()]
