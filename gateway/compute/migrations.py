"""Compute API, sections "Migrations" and "Server external events"."""

import zlib

from fabric.compute.v1 import migration_pb2 as pb
from fabric.compute.v1.migration_pb2_grpc import MigrationServiceStub
from fabric.compute.v1.server_pb2 import GetServerRequest
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from fabric.type.v1.query_pb2 import Filter
from gateway.compute import body
from gateway.compute.links import links
from gateway.compute.reading import body_of, limit_of, marker_of, only_known, page, time_of
from gateway.core.codec import JsonValue, Timestamp
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


TIME = Timestamp("nova")
_TYPES = {
    pb.MIGRATION_KIND_LIVE: "live-migration",
    pb.MIGRATION_KIND_COLD: "migration",
    pb.MIGRATION_KIND_RESIZE: "resize",
    pb.MIGRATION_KIND_EVACUATION: "evacuation",
}
_STATUSES = {  # where the kind makes no difference
    pb.MIGRATION_STATE_ACCEPTED: "accepted",
    pb.MIGRATION_STATE_PREPARING: "pre-migrating",
    pb.MIGRATION_STATE_RUNNING: "migrating",
    pb.MIGRATION_STATE_POST_MIGRATING: "post-migrating",
    pb.MIGRATION_STATE_FINISHED: "finished",
    pb.MIGRATION_STATE_CONFIRMING: "confirming",
    pb.MIGRATION_STATE_CONFIRMED: "confirmed",
    pb.MIGRATION_STATE_REVERTING: "reverting",
    pb.MIGRATION_STATE_REVERTED: "reverted",
    pb.MIGRATION_STATE_ABORTING: "migrating",
    pb.MIGRATION_STATE_CANCELLED: "cancelled",
    pb.MIGRATION_STATE_COMPLETED: "completed",
    pb.MIGRATION_STATE_ERROR: "error",
    pb.MIGRATION_STATE_DONE: "done",
}
_LIVE = {
    pb.MIGRATION_STATE_PREPARING: "preparing",
    pb.MIGRATION_STATE_RUNNING: "running",
    pb.MIGRATION_STATE_ABORTING: "running",
}
_QUERY: dict[str, body.Rule] = {
    "hidden": body.anything,
    "host": body.anything,
    "instance_uuid": body.anything,
    "source_compute": body.anything,
    "status": body.anything,
    "migration_type": body.anything,
    "limit": body.anything,
    "marker": body.anything,
}


def status(migration: pb.Migration) -> str:
    """As the API calls it."""
    live = _LIVE if migration.kind == pb.MIGRATION_KIND_LIVE else {}
    return live.get(migration.state) or _STATUSES[migration.state]


def number(migration: pb.Migration) -> int:
    """The id of the API, which is a number."""
    return int(migration.meta.id[:7], 16)


def ways(migration: pb.Migration) -> dict[str, JsonValue]:
    """From where to where, and when."""
    target = migration.target or None
    return {
        "id": number(migration),
        "source_compute": migration.source,
        "source_node": migration.source,
        "dest_compute": target,
        "dest_node": target,
        "dest_host": target,
        "status": status(migration),
        "created_at": TIME.to_json(migration.meta.create_time),
        "updated_at": TIME.to_json(migration.meta.update_time),
    }


def asked_by(migration: pb.Migration, request: Request) -> dict[str, JsonValue]:
    """What later versions add."""
    shown: dict[str, JsonValue] = {}
    if request.microversion >= (2, 59):
        shown["uuid"] = migration.meta.id
    if request.microversion >= (2, 80):
        shown["user_id"], shown["project_id"] = migration.user_id or None, migration.meta.project_id
    return shown


def is_going_on(migration: pb.Migration) -> bool:
    """Whether it is a live one that has not come to an end."""
    over = {"completed", "cancelled", "error"}
    return migration.kind == pb.MIGRATION_KIND_LIVE and status(migration) not in over


def _shown(migration: pb.Migration, request: Request) -> dict[str, JsonValue]:
    shown = ways(migration) | {
        "instance_uuid": migration.server_id,
        "old_instance_type_id": _flavor_number(migration.old_flavor_id),
        "new_instance_type_id": _flavor_number(migration.new_flavor_id),
    }
    if request.microversion >= (2, 23):
        shown["migration_type"] = _TYPES[migration.kind]
        if is_going_on(migration):
            path = f"servers/{migration.server_id}/migrations"
            shown["links"] = links(request, path, str(number(migration)))
    return shown | asked_by(migration, request)


def _flavor_number(flavor_id: str) -> int:
    return zlib.crc32(flavor_id.encode()) & 0x7FFFFFFF


async def index(request: Request) -> Response:
    """The newest first; for administrators."""
    version = request.microversion
    known = dict(_QUERY)
    if version >= (2, 59):
        known["changes-since"] = body.anything
    if version >= (2, 66):
        known["changes-before"] = body.anything
    if version >= (2, 80):
        known["user_id"] = known["project_id"] = body.anything
    only_known(request, known, (2, 59))
    asked = pb.ListMigrationsRequest()
    query = asked.query
    for name, path in (("instance_uuid", "server_id"), ("source_compute", "source")):
        if values := request.args(name):
            query.filters.add(path=path, values=values)
    if version >= (2, 80):
        for name, path in (("user_id", "user_id"), ("project_id", "meta.project_id")):
            if values := request.args(name):
                query.filters.add(path=path, values=values)
    since, before = time_of(request, "changes-since"), time_of(request, "changes-before")
    if since and version >= (2, 59):
        query.filters.add(path="meta.update_time", op=Filter.OP_GE, values=[since])
    if before and version >= (2, 66):
        query.filters.add(path="meta.update_time", op=Filter.OP_LE, values=[before])
    reply = await request.call(request.stub(MigrationServiceStub).ListMigrations, asked)
    found = [migration for migration in reply.migrations if _is_asked_for(migration, request)]
    if version < (2, 59):
        return Response(200, {"migrations": [_shown(migration, request) for migration in found]})
    found = _after(found, marker_of(request))[: limit_of(request)]
    shown = [_shown(migration, request) for migration in found]
    return Response(200, page(request, "migrations", shown, [m.meta.id for m in found]))


def _is_asked_for(migration: pb.Migration, request: Request) -> bool:
    """By what the API calls otherwise than the record."""
    host, wanted, kind = request.args("host"), request.args("status"), request.args("migration_type")
    if host and not {migration.source, migration.target} & set(host):
        return False
    if kind and _TYPES[migration.kind] not in kind:
        return False
    return not wanted or status(migration) in wanted


def _after(found: list[pb.Migration], marker: str) -> list[pb.Migration]:
    if not marker:
        return found
    for at, migration in enumerate(found):
        if migration.meta.id == marker:
            return found[at + 1 :]
    raise Fault(400, f"Marker {marker[:64]} not found.", reason="MARKER_NOT_FOUND")


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
