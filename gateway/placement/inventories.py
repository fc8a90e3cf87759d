"""Placement API, section "Resource provider inventories"."""

from typing import Any

from fabric.compute.v1 import inventory_pb2
from fabric.compute.v1 import resource_provider_pb2 as pb
from gateway.compute import body
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.placement.resource_providers import change, find, generation

_MOST = 2**31 - 1
_PATHS = ("spec.inventories",)
_SIZES = {
    "total": body.integer(1),
    "reserved": body.integer(0),
    "min_unit": body.integer(1),
    "max_unit": body.integer(1),
    "step_size": body.integer(1),
    "allocation_ratio": body.number(),
}
_GENERATION = {"resource_provider_generation": body.integer(0)}
_CLASS = body.text(255, 1, "[A-Z0-9_]+")
_ONE = body.Obj(_SIZES, required=["total"])
ALL = body.Obj(
    {"inventories": body.mapping(_ONE, key="[A-Z0-9_]{1,255}"), **_GENERATION},
    required=["inventories", "resource_provider_generation"],
)
_CHANGED = body.Obj({**_SIZES, **_GENERATION}, required=["total", "resource_provider_generation"])
_NEW = body.Obj(
    {**_SIZES, "resource_class": _CLASS, "resource_provider_generation": body.integer(0)},
    required=["resource_class", "total"],
)


def _shown(inventory: inventory_pb2.Inventory) -> dict[str, JsonValue]:
    return {
        "total": inventory.total,
        "reserved": inventory.reserved,
        "min_unit": inventory.min_unit,
        "max_unit": inventory.max_unit,
        "step_size": inventory.step_size,
        "allocation_ratio": inventory.allocation_ratio,
    }


def read(given: dict[str, Any], request: Request, provider_id: str) -> inventory_pb2.Inventory:
    """The inventory that a body says. Raises Invalid."""
    made = inventory_pb2.Inventory(
        total=given["total"],
        reserved=given.get("reserved", 0),
        min_unit=given.get("min_unit", 1),
        max_unit=given.get("max_unit", _MOST),
        step_size=given.get("step_size", 1),
        allocation_ratio=given.get("allocation_ratio", 1.0),
    )
    if made.reserved > made.total or (made.reserved == made.total and request.microversion < (1, 26)):
        verb = "create" if request.method == "POST" else "update"
        raise Invalid(
            f"Unable to {verb} inventory for resource provider {provider_id}: "
            f"reserved {made.reserved} leaves nothing of the total {made.total}."
        )
    return made


def _all(provider: pb.ResourceProvider) -> dict[str, JsonValue]:
    return {
        "resource_provider_generation": generation(provider),
        "inventories": {name: _shown(found) for name, found in sorted(provider.spec.inventories.items())},
    }


def _of_class(request: Request, provider: pb.ResourceProvider) -> inventory_pb2.Inventory:
    name = request.params["class"]
    if name not in provider.spec.inventories:
        raise Fault(404, f"No inventory of class {name[:64]} for {provider.meta.id}")
    return provider.spec.inventories[name]


def _one(request: Request, provider: pb.ResourceProvider) -> dict[str, JsonValue]:
    return {"resource_provider_generation": generation(provider)} | _shown(_of_class(request, provider))


async def index(request: Request) -> Response:
    """All of a provider."""
    return Response(200, _all(await find(request)))


async def replace(request: Request) -> Response:
    """All at once."""
    given = ALL(request.json(), "body", request.microversion)
    changed = pb.ResourceProvider()
    changed.meta.id = request.params["uuid"]
    for name, sizes in given["inventories"].items():
        changed.spec.inventories[name].CopyFrom(read(sizes, request, changed.meta.id))
    return Response(200, _all(await change(request, changed, _PATHS, given["resource_provider_generation"])))


async def clear(request: Request) -> Response:
    """All, where nothing is in use."""
    changed = pb.ResourceProvider()
    changed.meta.id = request.params["uuid"]
    await change(request, changed, _PATHS, None)
    return Response(204)


async def create(request: Request) -> Response:
    """One more."""
    given = _NEW(request.json(), "body", request.microversion)
    name = given["resource_class"]
    provider = await find(request)
    if name in provider.spec.inventories:
        raise Fault(409, f"Update conflict: {name} is there already.", reason="CONCURRENT_UPDATE")
    seen = given.get("resource_provider_generation", generation(provider))
    provider.spec.inventories[name].CopyFrom(read(given, request, provider.meta.id))
    made = await change(request, provider, _PATHS, seen)
    request.params = {**request.params, "class": name}
    location = f"{request.api_url}/resource_providers/{made.meta.id}/inventories/{name}"
    return Response(201, _one(request, made), {"location": location})


async def show(request: Request) -> Response:
    """One."""
    return Response(200, _one(request, await find(request)))


async def update(request: Request) -> Response:
    """One."""
    given = _CHANGED(request.json(), "body", request.microversion)
    provider, name = await find(request), request.params["class"]
    if name not in provider.spec.inventories:
        raise Invalid(f"No inventory record with resource class {name[:64]} for {provider.meta.id}")
    provider.spec.inventories[name].CopyFrom(read(given, request, provider.meta.id))
    made = await change(request, provider, _PATHS, given["resource_provider_generation"])
    return Response(200, _one(request, made))


async def delete(request: Request) -> Response:
    """One that is not in use."""
    provider = await find(request)
    _of_class(request, provider)
    del provider.spec.inventories[request.params["class"]]
    await change(request, provider, _PATHS, generation(provider))
    return Response(204)


_BASE = "/resource_providers/{uuid}/inventories"
routes = [
    Route("GET", _BASE, index),
    Route("PUT", _BASE, replace),
    Route("POST", _BASE, create),
    Route("DELETE", _BASE, clear, since="1.5"),
    Route("GET", f"{_BASE}/{{class}}", show),
    Route("PUT", f"{_BASE}/{{class}}", update),
    Route("DELETE", f"{_BASE}/{{class}}", delete),
]
