"""Placement API, section "Resource providers"."""

import uuid
from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.compute.v1 import resource_provider_pb2 as pb
from fabric.compute.v1.resource_provider_pb2_grpc import ResourceProviderServiceStub
from fabric.type.v1.query_pb2 import Filter
from gateway.compute import body
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.placement.need import needs, one_uuid

_PARENT = (body.maybe(one_uuid), "1.14", "")
_NAME = body.text(200, 1)
_NEW = body.Obj({"name": _NAME, "uuid": one_uuid, "parent_provider_uuid": _PARENT}, required=["name"])
_CHANGED = body.Obj({"name": _NAME, "parent_provider_uuid": _PARENT}, required=["name"])
_GROUPS = {"member_of": (1, 3), "resources": (1, 4), "in_tree": (1, 14), "required": (1, 18)}
_OTHERS = {"name": (1, 0), "uuid": (1, 0)}
_RELATIONS = (
    ("inventories", (1, 0)),
    ("usages", (1, 0)),
    ("aggregates", (1, 1)),
    ("traits", (1, 6)),
    ("allocations", (1, 11)),
)


def generation(provider: pb.ResourceProvider) -> int:
    """As callers count it: a new provider's is 0."""
    return provider.meta.generation - 1


def shown(request: Request, provider: pb.ResourceProvider) -> dict[str, JsonValue]:
    """One of a list."""
    path = f"{request.mount}/resource_providers/{provider.meta.id}"
    links: list[JsonValue] = [{"rel": "self", "href": path}]
    links += [
        {"rel": relation, "href": f"{path}/{relation}"}
        for relation, since in _RELATIONS
        if request.microversion >= since
    ]
    told: dict[str, JsonValue] = {
        "uuid": provider.meta.id,
        "name": provider.meta.name,
        "generation": generation(provider),
        "links": links,
    }
    if request.microversion >= (1, 14):
        told["parent_provider_uuid"] = provider.spec.parent_id or None
        told["root_provider_uuid"] = provider.root_id
    return told


async def find(request: Request) -> pb.ResourceProvider:
    """The one that the path names. Raises Fault."""
    asked = pb.GetResourceProviderRequest(id=request.params["uuid"])
    return await request.call(request.stub(ResourceProviderServiceStub).GetResourceProvider, asked)


async def change(
    request: Request, provider: pb.ResourceProvider, paths: Sequence[str], seen: int | None
) -> pb.ResourceProvider:
    """Write these fields; seen: the generation that the caller knows. Raises Fault."""
    asked = pb.UpdateResourceProviderRequest(resource_provider=provider, update_mask=FieldMask(paths=paths))
    if seen is not None:
        asked.generation = seen + 1
    return await request.call(request.stub(ResourceProviderServiceStub).UpdateResourceProvider, asked)


async def index(request: Request) -> Response:
    """Those that have what is asked for."""
    found = needs(request, _GROUPS, _OTHERS)
    asked = pb.ListResourceProvidersRequest(need=found.get(""))
    for name, path in (("name", "meta.name"), ("uuid", "meta.id")):
        for value in request.args(name):
            wanted = one_uuid(value, name, request.microversion) if name == "uuid" else value
            asked.query.filters.add(path=path, op=Filter.OP_IN, values=[wanted])
    stub = request.stub(ResourceProviderServiceStub)
    reply = await request.call(stub.ListResourceProviders, asked)
    return Response(200, {"resource_providers": [shown(request, p) for p in reply.resource_providers]})


async def show(request: Request) -> Response:
    """One."""
    return Response(200, shown(request, await find(request)))


async def create(request: Request) -> Response:
    """The answer has a body since 1.20."""
    given = _NEW(request.json(), "body", request.microversion)
    provider = pb.ResourceProvider()
    provider.meta.name = given["name"]
    provider.meta.id = given.get("uuid") or str(uuid.uuid4())
    provider.spec.parent_id = given.get("parent_provider_uuid") or ""
    asked = pb.CreateResourceProviderRequest(resource_provider=provider)
    made = await request.call(request.stub(ResourceProviderServiceStub).CreateResourceProvider, asked)
    headers = {"location": f"{request.api_url}/resource_providers/{made.meta.id}"}
    if request.microversion >= (1, 20):
        return Response(200, shown(request, made), headers)
    return Response(201, None, headers)


async def update(request: Request) -> Response:
    """Name and parent; a parent changes to another only since 1.37."""
    given = _CHANGED(request.json(), "body", request.microversion)
    provider = await find(request)
    changed = pb.ResourceProvider()
    changed.meta.id, changed.meta.name = provider.meta.id, given["name"]
    paths = ["meta.name"]
    if "parent_provider_uuid" in given:
        changed.spec.parent_id = given["parent_provider_uuid"] or ""
        if provider.spec.parent_id not in ("", changed.spec.parent_id) and request.microversion < (1, 37):
            raise Fault(400, "re-parenting a provider is not currently allowed.")
        paths.append("spec.parent_id")
    return Response(200, shown(request, await change(request, changed, paths, None)))


async def delete(request: Request) -> Response:
    """One without allocations."""
    asked = pb.DeleteResourceProviderRequest(id=request.params["uuid"])
    await request.call(request.stub(ResourceProviderServiceStub).DeleteResourceProvider, asked)
    return Response(204)


async def usages(request: Request) -> Response:
    """What is taken of it, by resource class."""
    provider = await find(request)
    taken: dict[str, JsonValue] = {
        name: provider.used.get(name, 0) for name in sorted(provider.spec.inventories)
    }
    return Response(200, {"resource_provider_generation": generation(provider), "usages": taken})


_BASE = "/resource_providers"
routes = [
    Route("GET", _BASE, index),
    Route("POST", _BASE, create),
    Route("GET", f"{_BASE}/{{uuid}}", show),
    Route("PUT", f"{_BASE}/{{uuid}}", update),
    Route("DELETE", f"{_BASE}/{{uuid}}", delete),
    Route("GET", f"{_BASE}/{{uuid}}/usages", usages),
]
