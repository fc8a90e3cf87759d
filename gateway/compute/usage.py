"""Compute API, section "Usage reports": of the servers that exist now."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.compute.body import refuse
from gateway.compute.reading import learn_roles, limit_of, marker_of
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

_FORM = "%Y-%m-%dT%H:%M:%S.%f"


def _time(request: Request, name: str, default: datetime) -> datetime:
    text = request.arg(name)
    if not text:
        return default
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refuse(name, text, "Datetime is in invalid format") from error


def _period(request: Request) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    start = _time(request, "start", now - timedelta(weeks=4))
    stop = _time(request, "end", now)
    if start >= stop:
        raise Invalid("Invalid start time. The start time cannot occur after the end time.", field="start")
    return start, stop


def _plain(time: datetime) -> str:
    return time.astimezone(UTC).replace(tzinfo=None).strftime(_FORM)


def _entry(server: pb.Server, start: datetime, stop: datetime) -> dict[str, JsonValue]:
    made = server.meta.create_time.ToDatetime(UTC)
    if server.view.HasField("launch_time"):
        made = server.view.launch_time.ToDatetime(UTC)
    flavor = server.spec.flavor
    seconds = max(0.0, (min(stop, datetime.now(UTC)) - max(start, made)).total_seconds())
    return {
        "instance_id": server.meta.id,
        "name": server.meta.name,
        "hours": seconds / 3600,
        "flavor": flavor.name,
        "tenant_id": server.meta.project_id,
        "vcpus": flavor.vcpus,
        "memory_mb": flavor.ram_mib,
        "local_gb": flavor.root_gb + flavor.ephemeral_gb,
        "started_at": _plain(made),
        "ended_at": None,
        "state": server.view.vm_state,
        "uptime": max(0, int((datetime.now(UTC) - made).total_seconds())),
    }


def _usage(
    project: str, servers: Sequence[pb.Server], start: datetime, stop: datetime, *, detail: bool
) -> dict[str, JsonValue]:
    entries = [_entry(server, start, stop) for server in servers]
    usage: dict[str, JsonValue] = {
        "tenant_id": project,
        "total_hours": sum(entry["hours"] for entry in entries),
        "total_vcpus_usage": sum(entry["hours"] * entry["vcpus"] for entry in entries),
        "total_memory_mb_usage": sum(entry["hours"] * entry["memory_mb"] for entry in entries),
        "total_local_gb_usage": sum(entry["hours"] * entry["local_gb"] for entry in entries),
        "start": _plain(start),
        "stop": _plain(stop),
    }
    return usage | ({"server_usages": entries} if detail else {})


async def _servers(request: Request, project: str, stop: datetime) -> list[pb.Server]:
    """The servers that existed before stop, of a project or of all."""
    asked = pb.ListServersRequest()
    asked.query.sorts.add(path="meta.project_id")
    asked.query.sorts.add(path="meta.id")
    asked.query.all_projects = "admin" in request.roles
    if project:
        asked.query.filters.add(path="meta.project_id", values=[project])
    if request.microversion >= (2, 40):
        asked.query.limit, asked.query.marker = limit_of(request), marker_of(request)
    reply = await request.call(request.stub(ServerServiceStub).ListServers, asked)
    return [server for server in reply.servers if server.meta.create_time.ToDatetime(UTC) < stop]


async def _may(request: Request, project: str, rule: str) -> None:
    """Learn who asks; only administrators ask for others."""
    await learn_roles(request)
    if "admin" not in request.roles and (not project or project != request.project_id):
        text = f"Policy doesn't allow os_compute_api:os-simple-tenant-usage:{rule} to be performed."
        raise Fault(403, text, reason="PERMISSION_DENIED")


async def index(request: Request) -> Response:
    """Of all projects."""
    if request.path.endswith("/"):  # an empty project id
        raise Fault(404, "The resource could not be found.", reason="NO_SUCH_PATH")
    start, stop = _period(request)
    await _may(request, "", "list")
    servers = await _servers(request, "", stop)
    by_project: dict[str, list[pb.Server]] = {}
    for server in servers:
        by_project.setdefault(server.meta.project_id, []).append(server)
    detail = request.arg("detailed", "0") == "1"
    shown: list[JsonValue] = [
        _usage(project, found, start, stop, detail=detail) for project, found in by_project.items()
    ]
    return Response(200, {"tenant_usages": shown} | _links(request, "tenant_usages_links", servers))


async def show(request: Request) -> Response:
    """Of one project."""
    project = request.params["tenant_id"]
    start, stop = _period(request)
    await _may(request, project, "show")
    servers = await _servers(request, project, stop)
    usage = _usage(project, servers, start, stop, detail=True) if servers else {}
    return Response(200, {"tenant_usage": usage} | _links(request, "tenant_usage_links", servers))


def _links(request: Request, name: str, servers: Sequence[pb.Server]) -> dict[str, JsonValue]:
    if request.microversion < (2, 40) or not servers or len(servers) < limit_of(request):
        return {}
    href = request.api.dialect.next_url(request, servers[-1].meta.id)
    return {name: [{"rel": "next", "href": href}]}


_BASE = "/v2.1/os-simple-tenant-usage"
routes = [Route("GET", _BASE, index), Route("GET", f"{_BASE}/{{tenant_id}}", show)]
