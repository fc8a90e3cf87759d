"""Placement API, sections "Resource provider aggregates" and "Resource provider traits"."""

from fabric.compute.v1 import resource_provider_pb2 as pb
from gateway.compute import body
from gateway.core.codec import JsonValue
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.placement.resource_providers import change, find, generation

_GENERATION = body.integer(0)
_IDS = body.items(body.uuid, unique=True)
_AGGREGATES = body.Obj(
    {"aggregates": _IDS, "resource_provider_generation": _GENERATION},
    required=["aggregates", "resource_provider_generation"],
)
_TRAITS = body.Obj(
    {
        "traits": body.items(body.text(255, 1, "[A-Z0-9_]+"), unique=True),
        "resource_provider_generation": _GENERATION,
    },
    required=["traits", "resource_provider_generation"],
)


def _aggregates(request: Request, provider: pb.ResourceProvider) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {"aggregates": list(provider.spec.aggregate_ids)}
    if request.microversion >= (1, 19):
        told["resource_provider_generation"] = generation(provider)
    return told


def _traits(provider: pb.ResourceProvider) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {"traits": list(provider.spec.traits)}
    return told | {"resource_provider_generation": generation(provider)}


async def aggregates(request: Request) -> Response:
    """Of a provider."""
    return Response(200, _aggregates(request, await find(request)))


async def set_aggregates(request: Request) -> Response:
    """All at once; until 1.18 a plain list, without a generation."""
    changed, seen = pb.ResourceProvider(), None
    changed.meta.id = (await find(request)).meta.id
    if request.microversion >= (1, 19):
        given = _AGGREGATES(request.json(), "body", request.microversion)
        changed.spec.aggregate_ids[:] = given["aggregates"]
        seen = given["resource_provider_generation"]
    else:
        changed.spec.aggregate_ids[:] = _IDS(request.json_value, "body", request.microversion)
    made = await change(request, changed, ["spec.aggregate_ids"], seen)
    return Response(200, _aggregates(request, made))


async def traits(request: Request) -> Response:
    """Of a provider."""
    return Response(200, _traits(await find(request)))


async def set_traits(request: Request) -> Response:
    """All at once; those that a compute node has by itself stay."""
    given = _TRAITS(request.json(), "body", request.microversion)
    changed = pb.ResourceProvider()
    changed.meta.id = request.params["uuid"]
    changed.spec.traits[:] = sorted(given["traits"])
    made = await change(request, changed, ["spec.traits"], given["resource_provider_generation"])
    return Response(200, _traits(made))


async def clear_traits(request: Request) -> Response:
    """All that operators gave it."""
    changed = pb.ResourceProvider()
    changed.meta.id = request.params["uuid"]
    await change(request, changed, ["spec.traits"], None)
    return Response(204)


_BASE = "/resource_providers/{uuid}"
routes = [
    Route("GET", f"{_BASE}/aggregates", aggregates, since="1.1"),
    Route("PUT", f"{_BASE}/aggregates", set_aggregates, since="1.1"),
    Route("GET", f"{_BASE}/traits", traits, since="1.6"),
    Route("PUT", f"{_BASE}/traits", set_traits, since="1.6"),
    Route("DELETE", f"{_BASE}/traits", clear_traits, since="1.6"),
]
