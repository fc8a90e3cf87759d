"""Compute API, section "Host aggregates"."""

import uuid
from collections.abc import Callable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.compute.v1 import aggregate_pb2 as pb
from fabric.compute.v1.aggregate_pb2_grpc import AggregateServiceStub
from gateway.compute import body
from gateway.compute.reading import body_of, change
from gateway.core.codec import JsonValue, Timestamp
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

_TIME = Timestamp("nova")
_SPACE = uuid.UUID("3a1ce8a9-7a52-4c36-9a6b-5c1f0f6d2e11")
_ZONE = body.maybe(body.text(255, 1, r"[^:]*"))
_NEW = body.Obj({"name": body.label(), "availability_zone": _ZONE}, required=["name"])
_CHANGED = body.Obj({"name": body.label(), "availability_zone": _ZONE}, least=1)
_HOST = body.Obj({"host": body.text(255, 1)}, required=["host"])
_METADATA = body.Obj(
    {"metadata": body.mapping(body.maybe(body.text(255)), key=r"[a-zA-Z0-9\-_:. ]{1,255}")},
    required=["metadata"],
)


def _shown(request: Request, aggregate: pb.Aggregate, *, brief: bool = False) -> dict[str, JsonValue]:
    meta, spec = aggregate.meta, aggregate.spec
    changed = meta.update_time != meta.create_time
    shown: dict[str, JsonValue] = {
        "id": spec.number,
        "name": meta.name,
        "availability_zone": spec.availability_zone or None,
        "created_at": _TIME.to_json(meta.create_time),
        "updated_at": _TIME.to_json(meta.update_time) if changed else None,
        "deleted_at": None,
        "deleted": False,
    }
    if request.microversion >= (2, 41):
        shown["uuid"] = str(uuid.uuid5(_SPACE, f"{spec.number} {meta.create_time.ToJsonString()}"))
    if not brief:
        metadata = dict(spec.metadata)
        if spec.availability_zone:
            metadata["availability_zone"] = spec.availability_zone
        shown |= {"hosts": list(spec.nodes), "metadata": metadata}
    return shown


async def _find(request: Request) -> pb.Aggregate:
    id_ = request.params["id"]
    asked = pb.GetAggregateRequest(id=id_)
    return await request.call(request.stub(AggregateServiceStub).GetAggregate, asked)


async def _change(request: Request, changed: Callable[[pb.Aggregate], None]) -> Response:
    async def write(aggregate: pb.Aggregate) -> pb.Aggregate:
        asked = pb.UpdateAggregateRequest(
            aggregate=aggregate, update_mask=FieldMask(paths=["meta.name", "spec"])
        )
        return await request.call(request.stub(AggregateServiceStub).UpdateAggregate, asked)

    aggregate = await change(lambda: _find(request), write, changed)
    return Response(200, {"aggregate": _shown(request, aggregate)})


async def index(request: Request) -> Response:
    """All."""
    stub = request.stub(AggregateServiceStub)
    reply = await request.call(stub.ListAggregates, pb.ListAggregatesRequest())
    return Response(200, {"aggregates": [_shown(request, aggregate) for aggregate in reply.aggregates]})


async def show(request: Request) -> Response:
    """One."""
    return Response(200, {"aggregate": _shown(request, await _find(request))})


async def create(request: Request) -> Response:
    """Without hosts."""
    given = body_of(request, "aggregate", _NEW)
    aggregate = pb.Aggregate()
    aggregate.meta.name = given["name"]
    aggregate.spec.availability_zone = given.get("availability_zone") or ""
    asked = pb.CreateAggregateRequest(aggregate=aggregate)
    made = await request.call(request.stub(AggregateServiceStub).CreateAggregate, asked)
    return Response(200, {"aggregate": _shown(request, made, brief=True)})


async def update(request: Request) -> Response:
    """Name and zone."""
    given = body_of(request, "aggregate", _CHANGED)

    def changed(aggregate: pb.Aggregate) -> None:
        aggregate.meta.name = given.get("name", aggregate.meta.name)
        if "availability_zone" in given:
            aggregate.spec.availability_zone = given["availability_zone"] or ""

    return await _change(request, changed)


async def delete(request: Request) -> Response:
    """An empty one."""
    aggregate = await _find(request)
    asked = pb.DeleteAggregateRequest(id=aggregate.meta.id)
    await request.call(request.stub(AggregateServiceStub).DeleteAggregate, asked)
    return Response(200)


async def act(request: Request) -> Response:
    """add_host, remove_host, set_metadata."""
    rule = body.Obj({"add_host": _HOST, "remove_host": _HOST, "set_metadata": _METADATA}, least=1)
    given = rule(request.json(), "body", request.microversion)
    if len(given) != 1:
        raise Invalid("The body must name one action.")
    name, value = next(iter(given.items()))
    return await _change(request, lambda aggregate: _ACTIONS[name](aggregate, value))


def _add_host(aggregate: pb.Aggregate, value: dict[str, Any]) -> None:
    host = value["host"]
    if host in aggregate.spec.nodes:
        text = f"Aggregate {aggregate.meta.id} already has host {host}."
        raise Fault(409, text, reason="AGGREGATE_HOST_EXISTS")
    aggregate.spec.nodes.append(host)


def _remove_host(aggregate: pb.Aggregate, value: dict[str, Any]) -> None:
    host = value["host"]
    if host not in aggregate.spec.nodes:
        text = f"Aggregate {aggregate.meta.id} has no host {host}."
        raise Fault(404, text, reason="AGGREGATE_HOST_NOT_FOUND")
    aggregate.spec.nodes.remove(host)


def _set_metadata(aggregate: pb.Aggregate, value: dict[str, Any]) -> None:
    for key, text in value["metadata"].items():
        if key == "availability_zone":
            aggregate.spec.availability_zone = text or ""
        elif text is None:
            aggregate.spec.metadata.pop(key, None)
        else:
            aggregate.spec.metadata[key] = text


_ACTIONS = {"add_host": _add_host, "remove_host": _remove_host, "set_metadata": _set_metadata}


async def cache_images(request: Request) -> Response:
    """Nodes fetch an image when the first server needs it."""
    await _find(request)
    raise Fault(501, "The requested functionality is not supported.", reason="NOT_SUPPORTED")


_BASE = "/v2.1/os-aggregates"
routes = [
    Route("GET", _BASE, index),
    Route("POST", _BASE, create),
    Route("GET", f"{_BASE}/{{id}}", show),
    Route("PUT", f"{_BASE}/{{id}}", update),
    Route("DELETE", f"{_BASE}/{{id}}", delete),
    Route("POST", f"{_BASE}/{{id}}/action", act),
    Route("POST", f"{_BASE}/{{id}}/images", cache_images, since="2.81"),
]
