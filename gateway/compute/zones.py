"""Compute API, section "Availability zones"."""

from fabric.compute.v1 import compute_node_pb2 as pb
from fabric.compute.v1.compute_node_pb2_grpc import ComputeNodeRegistryServiceStub
from gateway.compute.nodes import TIME, nodes
from gateway.compute.services import COMPUTE, controllers
from gateway.core.codec import JsonValue
from gateway.core.http import Request, Response
from gateway.core.route import Route


async def index(request: Request) -> Response:
    """Names, and whether some node of each takes servers."""
    stub = request.stub(ComputeNodeRegistryServiceStub)
    reply = await request.call(stub.ListZones, pb.ListZonesRequest())
    shown: list[JsonValue] = [_zone(zone.name, zone.available) for zone in reply.zones]
    return Response(200, {"availabilityZoneInfo": shown})


def _zone(name: str, available: bool, hosts: JsonValue = None) -> JsonValue:
    return {"zoneName": name, "zoneState": {"available": available}, "hosts": hosts}


async def detail(request: Request) -> Response:
    """With nodes and services."""
    zones: dict[str, dict[str, JsonValue]] = {}
    for service in await controllers(request):
        state = {"available": True, "active": True, "updated_at": None}
        hosts = zones.setdefault("internal", {})
        hosts[service["host"]] = {**(hosts.get(service["host"]) or {}), service["binary"]: state}
    available: dict[str, bool] = {"internal": True}
    for node in await nodes(request):
        zone, takes = node.availability_zone, not node.spec.disabled
        updated = TIME.to_json(node.meta.update_time)
        state = {"available": node.alive, "active": takes, "updated_at": updated}
        zones.setdefault(zone, {})[node.meta.name] = {COMPUTE: state}
        available[zone] = available.get(zone, False) or (takes and node.alive)
    shown: list[JsonValue] = [_zone(name, available[name], hosts) for name, hosts in zones.items()]
    return Response(200, {"availabilityZoneInfo": shown})


routes = [
    Route("GET", "/v2.1/os-availability-zone", index),
    Route("GET", "/v2.1/os-availability-zone/detail", detail),
]
