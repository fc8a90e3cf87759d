"""Networking API v2.0, section "Networks"."""

from typing import Any

from fabric.network.v1 import network_pb2 as pb
from fabric.network.v1.network_pb2_grpc import NetworkServiceStub
from gateway.core.codec import Bool, Enum, Integer, List, Text, Timestamp
from gateway.core.crud import crud
from gateway.core.table import Field, Table

BOTH = "create update"
BOOL = Bool(lenient=True)
STATUS = Enum(pb.NetworkStatus.State, names={"STATE_BUILDING": "BUILD"}, unset="ACTIVE")
VNI = Integer(0, 2**24 - 1, nullable=True, lenient=True)


def _shown(public: str, path: str, **facts: Any) -> Field:
    """Lists can be filtered and sorted by it."""
    return Field(public, path, filter=True, sort=True, **facts)


NETWORKS = Table(
    singular="network",
    plural="networks",
    message=pb.Network,
    service=NetworkServiceStub,
    fields=[
        _shown("id", "meta.id"),
        _shown("name", "meta.name", write=BOTH),
        _shown("description", "meta.description", write=BOTH),
        _shown("project_id", "meta.project_id", write="create", aliases=("tenant_id",)),
        _shown("admin_state_up", "spec.admin_state_up", write=BOTH, codec=BOOL, default=True),
        _shown("status", "status.state", codec=STATUS),
        Field("subnets", "status.subnet_ids"),
        _shown("shared", "spec.shared", write=BOTH, codec=BOOL),
        _shown("router:external", "spec.external", write=BOTH, codec=BOOL),
        _shown("mtu", "spec.mtu", write=BOTH, codec=Integer(0, 65535, lenient=True)),
        Field(
            "availability_zone_hints", "spec.availability_zone_hints", write="create", codec=List(Text(min=1))
        ),
        Field("availability_zones", const=["nova"]),
        Field("ipv4_address_scope", const=None),
        Field("ipv6_address_scope", const=None),
        _shown("port_security_enabled", "spec.port_security_enabled", write=BOTH, codec=BOOL, default=True),
        _shown("dns_domain", "spec.dns_domain", write=BOTH),
        _shown("provider:network_type", "spec.network_type", write=BOTH, visible_to="admin"),
        _shown(
            "provider:physical_network",
            "spec.physical_network",
            write=BOTH,
            visible_to="admin",
            codec=Text(64, nullable=True),
        ),
        _shown("provider:segmentation_id", "spec.segmentation_id", write=BOTH, visible_to="admin", codec=VNI),
        _shown("revision_number", "meta.generation", codec=Integer()),
        Field("created_at", "meta.create_time", codec=Timestamp("neutron")),
        Field("updated_at", "meta.update_time", codec=Timestamp("neutron")),
        Field("tags", "meta.tags"),
        _shown("is_default", "spec.is_default", write=BOTH, codec=BOOL),
        Field("l2_adjacency", const=True),
        Field("qos_policy_id", "spec.qos_policy_id", write=BOTH, codec=Text(36, nullable=True)),
        _shown("vlan_transparent", "spec.vlan_transparent", write="create", codec=BOOL),
    ],
)

routes = crud(NETWORKS, "/v2.0")
