"""Networking API v2.0, section "Subnets"."""

from fabric.network.v1 import subnet_pb2 as pb
from fabric.network.v1.subnet_pb2_grpc import SubnetServiceStub
from gateway.core.codec import Cidr, Integer, IpAddress, List, Text
from gateway.core.table import Field, Object, Table
from gateway.network.codec import IpVersion
from gateway.network.resource import BOOL, BOTH, Resource, first_fields, shown, standard_fields
from gateway.network.tags import Tags

POOLS = List(
    Object(
        pb.AllocationPool,
        [
            Field("start", "start", write=BOTH, required=True, codec=IpAddress),
            Field("end", "end", write=BOTH, required=True, codec=IpAddress),
        ],
    )
)
ROUTES = List(
    Object(
        pb.HostRoute,
        [
            Field("destination", "destination", write=BOTH, required=True, codec=Cidr),
            Field("nexthop", "nexthop", write=BOTH, required=True, codec=IpAddress),
        ],
    ),
    nullable=True,
)
MODE = Text(255, nullable=True)

SUBNETS = Table(
    singular="subnet",
    plural="subnets",
    message=pb.Subnet,
    service=SubnetServiceStub,
    fields=[
        *first_fields(),
        shown("network_id", "spec.network_id", write="create", required=True),
        shown("ip_version", "spec.ip_version", write="create", required=True, codec=IpVersion()),
        shown("cidr", "spec.cidr", write="create", codec=Cidr(nullable=True)),
        shown("gateway_ip", "spec.gateway_ip", write=BOTH, codec=IpAddress(nullable=True)),
        Field("allocation_pools", "spec.allocation_pools", write=BOTH, codec=POOLS),
        Field("dns_nameservers", "spec.dns_nameservers", write=BOTH, codec=List(Text(), nullable=True)),
        Field("host_routes", "spec.host_routes", write=BOTH, codec=ROUTES),
        shown("enable_dhcp", "spec.enable_dhcp", write=BOTH, codec=BOOL),
        shown("ipv6_address_mode", "spec.ipv6_address_mode", write="create", codec=MODE),
        shown("ipv6_ra_mode", "spec.ipv6_ra_mode", write="create", codec=MODE),
        shown("subnetpool_id", "spec.subnetpool_id", write="create", codec=Text(36, nullable=True)),
        Field(
            "prefixlen",
            "spec.prefixlen",
            write="create",
            read=False,
            codec=Integer(0, 128, nullable=True, lenient=True),
        ),
        Field(
            "use_default_subnetpool", "spec.use_default_subnetpool", write="create", read=False, codec=BOOL
        ),
        shown("segment_id", "spec.segment_id", write="create", codec=Text(36, nullable=True)),
        Field("service_types", "spec.service_types", write=BOTH, codec=List(Text(255))),
        shown("dns_publish_fixed_ip", "spec.dns_publish_fixed_ip", write=BOTH, codec=BOOL),
        shown("shared", "status.shared", codec=BOOL),
        shown("router:external", "status.router_external", codec=BOOL),
        *standard_fields(),
    ],
)

_resource = Resource(SUBNETS)
routes = [*_resource.routes(), *Tags(_resource).routes()]
