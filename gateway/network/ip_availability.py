"""Networking API v2.0, section "Network IP availability and usage stats"."""

import orjson

from fabric.network.v1 import ip_availability_pb2 as pb
from fabric.network.v1.ip_availability_pb2_grpc import IpAvailabilityServiceStub
from fabric.type.v1 import query_pb2
from gateway.core.codec import JsonValue
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.network.resource import PREFIX

_PATH = f"{PREFIX}/network-ip-availabilities"
_FILTERS = {
    "network_id": "meta.id",
    "network_name": "meta.name",
    "project_id": "meta.project_id",
    "tenant_id": "meta.project_id",
}


def _number(text: str | int) -> JsonValue:
    """An integer of any size: an IPv6 subnet's is larger than 64 bits."""
    return orjson.Fragment(str(text))


def _document(found: pb.IpAvailability) -> dict[str, JsonValue]:
    subnets = [
        {
            "subnet_id": subnet.subnet_id,
            "subnet_name": subnet.subnet_name,
            "ip_version": subnet.ip_version,
            "cidr": subnet.cidr,
            "total_ips": _number(subnet.total_ips),
            "used_ips": subnet.used_ips,
        }
        for subnet in found.subnets
    ]
    return {
        "network_id": found.network_id,
        "network_name": found.network_name,
        "project_id": found.project_id,
        "tenant_id": found.project_id,
        "total_ips": _number(sum(int(subnet.total_ips) for subnet in found.subnets)),
        "used_ips": sum(subnet.used_ips for subnet in found.subnets),
        "subnet_ip_availability": subnets,
    }


async def list_all(request: Request) -> Response:
    asked = pb.ListIpAvailabilitiesRequest()
    for name, value in request.query:
        if name in _FILTERS:
            asked.query.filters.add(path=_FILTERS[name], op=query_pb2.Filter.OP_IN, values=request.args(name))
        elif name == "ip_version":
            if value not in ("4", "6"):
                raise Invalid("'ip_version' must be 4 or 6.", field="ip_version")
            asked.ip_version = int(value)
        elif name not in ("fields", "sort_key", "sort_dir", "limit", "marker"):
            raise Invalid(
                f"['{name[:64]}'] is invalid attribute for filtering",
                field=name[:64],
                reason="HTTP_BAD_REQUEST",
            )
    reply = await request.call(request.stub(IpAvailabilityServiceStub).ListIpAvailabilities, asked)
    found = [_chosen(request, _document(one)) for one in reply.ip_availabilities]
    return Response(200, {"network_ip_availabilities": found})


async def show(request: Request) -> Response:
    asked = pb.GetIpAvailabilityRequest(id=request.params["id"])
    found = await request.call(request.stub(IpAvailabilityServiceStub).GetIpAvailability, asked)
    return Response(200, {"network_ip_availability": _chosen(request, _document(found))})


def _chosen(request: Request, document: dict[str, JsonValue]) -> dict[str, JsonValue]:
    fields = request.api.dialect.fields(request)
    return {name: document[name] for name in fields if name in document} if fields else document


routes = [Route("GET", _PATH, list_all), Route("GET", f"{_PATH}/{{id}}", show)]
