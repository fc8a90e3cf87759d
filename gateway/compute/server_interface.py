"""Compute API, sections "Port interfaces", "Servers IPs" and "Server security groups"."""

from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from fabric.network.v1 import port_pb2
from fabric.network.v1.port_pb2_grpc import PortServiceStub
from gateway.compute import body, security_groups, server_security_group, servers
from gateway.compute.reading import body_of
from gateway.compute.server_table import addresses
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

_STATES = {
    port_pb2.PortStatus.STATE_ACTIVE: "ACTIVE",
    port_pb2.PortStatus.STATE_BUILDING: "BUILD",
    port_pb2.PortStatus.STATE_ERROR: "ERROR",
}
_ATTACH = body.Obj(
    {
        "net_id": body.uuid,
        "port_id": body.uuid,
        "fixed_ips": body.items(
            body.Obj({"ip_address": body.address()}, required=["ip_address"]), least=1, most=1
        ),
        "tag": (body.TAG, "2.49", ""),
    }
)


def _shown(request: Request, server: pb.Server, port: port_pb2.Port) -> dict[str, JsonValue]:
    spec = port.spec
    shown: dict[str, JsonValue] = {
        "port_state": _STATES.get(port.status.state, "DOWN"),
        "fixed_ips": [{"subnet_id": ip.subnet_id, "ip_address": ip.ip_address} for ip in spec.fixed_ips],
        "port_id": port.meta.id,
        "net_id": spec.network_id,
        "mac_addr": spec.mac_address,
    }
    if request.microversion >= (2, 70):
        tags = {asked.port_id: asked.tag for asked in server.spec.networks}
        shown["tag"] = tags.get(port.meta.id) or None
    return shown


async def index(request: Request) -> Response:
    """The ports of the server."""
    server = await servers.find(request)
    ports = {port.meta.id: port for port in await server_security_group.ports(request, [server.meta.id])}
    order = [asked.port_id for asked in server.spec.networks]
    shown = [_shown(request, server, ports[id_]) for id_ in order if id_ in ports]
    return Response(200, {"interfaceAttachments": shown})


async def _port(request: Request, server: pb.Server, port_id: str) -> port_pb2.Port:
    if port_id not in {asked.port_id for asked in server.spec.networks}:
        raise Fault(
            404,
            f"Instance {server.meta.id} does not have a port with id {port_id[:64]}",
            reason="PORT_NOT_FOUND",
        )
    return await request.call(request.stub(PortServiceStub).GetPort, port_pb2.GetPortRequest(id=port_id))


async def show(request: Request) -> Response:
    """One of them."""
    server = await servers.find(request)
    port = await _port(request, server, request.params["port_id"])
    return Response(200, {"interfaceAttachment": _shown(request, server, port)})


async def attach(request: Request) -> Response:
    """A port that is there, or a new one on a network; answers with the port."""
    given = body_of(request, "interfaceAttachment", _ATTACH) if request.raw else {}
    if "port_id" in given and ("net_id" in given or "fixed_ips" in given):
        what = "net_id" if "net_id" in given else "fixed_ips"
        raise Invalid(f"Must not input both {what} and port_id", field=what)
    if "fixed_ips" in given and "net_id" not in given:
        raise Invalid("Must input net_id when request fixed_ips", field="net_id")
    action = pb.ActOnServerRequest.AttachPort(
        port_id=given.get("port_id", ""),
        network_id=given.get("net_id", ""),
        fixed_ips=[ip["ip_address"] for ip in given.get("fixed_ips", ())],
        tag=given.get("tag", ""),
    )
    asked = pb.ActOnServerRequest(id=request.params["server_id"], attach_port=action)
    server = await request.call(request.stub(ServerServiceStub).ActOnServer, asked)
    port_id = given.get("port_id") or server.spec.networks[-1].port_id
    port = await _port(request, server, port_id)
    return Response(200, {"interfaceAttachment": _shown(request, server, port)})


async def detach(request: Request) -> Response:
    """It is off when the list says so."""
    action = pb.ActOnServerRequest.DetachPort(port_id=request.params["port_id"])
    asked = pb.ActOnServerRequest(id=request.params["server_id"], detach_port=action)
    await request.call(request.stub(ServerServiceStub).ActOnServer, asked)
    return Response(202)


def _addresses(server: pb.Server, request: Request) -> dict[str, list[dict[str, JsonValue]]]:
    found: dict[str, list[dict[str, JsonValue]]] = addresses(server, request)
    return {
        name: [{"version": entry["version"], "addr": entry["addr"]} for entry in entries]
        for name, entries in found.items()
    }


async def ips(request: Request) -> Response:
    """By network."""
    server = await servers.find(request)
    return Response(200, {"addresses": _addresses(server, request)})


async def ips_of_network(request: Request) -> Response:
    """Of one network."""
    server, name = await servers.find(request), request.params["label"]
    found = _addresses(server, request)
    if name not in found:
        raise Fault(404, "Instance is not a member of specified network", reason="NETWORK_NOT_FOUND")
    return Response(200, {name: found[name]})


async def groups(request: Request) -> Response:
    """The security groups of all its ports."""
    server = await servers.find(request)
    by_server = await server_security_group.ids_by_server(request, [server.meta.id])
    wanted = by_server.get(server.meta.id, [])
    found = await server_security_group.groups(request, wanted) if wanted else []
    return Response(200, {"security_groups": await security_groups.shown(request, found)})


_BASE = "/v2.1/servers/{server_id}"
routes = [
    Route("GET", f"{_BASE}/os-interface", index),
    Route("POST", f"{_BASE}/os-interface", attach),
    Route("GET", f"{_BASE}/os-interface/{{port_id}}", show),
    Route("DELETE", f"{_BASE}/os-interface/{{port_id}}", detach),
    Route("GET", f"{_BASE}/ips", ips),
    Route("GET", f"{_BASE}/ips/{{label}}", ips_of_network),
    Route("GET", f"{_BASE}/os-security-groups", groups),
]
