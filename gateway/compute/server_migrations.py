"""Compute API, section "Server migrations": live migrations of one server that go on."""

from fabric.compute.v1 import migration_pb2 as pb
from fabric.compute.v1.migration_pb2_grpc import MigrationServiceStub
from gateway.compute import body, servers
from gateway.compute.migrations import asked_by, is_going_on, number, status, ways
from gateway.compute.reading import body_of, only_admins
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route

_RULE = "servers:migrations"
_NOT_SENT_YET = frozenset({"accepted", "preparing"})


def _shown(migration: pb.Migration, request: Request) -> dict[str, JsonValue]:
    progress = migration.progress
    return (
        ways(migration)
        | {
            "server_uuid": migration.server_id,
            "memory_total_bytes": progress.memory_total_bytes,
            "memory_processed_bytes": progress.memory_processed_bytes,
            "memory_remaining_bytes": progress.memory_remaining_bytes,
            "disk_total_bytes": progress.disk_total_bytes,
            "disk_processed_bytes": progress.disk_processed_bytes,
            "disk_remaining_bytes": progress.disk_remaining_bytes,
        }
        | asked_by(migration, request)
    )


async def index(request: Request) -> Response:
    """Those that go on."""
    await only_admins(request, f"{_RULE}:index")
    found = [migration for migration in await _migrations(request) if is_going_on(migration)]
    return Response(200, {"migrations": [_shown(migration, request) for migration in found]})


async def show(request: Request) -> Response:
    """One that goes on."""
    await only_admins(request, f"{_RULE}:show")
    migration = await _find(request)
    if not is_going_on(migration):
        raise Fault(
            404,
            f"Live migration {number(migration)} for server {migration.server_id} is not in progress.",
            reason="MIGRATION_NOT_IN_PROGRESS",
        )
    return Response(200, {"migration": _shown(migration, request)})


async def delete(request: Request) -> Response:
    """The server stays where it is."""
    await only_admins(request, f"{_RULE}:delete")
    migration = await _find(request)
    verb = "abort live migration"
    if status(migration) in _NOT_SENT_YET and request.microversion < (2, 65):
        raise _not_now(migration, verb)
    asked = pb.CancelMigrationRequest(id=migration.meta.id)
    try:
        await request.call(request.stub(MigrationServiceStub).CancelMigration, asked)
    except Fault as fault:
        raise _refused(fault, migration, verb) from fault
    return Response(202)


async def act(request: Request) -> Response:
    """force_complete: the guest is paused for the rest."""
    await only_admins(request, f"{_RULE}:force_complete")
    body_of(request, "force_complete", body.null)
    migration = await _find(request)
    asked = pb.ForceMigrationRequest(id=migration.meta.id)
    try:
        await request.call(request.stub(MigrationServiceStub).ForceMigration, asked)
    except Fault as fault:
        raise _refused(fault, migration, "force_complete") from fault
    return Response(202)


def _refused(fault: Fault, migration: pb.Migration, verb: str) -> Fault:
    return _not_now(migration, verb) if fault.reason == "INVALID_MIGRATION_STATE" else fault


def _not_now(migration: pb.Migration, verb: str) -> Fault:
    return Fault(
        400,
        f"Migration {number(migration)} state of instance {migration.server_id} is {status(migration)}. "
        f"Cannot {verb} while the migration is in this state.",
        reason="INVALID_MIGRATION_STATE",
    )


async def _migrations(request: Request) -> list[pb.Migration]:
    server = await servers.find(request)
    asked = pb.ListMigrationsRequest()
    asked.query.filters.add(path="server_id", values=[server.meta.id])
    reply = await request.call(request.stub(MigrationServiceStub).ListMigrations, asked)
    return list(reply.migrations)


async def _find(request: Request) -> pb.Migration:
    wanted = request.params["migration_id"]
    for migration in await _migrations(request):
        if wanted in (str(number(migration)), migration.meta.id):
            return migration
    raise Fault(
        404,
        f"Migration {wanted[:64]} could not be found for server {request.params['server_id'][:64]}.",
        reason="MIGRATION_NOT_FOUND",
    )


_BASE = "/v2.1/servers/{server_id}/migrations"
routes = [
    Route("GET", _BASE, index, since="2.23"),
    Route("GET", f"{_BASE}/{{migration_id}}", show, since="2.23"),
    Route("DELETE", f"{_BASE}/{{migration_id}}", delete, since="2.24"),
    Route("POST", f"{_BASE}/{{migration_id}}/action", act, since="2.22"),
]
