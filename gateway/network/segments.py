"""Networking API v2.0, section "Segments"."""

from fabric.network.v1 import segment_pb2 as pb
from fabric.network.v1.segment_pb2_grpc import SegmentServiceStub
from gateway.core.codec import Integer, Text, Timestamp
from gateway.core.table import Table
from gateway.network.networks import PHYSICAL_NETWORK, SEGMENT
from gateway.network.resource import BOTH, Resource, shown

SEGMENTS = Table(
    singular="segment",
    plural="segments",
    message=pb.Segment,
    service=SegmentServiceStub,
    fields=[
        shown("id", "meta.id"),
        shown("name", "meta.name", write=BOTH, codec=Text(255, nullable=True)),
        shown("network_id", "spec.network_id", write="create", required=True),
        shown("network_type", "spec.network_type", write="create", required=True),
        shown("physical_network", "spec.physical_network", write="create", codec=PHYSICAL_NETWORK),
        shown("segmentation_id", "spec.segmentation_id", write="create", codec=SEGMENT),
        shown("description", "meta.description", write=BOTH),
        shown("revision_number", "meta.generation", codec=Integer()),
        shown("created_at", "meta.create_time", codec=Timestamp("neutron")),
        shown("updated_at", "meta.update_time", codec=Timestamp("neutron")),
    ],
)

routes = Resource(SEGMENTS).routes()
