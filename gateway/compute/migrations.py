"""Compute API, sections "Migrations" and "Server external events"."""

from fabric.compute.v1.server_pb2 import GetServerRequest
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.compute import body
from gateway.compute.nodes import nodes
from gateway.compute.reading import body_of
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route

_EVENT = body.Obj(
    {
        "server_uuid": body.uuid,
        "name": body.word(
            "network-changed",
            "network-vif-plugged",
            "network-vif-unplugged",
            "network-vif-deleted",
            "volume-extended",
            "power-update",
            "accelerator-request-bound",
            "volume-reimaged",
        ),
        "status": body.word("failed", "completed", "in-progress"),
        "tag": body.text(255, 1),
    },
    required=["server_uuid", "name"],
)


async def index(request: Request) -> Response:
    """None yet; for administrators."""
    await nodes(request)
    return Response(200, {"migrations": []})


async def events(request: Request) -> Response:
    """Taken and not needed: the loops see by themselves what the network did."""
    given = body_of(request, "events", body.items(_EVENT, least=1))
    shown: list[JsonValue] = []
    worst = 200
    for event in given:
        code = 200
        try:
            asked = GetServerRequest(id=event["server_uuid"])
            await request.call(request.stub(ServerServiceStub).GetServer, asked)
        except Fault as fault:
            if fault.status != 404:
                raise
            code, worst = 404, 207
        if not request.roles & {"admin", "service"} and code == 200:
            text = "Policy doesn't allow os_compute_api:os-server-external-events:create to be performed."
            raise Fault(403, text, reason="PERMISSION_DENIED")
        shown.append({"status": "completed", **event, "code": code})
    if all(entry["code"] == 404 for entry in shown):
        raise Fault(404, "No instances found for any event", reason="SERVER_NOT_FOUND")
    return Response(worst, {"events": shown})


routes = [
    Route("GET", "/v2.1/os-migrations", index),
    Route("POST", "/v2.1/os-server-external-events", events),
]
