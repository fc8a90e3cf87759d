"""Networking API v2.0, section "Logging Resource"."""

from fabric.network.v1 import log_pb2 as pb
from fabric.network.v1.log_pb2_grpc import LogServiceStub
from gateway.core.codec import Enum, Text
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Table
from gateway.network.resource import BOOL, BOTH, PREFIX, Resource, first_fields, shown, standard_fields

_ID = Text(36, nullable=True)

LOGS = Table(
    singular="log",
    plural="logs",
    message=pb.Log,
    service=LogServiceStub,
    fields=[
        *first_fields(),
        shown("resource_type", "spec.resource_type", write="create", required=True),
        shown("resource_id", "spec.resource_id", write="create", codec=_ID),
        shown("target_id", "spec.target_id", write="create", codec=_ID),
        shown(
            "event",
            "spec.event",
            write="create",
            codec=Enum(("ACCEPT", "DROP", "ALL")),
            default="ALL",
        ),
        shown("enabled", "spec.enabled", write=BOTH, codec=BOOL),
        *standard_fields(tags=False),
    ],
)


async def loggable(request: Request) -> Response:
    asked = pb.ListLoggableResourcesRequest()
    reply = await request.call(request.stub(LogServiceStub).ListLoggableResources, asked)
    return Response(200, {"loggable_resources": [{"type": one.type} for one in reply.loggable_resources]})


routes = [
    *Resource(LOGS).routes(path=f"{PREFIX}/log/logs"),
    Route("GET", f"{PREFIX}/log/loggable-resources", loggable),
]
