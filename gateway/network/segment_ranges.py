"""Networking API v2.0, section "Network segment ranges"."""

from fabric.network.v1 import network_segment_range_pb2 as pb
from fabric.network.v1.network_segment_range_pb2_grpc import NetworkSegmentRangeServiceStub
from gateway.core.codec import Integer, JsonValue, Text
from gateway.core.http import Request
from gateway.core.table import Field, Table
from gateway.network.resource import BOOL, BOTH, Resource, first_fields, shown, standard_fields
from gateway.network.tags import Tags

NUMBER = Integer(0, 2**24 - 1, lenient=True)


def used(found: pb.NetworkSegmentRange, request: Request) -> JsonValue:
    """Project by VNI."""
    return {str(vni): project_id for vni, project_id in sorted(found.status.used.items())}


SEGMENT_RANGES = Table(
    singular="network_segment_range",
    plural="network_segment_ranges",
    message=pb.NetworkSegmentRange,
    service=NetworkSegmentRangeServiceStub,
    fields=[
        *first_fields(),
        Field("default", const=False, filter=True),
        shown("shared", "spec.shared", write="create", codec=BOOL, default=True),
        shown("network_type", "spec.network_type", write="create", required=True),
        shown("physical_network", "spec.physical_network", write="create", codec=Text(64, nullable=True)),
        shown("minimum", "spec.minimum", write=BOTH, codec=NUMBER),
        shown("maximum", "spec.maximum", write=BOTH, codec=NUMBER),
        Field("used", compute=used),
        Field("available", "status.available"),
        *standard_fields(),
    ],
)

_resource = Resource(SEGMENT_RANGES)
routes = [*_resource.routes(), *Tags(_resource).routes()]
