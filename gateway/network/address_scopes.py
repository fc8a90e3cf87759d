"""Networking API v2.0, section "Address scopes"."""

from fabric.network.v1 import address_scope_pb2 as pb
from fabric.network.v1.address_scope_pb2_grpc import AddressScopeServiceStub
from gateway.core.table import Table
from gateway.network.codec import IpVersion
from gateway.network.resource import BOOL, BOTH, Resource, shown

ADDRESS_SCOPES = Table(
    singular="address_scope",
    plural="address_scopes",
    message=pb.AddressScope,
    service=AddressScopeServiceStub,
    fields=[
        shown("id", "meta.id"),
        shown("name", "meta.name", write=BOTH),
        shown("project_id", "meta.project_id", write="create", aliases=("tenant_id",)),
        shown("ip_version", "spec.ip_version", write="create", required=True, codec=IpVersion()),
        shown("shared", "spec.shared", write=BOTH, codec=BOOL),
    ],
)

routes = Resource(ADDRESS_SCOPES).routes()
