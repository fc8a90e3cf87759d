"""Compute API, sections "Compute services" and "Hosts"."""

import uuid
import zlib
from collections.abc import Callable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.compute.v1 import compute_node_pb2 as pb
from fabric.compute.v1.compute_node_pb2_grpc import ComputeNodeRegistryServiceStub
from gateway.compute import body
from gateway.compute.nodes import TIME, leaders, nodes, number, servers_by_node
from gateway.compute.reading import change
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

COMPUTE = "nova-compute"
_SPACE = uuid.UUID("a4c0f6de-6a0e-4d0e-8f26-7f6d6e8b6d10")
_LOOPS = {"compute-servers": ("nova-scheduler", "nova-conductor")}  # what leads them does their work
_HOST = {"host": body.text(255, 1), "binary": body.text(255, 1)}
_ENABLE = body.Obj(_HOST, required=["host", "binary"])
_DISABLE = body.Obj(
    {**_HOST, "disabled_reason": body.text(255, 1)}, required=["host", "binary", "disabled_reason"]
)
_FORCE = body.Obj({**_HOST, "forced_down": body.boolean}, required=["host", "binary", "forced_down"])
_UPDATE = body.Obj(
    {
        "status": body.word("enabled", "disabled"),
        "disabled_reason": body.text(255, 1),
        "forced_down": body.boolean,
    },
    least=1,
)


def shown(request: Request, node: pb.ComputeNode) -> dict[str, JsonValue]:
    """The compute service of a node."""
    version = request.microversion
    found: dict[str, JsonValue] = {
        "binary": COMPUTE,
        "host": node.meta.name,
        "id": node.meta.id if version >= (2, 53) else number(node),
        "zone": node.availability_zone,
        "status": "disabled" if node.spec.disabled else "enabled",
        "state": "up" if node.alive else "down",
        "updated_at": TIME.to_json(node.heartbeat_time),
        "disabled_reason": node.spec.disabled_reason or None,
    }
    if version >= (2, 11):
        found["forced_down"] = node.spec.forced_down
    return found


def _controller(request: Request, binary: str, leader: pb.Leader) -> dict[str, JsonValue]:
    version, host = request.microversion, leader.host
    id_ = str(uuid.uuid5(_SPACE, f"{binary}.{host}"))
    found: dict[str, JsonValue] = {
        "binary": binary,
        "host": host,
        "id": id_ if version >= (2, 53) else zlib.crc32(id_.encode()) & 0x7FFFFFFF,
        "zone": "internal",
        "status": "enabled",
        "state": "up",
        "updated_at": TIME.to_json(leader.heartbeat_time),
        "disabled_reason": None,
    }
    if version >= (2, 11):
        found["forced_down"] = False
    return found


async def controllers(request: Request) -> list[dict[str, JsonValue]]:
    """The services of the controllers that lead."""
    return [
        _controller(request, binary, leader)
        for leader in await leaders(request)
        for binary in _LOOPS.get(leader.loop, ())
    ]


async def index(request: Request) -> Response:
    """All, or of a host, or of a binary."""
    found = [shown(request, node) for node in await nodes(request)] + await controllers(request)
    for name in ("host", "binary"):
        wanted = request.arg(name)
        if wanted:
            found = [service for service in found if service[name] == wanted]
    return Response(200, {"services": found})


async def _change(
    request: Request, is_it: Callable[[pb.ComputeNode], bool], changed: Callable[[pb.ComputeNode], None]
) -> pb.ComputeNode:
    async def read() -> pb.ComputeNode:
        for node in await nodes(request):
            if is_it(node):
                return node
        raise Fault(404, "The compute service could not be found.", reason="SERVICE_NOT_FOUND")

    async def write(node: pb.ComputeNode) -> pb.ComputeNode:
        asked = pb.UpdateComputeNodeRequest(compute_node=node, update_mask=FieldMask(paths=["spec"]))
        stub = request.stub(ComputeNodeRegistryServiceStub)
        return await request.call(stub.UpdateComputeNode, asked)

    return await change(read, write, changed)


def _of(given: dict[str, Any]) -> Callable[[pb.ComputeNode], bool]:
    return lambda node: given["binary"] == COMPUTE and node.meta.name == given["host"]


async def enable(request: Request) -> Response:
    """By host."""
    given = _ENABLE(request.json(), "body", request.microversion)

    def changed(node: pb.ComputeNode) -> None:
        node.spec.disabled, node.spec.disabled_reason = False, ""

    await _change(request, _of(given), changed)
    return Response(200, {"service": {**given, "status": "enabled"}})


async def disable(request: Request) -> Response:
    """By host."""
    given = _ENABLE(request.json(), "body", request.microversion)

    def changed(node: pb.ComputeNode) -> None:
        node.spec.disabled, node.spec.disabled_reason = True, ""

    await _change(request, _of(given), changed)
    return Response(200, {"service": {**given, "status": "disabled"}})


async def disable_log_reason(request: Request) -> Response:
    """By host, with the reason."""
    given = _DISABLE(request.json(), "body", request.microversion)

    def changed(node: pb.ComputeNode) -> None:
        node.spec.disabled, node.spec.disabled_reason = True, given["disabled_reason"]

    await _change(request, _of(given), changed)
    return Response(200, {"service": {**given, "status": "disabled"}})


async def force_down(request: Request) -> Response:
    """By host: whatever its life sign says."""
    given = _FORCE(request.json(), "body", request.microversion)

    def changed(node: pb.ComputeNode) -> None:
        node.spec.forced_down = given["forced_down"]

    await _change(request, _of(given), changed)
    return Response(200, {"service": given})


async def update(request: Request) -> Response:
    """By id: status, reason, forced_down."""
    id_ = body.uuid(request.params["service_id"], "service_id", request.microversion)
    given = _UPDATE(request.json(), "body", request.microversion)
    if "disabled_reason" in given and given.get("status") != "disabled":
        raise Invalid("Specifying disabled_reason requires that status is disabled.", field="disabled_reason")

    def changed(node: pb.ComputeNode) -> None:
        if "status" in given:
            node.spec.disabled = given["status"] == "disabled"
            node.spec.disabled_reason = given.get("disabled_reason", "")
        if "forced_down" in given:
            node.spec.forced_down = given["forced_down"]

    node = await _change(request, lambda node: node.meta.id == id_, changed)
    return Response(200, {"service": shown(request, node)})


async def delete(request: Request) -> Response:
    """Forget a dead node without servers."""
    asked = request.params["service_id"]
    modern = request.microversion >= (2, 53)
    if modern:
        body.uuid(asked, "service_id", request.microversion)
    elif not asked.isdigit():
        raise Invalid("Invalid id: not a number.", field="id")
    for node in await nodes(request):
        if asked == (node.meta.id if modern else str(number(node))):
            message = pb.DeleteComputeNodeRequest(id=node.meta.id)
            stub = request.stub(ComputeNodeRegistryServiceStub)
            await request.call(stub.DeleteComputeNode, message)
            return Response(204)
    raise Fault(404, f"Service {asked[:64]} could not be found.", reason="SERVICE_NOT_FOUND")


# -- hosts, until 2.42


async def hosts(request: Request) -> Response:
    """Of all services."""
    found: list[JsonValue] = [
        {"host_name": node.meta.name, "service": "compute", "zone": node.availability_zone}
        for node in await nodes(request)
    ]
    for service in await controllers(request):
        kind = str(service["binary"]).removeprefix("nova-")
        found.append({"host_name": service["host"], "service": kind, "zone": "internal"})
    zone = request.arg("zone")
    return Response(200, {"hosts": [host for host in found if not zone or host["zone"] == zone]})


async def host(request: Request) -> Response:
    """What it has, what is used, and by which project."""
    node = await _host_node(request)
    name = node.meta.name
    found, projects = node.inventory, dict[str, list[int]]()
    for server in (await servers_by_node(request, [name])).get(name, ()):
        flavor = server.spec.flavor
        sums = projects.setdefault(server.meta.project_id, [0, 0, 0])
        for at, amount in enumerate((flavor.vcpus, flavor.ram_mib, flavor.root_gb + flavor.ephemeral_gb)):
            sums[at] += amount
    used = [sum(sums[at] for sums in projects.values()) for at in range(3)]
    entries = [("(total)", [found.vcpus, found.ram_mib, found.disk_gb])]
    entries += [("(used_now)", [node.vcpus_used, node.ram_mib_used, node.disk_gb_used]), ("(used_max)", used)]
    entries += sorted(projects.items())
    shown_ = [
        {"resource": {"host": name, "project": project, "cpu": cpu, "memory_mb": ram, "disk_gb": disk}}
        for project, (cpu, ram, disk) in entries
    ]
    return Response(200, {"host": shown_})


_HOST_CHANGED = body.Obj(
    {
        "status": body.word("enable", "disable", "Enable", "Disable", "ENABLE", "DISABLE"),
        "maintenance_mode": body.word("enable", "disable", "Enable", "Disable", "ENABLE", "DISABLE"),
    },
    least=1,
)


async def _host_node(request: Request) -> pb.ComputeNode:
    name = request.params["host_name"]
    for node in await nodes(request):
        if node.meta.name == name:
            return node
    raise Fault(404, f"Compute host {name[:64]} could not be found.", reason="HOST_NOT_FOUND")


async def update_host(request: Request) -> Response:
    """Enable or disable it."""
    known = await nodes(request)
    given = _HOST_CHANGED(request.json(), "body", request.microversion)
    node = await _host_node(request) if known else None
    if node is None or "maintenance_mode" in given:
        raise Fault(501, "The requested functionality is not supported.", reason="NOT_SUPPORTED")
    disabled = given["status"].lower() == "disable"

    def changed(found: pb.ComputeNode) -> None:
        found.spec.disabled, found.spec.disabled_reason = disabled, ""

    await _change(request, lambda found: found.meta.id == node.meta.id, changed)
    status = "disabled" if disabled else "enabled"
    return Response(200, {"host": node.meta.name, "status": status})


async def no_host_action(request: Request) -> Response:
    """Machines are not switched from here."""
    await _host_node(request)
    raise Fault(501, "The requested functionality is not supported.", reason="NOT_SUPPORTED")


_BASE, _HOSTS = "/v2.1/os-services", "/v2.1/os-hosts"
routes = [
    Route("GET", _BASE, index),
    Route("PUT", f"{_BASE}/enable", enable, until="2.52"),
    Route("PUT", f"{_BASE}/disable", disable, until="2.52"),
    Route("PUT", f"{_BASE}/disable-log-reason", disable_log_reason, until="2.52"),
    Route("PUT", f"{_BASE}/force-down", force_down, since="2.11", until="2.52"),
    Route("PUT", f"{_BASE}/{{service_id}}", update, since="2.53"),
    Route("DELETE", f"{_BASE}/{{service_id}}", delete),
    Route("GET", _HOSTS, hosts, until="2.42"),
    Route("GET", f"{_HOSTS}/{{host_name}}", host, until="2.42"),
    Route("PUT", f"{_HOSTS}/{{host_name}}", update_host, until="2.42"),
    Route("GET", f"{_HOSTS}/{{host_name}}/startup", no_host_action, until="2.42"),
    Route("GET", f"{_HOSTS}/{{host_name}}/shutdown", no_host_action, until="2.42"),
    Route("GET", f"{_HOSTS}/{{host_name}}/reboot", no_host_action, until="2.42"),
]
