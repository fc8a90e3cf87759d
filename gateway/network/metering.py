"""Networking API v2.0, section "Metering labels and rules"."""

from fabric.network.v1 import metering_pb2 as pb
from fabric.network.v1.metering_pb2_grpc import MeteringServiceStub
from gateway.core.codec import Enum, Text
from gateway.core.table import Table
from gateway.network.resource import BOOL, PREFIX, Resource, shown

_PREFIX = Text(nullable=True)

LABELS = Table(
    singular="metering_label",
    plural="metering_labels",
    message=pb.MeteringLabel,
    service=MeteringServiceStub,
    fields=[
        shown("id", "meta.id"),
        shown("name", "meta.name", write="create"),
        shown("description", "meta.description", write="create", codec=Text(1024)),
        shown("project_id", "meta.project_id", write="create", aliases=("tenant_id",)),
        shown("shared", "spec.shared", write="create", codec=BOOL),
    ],
)

RULES = Table(
    singular="metering_label_rule",
    plural="metering_label_rules",
    message=pb.MeteringLabelRule,
    service=MeteringServiceStub,
    fields=[
        shown("id", "meta.id"),
        shown("project_id", "meta.project_id", write="create", aliases=("tenant_id",)),
        shown("metering_label_id", "spec.metering_label_id", write="create", required=True),
        shown(
            "direction", "spec.direction", write="create", required=True, codec=Enum(("ingress", "egress"))
        ),
        shown("excluded", "spec.excluded", write="create", codec=BOOL),
        *(
            shown(name, f"spec.{name}", write="create", codec=_PREFIX)
            for name in ("remote_ip_prefix", "source_ip_prefix", "destination_ip_prefix")
        ),
    ],
)

routes = [
    *Resource(LABELS).routes("list show create delete", f"{PREFIX}/metering/metering-labels"),
    *Resource(RULES).routes("list show create delete", f"{PREFIX}/metering/metering-label-rules"),
]
