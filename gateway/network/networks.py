"""Networking API v2.0, section "Networks"."""

from collections.abc import Mapping
from typing import Any

from fabric.network.v1 import network_pb2 as pb
from fabric.network.v1.network_pb2_grpc import NetworkServiceStub
from gateway.core.codec import Enum, Integer, JsonValue, List, Text
from gateway.core.fault import Invalid
from gateway.core.http import Request
from gateway.core.table import Field, Table
from gateway.network.resource import BOOL, BOTH, Resource, first_fields, shown, standard_fields
from gateway.network.tags import Tags

STATUS = Enum(pb.NetworkStatus.State, names={"STATE_BUILDING": "BUILD"}, unset="ACTIVE")
SEGMENT = Integer(0, 2**24 - 1, nullable=True, lenient=True)

NETWORKS = Table(
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
            codec=Text(64, nullable=True),
        ),
        shown(
            "provider:segmentation_id",
            "spec.segmentation_id",
            write=BOTH,
            visible_to="admin",
            codec=SEGMENT,
        ),
        shown("is_default", "spec.is_default", write=BOTH, codec=BOOL),
        Field("l2_adjacency", const=True),
        shown("qos_policy_id", "spec.qos_policy_id", write=BOTH, codec=Text(36, nullable=True)),
        *standard_fields(),
    ],
)

_PROVIDER = frozenset({"provider:network_type", "provider:physical_network", "provider:segmentation_id"})


class Networks(Resource):
    """A create may name the provider attributes as a list of segments, which has one."""

    def creation(self, request: Request, body: Mapping[str, JsonValue]) -> Any:
        if "segments" in body:
            rest = {name: value for name, value in body.items() if name != "segments"}
            body = {**rest, **_of_segments(body["segments"], rest)}
        return super().creation(request, body)


def _of_segments(segments: JsonValue, rest: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """The provider attributes of a list of segments. Raises Invalid."""
    if not isinstance(segments, list):
        raise Invalid("'segments' must be a list.", field="segments")
    if not segments:
        return {}
    if _PROVIDER & rest.keys():
        raise Invalid(
            "Segments and provider values cannot both be set.",
            field="segments",
            reason="SEGMENTS_SET_IN_CONJUNCTION_WITH_PROVIDERS",
        )
    if len(segments) > 1:
        raise Invalid("a network has one segment, on all nodes.", field="segments")
    (segment,) = segments
    if not isinstance(segment, dict) or not segment.keys() <= _PROVIDER:
        raise Invalid(f"a segment has {', '.join(sorted(_PROVIDER))}.", field="segments")
    return segment


_resource = Networks(NETWORKS)
routes = [*_resource.routes(), *Tags(_resource).routes()]
