"""Networking API v2.0, section "Networks"."""

from collections.abc import Iterable, Sequence

from google.protobuf.message import Message

from fabric.network.v1 import network_pb2 as pb
from fabric.network.v1 import segment_pb2
from fabric.network.v1.network_pb2_grpc import NetworkServiceStub
from gateway.core.codec import Enum, Integer, JsonValue, List, Text
from gateway.core.http import Request
from gateway.core.table import Field, Object, Table
from gateway.network.resource import BOOL, BOTH, Resource, first_fields, shown, standard_fields
from gateway.network.tags import Tags

STATUS = Enum(pb.NetworkStatus.State, names={"STATE_BUILDING": "BUILD"}, unset="ACTIVE")
SEGMENT = Integer(0, 2**24 - 1, nullable=True, lenient=True)

PHYSICAL_NETWORK = Text(64, nullable=True)
_PROVIDER = ("provider:network_type", "provider:physical_network", "provider:segmentation_id")
SEGMENTS = List(
    Object(
        segment_pb2.Segment,
        [
            Field("provider:network_type", "spec.network_type", write="create"),
            Field(
                "provider:physical_network", "spec.physical_network", write="create", codec=PHYSICAL_NETWORK
            ),
            Field("provider:segmentation_id", "spec.segmentation_id", write="create", codec=SEGMENT),
        ],
    )
)


def l2_adjacency(network: pb.Network, request: Request) -> JsonValue:
    """Whether all ports of the network reach each other without a router."""
    return not network.status.routed


class NetworkTable(Table):
    """Of a network with several segments they are listed, in place of the provider attributes of one."""

    def render_list(
        self,
        messages: Iterable[Message],
        request: Request,
        *,
        detail: bool = True,
        fields: Sequence[str] = (),
    ) -> list[dict[str, JsonValue]]:
        networks = list(messages)
        items = super().render_list(networks, request, detail=detail, fields=fields)
        for network, item in zip(networks, items, strict=True):
            several = len(network.spec.segments) > 1  # type: ignore[attr-defined]
            for name in _PROVIDER if several else ("segments",):
                item.pop(name, None)
        return items


NETWORKS = NetworkTable(
    singular="network",
    plural="networks",
    message=pb.Network,
    service=NetworkServiceStub,
    fields=[
        *first_fields(),
        shown("admin_state_up", "spec.admin_state_up", write=BOTH, codec=BOOL, default=True),
        shown("status", "status.state", codec=STATUS),
        Field("subnets", "status.subnet_ids"),
        shown("shared", "spec.shared", write=BOTH, codec=BOOL),
        shown("router:external", "spec.external", write=BOTH, codec=BOOL),
        shown("mtu", "spec.mtu", write=BOTH, codec=Integer(0, 65535, lenient=True)),
        Field(
            "availability_zone_hints", "spec.availability_zone_hints", write="create", codec=List(Text(min=1))
        ),
        Field("availability_zones", "status.availability_zones"),
        Field("ipv4_address_scope", "status.ipv4_address_scope", codec=Text(nullable=True)),
        Field("ipv6_address_scope", "status.ipv6_address_scope", codec=Text(nullable=True)),
        shown("port_security_enabled", "spec.port_security_enabled", write=BOTH, codec=BOOL, default=True),
        shown("dns_domain", "spec.dns_domain", write=BOTH),
        shown("provider:network_type", "spec.network_type", write=BOTH, visible_to="admin"),
        shown(
            "provider:physical_network",
            "spec.physical_network",
            write=BOTH,
            visible_to="admin",
            codec=PHYSICAL_NETWORK,
        ),
        shown(
            "provider:segmentation_id",
            "spec.segmentation_id",
            write=BOTH,
            visible_to="admin",
            codec=SEGMENT,
        ),
        Field("segments", "spec.segments", write="create", visible_to="admin", codec=SEGMENTS),
        shown("is_default", "spec.is_default", write=BOTH, codec=BOOL),
        Field("l2_adjacency", compute=l2_adjacency),
        shown("qos_policy_id", "spec.qos_policy_id", write=BOTH, codec=Text(36, nullable=True)),
        *standard_fields(),
    ],
)

_resource = Resource(NETWORKS)
routes = [*_resource.routes(), *Tags(_resource).routes()]
