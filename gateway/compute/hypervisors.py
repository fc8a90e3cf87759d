"""Compute API, section "Hypervisors"."""

import re
from collections.abc import Mapping, Sequence

import orjson

from fabric.compute.v1 import compute_node_pb2 as pb
from fabric.compute.v1 import server_pb2
from gateway.compute import body
from gateway.compute.nodes import nodes, number, servers_by_node
from gateway.compute.reading import flag_of, limit_of, marker_of, page
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route

Servers = Mapping[str, Sequence[server_pb2.Server]]


def _brief(request: Request, node: pb.ComputeNode, servers: Servers | None = None) -> dict[str, JsonValue]:
    modern = request.microversion >= (2, 53)
    shown: dict[str, JsonValue] = {
        "id": node.meta.id if modern else number(node),
        "hypervisor_hostname": node.meta.name,
        "state": "up" if node.alive else "down",
        "status": "disabled" if node.spec.disabled else "enabled",
    }
    mine = (servers or {}).get(node.meta.name)
    if mine or (servers is not None and request.microversion >= (2, 75)):
        shown["servers"] = [{"name": s.meta.name, "uuid": s.meta.id} for s in mine or ()]
    return shown


def _full(request: Request, node: pb.ComputeNode, servers: Servers | None = None) -> dict[str, JsonValue]:
    version, found = request.microversion, node.inventory
    shown = _brief(request, node, servers)
    service_id: JsonValue = node.meta.id if version >= (2, 53) else number(node)
    shown |= {
        "host_ip": found.host_ip or "127.0.0.1",
        "hypervisor_type": found.hypervisor_type,
        "hypervisor_version": _version(found.hypervisor_version),
        "service": {
            "id": service_id,
            "host": node.meta.name,
            "disabled_reason": node.spec.disabled_reason or None,
        },
    }
    if version >= (2, 88):
        return shown | {"uptime": None}
    cpu = {
        "arch": found.cpu_arch,
        "model": found.cpu_model,
        "vendor": "",
        "features": list(found.cpu_features),
        "topology": {"cores": found.vcpus, "threads": 1, "sockets": 1},
    }
    return shown | _sizes(node) | {"cpu_info": cpu if version >= (2, 28) else orjson.dumps(cpu).decode()}


def _sizes(node: pb.ComputeNode) -> dict[str, JsonValue]:
    found = node.inventory
    return {
        "vcpus": found.vcpus,
        "vcpus_used": node.vcpus_used,
        "memory_mb": found.ram_mib,
        "memory_mb_used": node.ram_mib_used,
        "free_ram_mb": found.ram_mib - node.ram_mib_used,
        "local_gb": found.disk_gb,
        "local_gb_used": node.disk_gb_used,
        "free_disk_gb": found.disk_gb - node.disk_gb_used,
        "disk_available_least": found.disk_gb - node.disk_gb_used,
        "running_vms": node.servers,
        "current_workload": 0,
    }


def _version(text: str) -> int:
    """7.2.0 is 7002000, as libvirt counts."""
    parts = [int(part) for part in re.findall(r"[0-9]+", text)[:3]]
    major, minor, patch = [*parts, 0, 0, 0][:3]
    return major * 1000000 + minor * 1000 + patch


async def _servers(request: Request, found: Sequence[pb.ComputeNode]) -> Servers | None:
    if request.microversion < (2, 53) or not flag_of(request, "with_servers"):
        return None
    return await servers_by_node(request, [node.meta.name for node in found])


async def _list(request: Request) -> tuple[list[pb.ComputeNode], bool]:
    """The nodes of the page, and whether there are pages."""
    found = await nodes(request)
    version = request.microversion
    name = request.arg("hypervisor_hostname_pattern")
    if version >= (2, 53) and "hypervisor_hostname_pattern" in dict(request.query):
        if "limit" in dict(request.query) or "marker" in dict(request.query):
            raise body.refuse("limit", request.arg("limit"), "Paging over pattern queries is not supported.")
        found = [node for node in found if name in node.meta.name]
        if not found:
            raise Fault(404, f"No hypervisor matching '{name[:64]}' could be found.")
        return found, False
    if version < (2, 33):
        return found, False
    marker = marker_of(request)
    if marker:
        ids = [node.meta.id if version >= (2, 53) else str(number(node)) for node in found]
        if marker not in ids:
            raise Fault(400, f"marker [{marker[:64]}] not found", reason="MARKER_NOT_FOUND")
        found = found[ids.index(marker) + 1 :]
    return found[: limit_of(request)], True


async def _answer(request: Request, *, detail: bool) -> Response:
    found, paged = await _list(request)
    servers = await _servers(request, found)
    render = _full if detail else _brief
    shown = [render(request, node, servers) for node in found]
    if not paged:
        return Response(200, {"hypervisors": shown})
    return Response(200, page(request, "hypervisors", shown, [str(item["id"]) for item in shown]))


async def index(request: Request) -> Response:
    """Names and states."""
    return await _answer(request, detail=False)


async def detail(request: Request) -> Response:
    """With what they have."""
    return await _answer(request, detail=True)


async def _find(request: Request) -> pb.ComputeNode:
    asked, modern = request.params["hypervisor_id"], request.microversion >= (2, 53)
    for node in await nodes(request):
        if asked == (node.meta.id if modern else str(number(node))):
            return node
    if modern:
        body.uuid(asked, "id", request.microversion)
    text = f"Hypervisor with ID '{asked[:64]}' could not be found."
    raise Fault(404, text, reason="HYPERVISOR_NOT_FOUND")


async def show(request: Request) -> Response:
    """One."""
    node = await _find(request)
    return Response(200, {"hypervisor": _full(request, node, await _servers(request, [node]))})


async def uptime(request: Request) -> Response:
    """Agents do not report it."""
    node = await _find(request)
    if not node.alive:
        raise Fault(400, f"Service {node.meta.name} is not up.", reason="NODE_DOWN")
    return Response(200, {"hypervisor": _brief(request, node) | {"uptime": ""}})


async def statistics(request: Request) -> Response:
    """Sums over the nodes that take servers."""
    found = [_sizes(node) for node in await nodes(request) if not node.spec.disabled]
    names = [
        "vcpus", "vcpus_used", "memory_mb", "memory_mb_used", "free_ram_mb", "local_gb", "local_gb_used",
        "free_disk_gb", "disk_available_least", "running_vms", "current_workload",
    ]  # fmt: skip
    total: dict[str, JsonValue] = {name: sum(sizes[name] for sizes in found) for name in names}
    return Response(200, {"hypervisor_statistics": total | {"count": len(found)}})


async def _matching(request: Request) -> list[pb.ComputeNode]:
    name = request.params["hypervisor_id"]
    found = [node for node in await nodes(request) if name in node.meta.name]
    if not found:
        text = f"No hypervisor matching '{name[:64]}' could be found."
        raise Fault(404, text, reason="HYPERVISOR_NOT_FOUND")
    return found


async def search(request: Request) -> Response:
    """By a part of the name."""
    found = await _matching(request)
    return Response(200, {"hypervisors": [_brief(request, node) for node in found]})


async def servers(request: Request) -> Response:
    """By a part of the name, with their servers."""
    found = await _matching(request)
    known = await servers_by_node(request, [node.meta.name for node in found])
    return Response(200, {"hypervisors": [_brief(request, node, known) for node in found]})


_BASE = "/v2.1/os-hypervisors"
routes = [
    Route("GET", _BASE, index),
    Route("GET", f"{_BASE}/detail", detail),
    Route("GET", f"{_BASE}/statistics", statistics, until="2.87"),
    Route("GET", f"{_BASE}/{{hypervisor_id}}", show),
    Route("GET", f"{_BASE}/{{hypervisor_id}}/uptime", uptime, until="2.87"),
    Route("GET", f"{_BASE}/{{hypervisor_id}}/search", search, until="2.52"),
    Route("GET", f"{_BASE}/{{hypervisor_id}}/servers", servers, until="2.52"),
]
