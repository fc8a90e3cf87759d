"""Compute API: small views of a server - diagnostics, topology, password, volumes."""

from fabric.compute.v1 import server_pb2 as pb
from gateway.compute import servers
from gateway.compute.acting import run
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route

_STATES = {1: "running", 3: "paused", 4: "shutdown", 6: "crashed", 7: "suspended"}


async def _admins(request: Request, rule: str) -> pb.Server:
    server = await servers.find(request)
    if "admin" not in request.roles:
        raise Fault(403, f"Policy doesn't allow {rule} to be performed.", reason="PERMISSION_DENIED")
    return server


async def diagnostics(request: Request) -> Response:
    """What is known without asking the hypervisor; counters that are not kept are null."""
    server = await _admins(request, "os_compute_api:os-server-diagnostics")
    if server.view.power_state != 1:
        raise Fault(
            409,
            f"Cannot 'get_diagnostics' instance {server.meta.id} while it is in vm_state {server.view.vm_state}",
            reason="INSTANCE_INVALID_STATE",
        )
    flavor = server.spec.flavor
    if request.microversion < (2, 48):
        return Response(200, {"memory": flavor.ram_mib * 1024})
    counters = ("octets", "errors", "drop", "packets", "rate")
    nics: list[JsonValue] = [
        {"mac_address": nic.mac_address}
        | {f"{way}_{counter}": None for way in ("rx", "tx") for counter in counters}
        for nic in server.nics
    ]
    shown: dict[str, JsonValue] = {
        "state": _STATES.get(server.view.power_state, "pending"),
        "driver": "libvirt",
        "hypervisor": None,
        "hypervisor_os": None,
        "uptime": None,
        "config_drive": server.spec.config_drive,
        "num_cpus": flavor.vcpus,
        "num_nics": len(server.nics),
        "num_disks": 1 + server.spec.config_drive,
        "memory_details": {"maximum": flavor.ram_mib, "used": None},
        "cpu_details": [{"id": at, "time": None, "utilisation": None} for at in range(flavor.vcpus)],
        "nic_details": nics,
        "disk_details": [
            dict.fromkeys(("read_bytes", "read_requests", "write_bytes", "write_requests", "errors_count"))
        ],
    }
    return Response(200, shown)


async def topology(request: Request) -> Response:
    """No guest has a NUMA topology of its own."""
    await servers.find(request)
    return Response(200, {"nodes": [], "pagesize_kb": None})


async def password(request: Request) -> Response:
    """What the guest has left, encrypted with its user's key."""
    server = await servers.find(request)
    return Response(200, {"password": server.view.guest_password})


async def clear_password(request: Request) -> Response:
    """The guest may leave another one."""
    return await run(request, status=204, clear_password=pb.ActOnServerRequest.ClearPassword())


async def volumes(request: Request) -> Response:
    """None."""
    await servers.find(request)
    return Response(200, {"volumeAttachments": []})


async def volume(request: Request) -> Response:
    """None."""
    await servers.find(request)
    raise Fault(
        404, f"Volume {request.params['volume_id'][:64]} could not be found.", reason="VOLUME_NOT_FOUND"
    )


async def no_volumes(request: Request) -> Response:
    """There are none to attach."""
    await servers.find(request)
    raise Fault(501, "Volumes are not offered by this cloud.", reason="NOT_SUPPORTED")


_BASE = "/v2.1/servers/{server_id}"
routes = [
    Route("GET", f"{_BASE}/diagnostics", diagnostics),
    Route("GET", f"{_BASE}/topology", topology, since="2.78"),
    Route("GET", f"{_BASE}/os-server-password", password),
    Route("DELETE", f"{_BASE}/os-server-password", clear_password),
    Route("GET", f"{_BASE}/os-volume_attachments", volumes),
    Route("POST", f"{_BASE}/os-volume_attachments", no_volumes),
    Route("GET", f"{_BASE}/os-volume_attachments/{{volume_id}}", volume),
    Route("PUT", f"{_BASE}/os-volume_attachments/{{volume_id}}", volume),
    Route("DELETE", f"{_BASE}/os-volume_attachments/{{volume_id}}", volume),
]
