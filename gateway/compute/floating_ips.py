"""Compute API, "Floating IPs" (until 2.35; the server actions until 2.43): a thin proxy of the Network API."""

from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from fabric.compute.v1 import server_pb2
from fabric.network.v1 import floating_ip_pb2 as pb
from fabric.network.v1 import network_pb2
from fabric.network.v1.floating_ip_pb2_grpc import FloatingIpServiceStub
from fabric.network.v1.network_pb2_grpc import NetworkServiceStub
from fabric.type.v1.query_pb2 import Filter, Query
from gateway.compute import body, servers
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid, Statuses
from gateway.core.http import Request, Response
from gateway.core.route import Route

_POOL = body.maybe(body.Obj({"pool": body.maybe(body.text())}, open=True))
_STATUSES: Statuses = {
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"): 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 404,
}
_CANNOT_LEAD = ("FLOATING_IP_PORT_ALREADY_ASSOCIATED", "EXTERNAL_GATEWAY_FOR_FLOATING_IP_NOT_FOUND")
_LEAD = FieldMask(paths=["spec.port_id", "spec.fixed_ip_address"])


async def _pools(request: Request) -> dict[str, str]:
    """The names of the external networks, by id."""
    asked = network_pb2.ListNetworksRequest(
        query=Query(filters=[Filter(path="spec.external", values=["true"])])
    )
    reply = await request.call(request.stub(NetworkServiceStub).ListNetworks, asked)
    return {network.meta.id: network.meta.name for network in reply.networks}


async def _own(request: Request, path: str = "", value: str = "") -> list[pb.FloatingIp]:
    """Of the project; path, value: only those."""
    filters = [Filter(path="meta.project_id", values=[request.project_id])]
    if path:
        filters.insert(0, Filter(path=path, values=[value]))
    asked = pb.ListFloatingIpsRequest(query=Query(filters=filters))
    return list((await request.call(request.stub(FloatingIpServiceStub).ListFloatingIps, asked)).floating_ips)


def _shown(floating: pb.FloatingIp, pools: dict[str, str]) -> JsonValue:
    network_id = floating.spec.floating_network_id
    return {
        "id": floating.meta.id,
        "ip": floating.spec.floating_ip_address,
        "fixed_ip": floating.spec.fixed_ip_address or None,
        "instance_id": floating.port.spec.device_id or None,
        "pool": pools.get(network_id, network_id),
    }


async def pools(request: Request) -> Response:
    found = sorted((await _pools(request)).values())
    return Response(200, {"floating_ip_pools": [{"name": name} for name in found]})


async def index(request: Request) -> Response:
    known = await _pools(request)
    return Response(200, {"floating_ips": [_shown(floating, known) for floating in await _own(request)]})


async def show(request: Request) -> Response:
    asked = pb.GetFloatingIpRequest(id=request.params["id"])
    found = await request.call(request.stub(FloatingIpServiceStub).GetFloatingIp, asked)
    return Response(200, {"floating_ip": _shown(found, await _pools(request))})


async def create(request: Request) -> Response:
    """From the pool that is named, or the only one."""
    named = (_POOL(request.json_value, "body", request.microversion) or {}).get("pool")
    known = await _pools(request)
    found = [id_ for id_, name in known.items() if named in (None, name, id_)]
    if not found or (named is None and len(found) > 1):
        raise Fault(404, "Floating IP pool not found.", reason="FLOATING_IP_POOL_NOT_FOUND")
    asked = pb.CreateFloatingIpRequest()
    asked.floating_ip.spec.floating_network_id = found[0]
    made = await request.call(request.stub(FloatingIpServiceStub).CreateFloatingIp, asked)
    return Response(200, {"floating_ip": _shown(made, known)})


async def delete(request: Request) -> Response:
    asked = pb.DeleteFloatingIpRequest(id=request.params["id"])
    await request.call(request.stub(FloatingIpServiceStub).DeleteFloatingIp, asked)
    return Response(202)


async def add(request: Request, value: Any) -> Response:
    """addFloatingIp: lead the address to one of the server's, wherever it leads now."""
    server = await servers.find(request)
    port_id, fixed = _target(server, value.get("fixed_address"))
    floating = await _named(request, value["address"])
    try:
        await _lead(request, floating, port_id, fixed)
    except Fault as fault:
        if fault.reason not in _CANNOT_LEAD:
            raise
        raise Invalid(f"Unable to associate floating IP {value['address']}: {fault.message}") from fault
    return Response(202)


async def remove(request: Request, value: Any) -> Response:
    """removeFloatingIp."""
    server = await servers.find(request)
    floating = await _named(request, value["address"])
    if floating.spec.port_id not in {nic.port_id for nic in server.nics} - {""}:
        raise Fault(
            409,
            f"Floating IP {value['address']} is not associated with instance {server.meta.id}.",
            reason="FLOATING_IP_NOT_ASSOCIATED",
        )
    await _lead(request, floating, "", "")
    return Response(202)


async def _named(request: Request, address: str) -> pb.FloatingIp:
    found = await _own(request, "spec.floating_ip_address", address)
    if not found:
        raise Fault(404, "floating IP not found", reason="FLOATING_IP_NOT_FOUND")
    return found[0]


async def _lead(request: Request, floating: pb.FloatingIp, port_id: str, fixed: str) -> None:
    asked = pb.UpdateFloatingIpRequest(update_mask=_LEAD)
    asked.floating_ip.meta.id = floating.meta.id
    asked.floating_ip.spec.port_id, asked.floating_ip.spec.fixed_ip_address = port_id, fixed
    await request.call(request.stub(FloatingIpServiceStub).UpdateFloatingIp, asked)


def _target(server: server_pb2.Server, wanted: str | None) -> tuple[str, str]:
    """Port and address that are meant: the first IPv4 address unless one is named. Raises Invalid."""
    has = [(nic.port_id, ip.ip_address) for nic in server.nics for ip in nic.fixed_ips if ip.ip_version == 4]
    for port_id, address in has:
        if wanted in (None, address):
            return port_id, address
    if wanted is not None:
        raise Invalid("Specified fixed address not assigned to instance", field="fixed_address")
    raise Invalid(f"No fixed IP addresses are associated to instance {server.meta.id}.", field="address")


_UNTIL = "2.35"
routes = [
    Route("GET", "/v2.1/os-floating-ip-pools", pools, until=_UNTIL),
    Route("GET", "/v2.1/os-floating-ips", index, until=_UNTIL),
    Route("POST", "/v2.1/os-floating-ips", create, until=_UNTIL, statuses=_STATUSES),
    Route("GET", "/v2.1/os-floating-ips/{id}", show, until=_UNTIL),
    Route("DELETE", "/v2.1/os-floating-ips/{id}", delete, until=_UNTIL),
]
