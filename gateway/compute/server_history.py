"""Compute API, section "Servers actions" (os-instance-actions): what was asked of a server."""

import hashlib

from fabric.compute.v1 import instance_action_pb2 as pb
from fabric.compute.v1 import server_pb2
from fabric.compute.v1.instance_action_pb2_grpc import InstanceActionServiceStub
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from fabric.type.v1.query_pb2 import Filter
from gateway.compute.reading import limit_of, marker_of, page, time_of
from gateway.core.codec import JsonValue, Timestamp
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

_TIME = Timestamp("nova")
_SNAPSHOTS = ("createImage", "createBackup", "shelve")  # they are over when their record says so
_EVENTS = {"create": "compute__do_build_and_run_instance", "delete": "compute_terminate_instance"}


def _shown(request: Request, action: pb.InstanceAction) -> dict[str, JsonValue]:
    shown: dict[str, JsonValue] = {
        "action": action.action,
        "instance_uuid": action.server_id,
        "request_id": action.meta.request_id,
        "user_id": action.user_id,
        "project_id": action.meta.project_id,
        "start_time": _TIME.to_json(action.meta.create_time),
        "message": action.message or None,
    }
    if request.microversion >= (2, 58):
        shown["updated_at"] = _TIME.to_json(action.meta.update_time)
    return shown


async def index(request: Request) -> Response:
    """The latest first."""
    asked = pb.ListInstanceActionsRequest(server_id=request.params["server_id"])
    paged = request.microversion >= (2, 58)
    query = asked.query
    query.sorts.add(path="meta.create_time", descending=True)
    if paged:
        since, before = time_of(request, "changes-since"), time_of(request, "changes-before")
        if since:
            query.filters.add(path="meta.update_time", op=Filter.OP_GE, values=[since])
        if before and request.microversion >= (2, 66):
            query.filters.add(path="meta.update_time", op=Filter.OP_LE, values=[before])
        if since and before and since > before:
            raise Invalid("The value of changes-since must be less than or equal to changes-before.")
        query.limit, marker = limit_of(request), marker_of(request)
        query.marker = f"{asked.server_id}:{marker}" if marker else ""
    reply = await request.call(request.stub(InstanceActionServiceStub).ListInstanceActions, asked)
    shown = [_shown(request, action) for action in reply.instance_actions]
    if not paged:
        return Response(200, {"instanceActions": shown})
    ids = [action.meta.request_id for action in reply.instance_actions]
    answer = page(request, "instanceActions", shown, ids)
    if "instanceActions_links" in answer:
        answer["links"] = answer.pop("instanceActions_links")
    return Response(200, answer)


async def show(request: Request) -> Response:
    """One, with its event."""
    asked = pb.GetInstanceActionRequest(
        server_id=request.params["server_id"], request_id=request.params["request_id"]
    )
    action = await request.call(request.stub(InstanceActionServiceStub).GetInstanceAction, asked)
    shown = _shown(request, action)
    if request.microversion >= (2, 51) or "admin" in request.roles:
        is_admin = "admin" in request.roles
        shown["events"] = [await _event(request, action, is_admin)]
    return Response(200, {"instanceAction": shown})


async def _event(request: Request, action: pb.InstanceAction, is_admin: bool) -> JsonValue:
    """An action is one event, which is over when the server's agent has seen the generation that it made."""
    finish, result = action.meta.update_time, "Success"
    try:
        asked = server_pb2.GetServerRequest(id=action.server_id)
        server = await request.call(request.stub(ServerServiceStub).GetServer, asked)
    except Fault as fault:
        if fault.status != 404:
            raise
        server = None
    done = server is None or server.status.observed_generation >= action.generation
    if server is not None and server.view.vm_state == "shelved_offloaded":  # the reports of its node are gone
        done = not server.view.task_state or server.shelf.request_id != action.meta.request_id
    if action.action in _SNAPSHOTS:
        done = server is None or server.snapshot.request_id != action.meta.request_id
        result = "Error" if action.message else "Success"
    never_built = server is not None and server.view.status == "ERROR" and action.action == "create"
    if never_built or action.message:
        done, result = True, "Error"
    is_seen = server is not None and server.status.HasField("observe_time")
    if server is not None and is_seen and done and action.action not in _SNAPSHOTS:
        finish = max(finish, server.status.observe_time, key=lambda time: (time.seconds, time.nanos))
    event: dict[str, JsonValue] = {
        "event": _EVENTS.get(action.action, f"compute_{action.action}_instance"),
        "start_time": _TIME.to_json(action.meta.create_time),
        "finish_time": _TIME.to_json(finish) if done else None,
        "result": result if done else None,
    }
    version = request.microversion
    if is_admin or version < (2, 51):
        event["traceback"] = None
    if version >= (2, 62):
        owner = action.meta.project_id + action.node
        event["hostId"] = hashlib.sha224(owner.encode()).hexdigest() if action.node else ""
        if is_admin:
            event["host"] = action.node
    if version >= (2, 84):
        event["details"] = action.message or None
    return event


_BASE = "/v2.1/servers/{server_id}/os-instance-actions"
routes = [Route("GET", _BASE, index), Route("GET", f"{_BASE}/{{request_id}}", show)]
