"""Placement API, sections "Allocations", "Resource provider allocations" and "Usages"."""

from collections.abc import Iterable, Mapping
from typing import Any

import grpc

from fabric.compute.v1 import consumer_pb2 as pb
from fabric.compute.v1.consumer_pb2_grpc import ConsumerServiceStub
from gateway.compute import body
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.placement.inventories import ALL, read
from gateway.placement.need import bad, check_known, one_uuid
from gateway.placement.resource_providers import find, generation

_UNKNOWN_TYPE = "unknown"
_UNKNOWN_OWNER = "00000000-0000-0000-0000-000000000000"  # of what was written before 1.8
_UUID = r"[0-9a-fA-F-]{32,36}"
_OF_USAGES = {"project_id": (1, 9), "user_id": (1, 9), "consumer_type": (1, 38)}
_TYPE = body.text(255, 1, "[A-Z0-9_]+")
_RESOURCES = body.mapping(body.integer(1), key="[A-Z0-9_]{1,255}", least=1)
_PART = body.Obj({"resources": _RESOURCES, "generation": body.anything}, required=["resources"])
_PARTS = body.mapping(_PART, key=_UUID)
_OLD_PARTS = body.items(
    body.Obj(
        {
            "resource_provider": body.Obj({"uuid": one_uuid}, required=["uuid"]),
            "resources": _RESOURCES,
        },
        required=["resource_provider", "resources"],
    ),
    least=1,
)
_IDS = body.items(body.uuid, least=1, unique=True)
_OWNER = {
    "project_id": (body.text(255, 1), "1.8", ""),
    "user_id": (body.text(255, 1), "1.8", ""),
    "consumer_generation": (body.maybe(body.integer(0)), "1.28", ""),
    "consumer_type": (_TYPE, "1.38", ""),
    "mappings": (body.mapping(_IDS, key="([a-zA-Z0-9_-]{1,64})?", least=1), "1.34", ""),
}
_RESHAPED = body.Obj(
    {"inventories": body.mapping(ALL, key=_UUID), "allocations": body.anything},
    required=["inventories", "allocations"],
)
_ALLOCATIONS = {"allocations": (_OLD_PARTS, "1.0", "1.11"), "allocations ": (_PARTS, "1.12", "")}


def _rule(request: Request) -> body.Obj:
    version, required = request.microversion, ["allocations"]
    if version >= (1, 8):
        required += ["project_id", "user_id"]
    if version >= (1, 28):
        required.append("consumer_generation")
    if version >= (1, 38):
        required.append("consumer_type")
    return body.Obj({**_ALLOCATIONS, **_OWNER}, required=required)


def _change(request: Request, id_: str, given: Mapping[str, Any]) -> pb.ConsumerChange:
    change = pb.ConsumerChange()
    consumer = change.consumer
    consumer.meta.id = one_uuid(id_, "consumer_uuid", request.microversion)
    consumer.meta.project_id = given.get("project_id", _UNKNOWN_OWNER)
    consumer.user_id, consumer.type = given.get("user_id", _UNKNOWN_OWNER), given.get("consumer_type", "")
    parts = given["allocations"]
    if isinstance(parts, list):
        parts = {part["resource_provider"]["uuid"]: part for part in parts}
    for provider_id, part in parts.items():
        consumer.allocations.add(
            provider_id=one_uuid(provider_id, "allocations", request.microversion),
            resources=part["resources"],
        )
    if request.microversion >= (1, 28):
        change.generation = given["consumer_generation"] or 0
    return change


async def _find(request: Request) -> pb.Consumer:
    id_ = one_uuid(request.params["consumer_uuid"], "consumer_uuid", request.microversion)
    asked = pb.GetConsumerRequest(id=id_)
    try:
        return await request.call(request.stub(ConsumerServiceStub).GetConsumer, asked)
    except Fault as fault:
        if fault.code != grpc.StatusCode.NOT_FOUND:
            raise
        return pb.Consumer()


async def show(request: Request) -> Response:
    """Of a consumer; none at all of one that is not known."""
    consumer = await _find(request)
    told: dict[str, JsonValue] = {
        "allocations": {
            part.provider_id: {"resources": dict(part.resources), "generation": part.provider_generation - 1}
            for part in consumer.allocations
        }
    }
    if consumer.allocations:
        if request.microversion >= (1, 12):
            told |= {"project_id": consumer.meta.project_id, "user_id": consumer.user_id}
        if request.microversion >= (1, 28):
            told["consumer_generation"] = consumer.meta.generation
        if request.microversion >= (1, 38):
            told["consumer_type"] = consumer.type or _UNKNOWN_TYPE
    return Response(200, told)


async def replace(request: Request) -> Response:
    """All of a consumer."""
    id_ = one_uuid(request.params["consumer_uuid"], "consumer_uuid", request.microversion)
    given = _rule(request)(request.json(), "body", request.microversion)
    if not given["allocations"] and request.microversion < (1, 28):
        raise body.refuse("allocations", given["allocations"], "it does not have enough properties")
    asked = pb.SetConsumersRequest(changes=[_change(request, id_, given)])
    await request.call(request.stub(ConsumerServiceStub).SetConsumers, asked)
    return Response(204)


async def replace_many(request: Request) -> Response:
    """All of several consumers, or none."""
    rule = body.mapping(_rule(request), key=_UUID)
    given = rule(request.json(), "body", request.microversion)
    if not given:
        raise body.refuse("body", given, "it does not have enough properties")
    asked = pb.SetConsumersRequest(changes=[_change(request, id_, each) for id_, each in given.items()])
    await request.call(request.stub(ConsumerServiceStub).SetConsumers, asked)
    return Response(204)


async def delete(request: Request) -> Response:
    """All of a consumer."""
    id_ = one_uuid(request.params["consumer_uuid"], "consumer_uuid", request.microversion)
    asked = pb.DeleteConsumerRequest(id=id_)
    await request.call(request.stub(ConsumerServiceStub).DeleteConsumer, asked)
    return Response(204)


async def of_provider(request: Request) -> Response:
    """What each consumer takes of a provider."""
    provider = await find(request)
    asked = pb.ListConsumersRequest(provider_id=provider.meta.id)
    reply = await request.call(request.stub(ConsumerServiceStub).ListConsumers, asked)
    told: dict[str, JsonValue] = {}
    for consumer in reply.consumers:
        for part in consumer.allocations:
            if part.provider_id == provider.meta.id:
                entry: dict[str, JsonValue] = {"resources": dict(part.resources)}
                if request.microversion >= (1, 28):
                    entry["consumer_generation"] = consumer.meta.generation
                told[consumer.meta.id] = entry
    return Response(200, {"allocations": told, "resource_provider_generation": generation(provider)})


async def reshape(request: Request) -> Response:
    """Inventories of providers and allocations of consumers, all or none."""
    given = _RESHAPED(request.json(), "body", request.microversion)
    changes = body.mapping(_rule(request), key=_UUID)(
        given["allocations"], "allocations", request.microversion
    )
    asked = pb.ReshapeRequest(changes=[_change(request, id_, each) for id_, each in changes.items()])
    for provider_id, each in given["inventories"].items():
        shape = asked.providers.add(provider_id=one_uuid(provider_id, "inventories", request.microversion))
        shape.generation = each["resource_provider_generation"] + 1
        for name, sizes in each["inventories"].items():
            shape.inventories[name].CopyFrom(read(sizes, request, provider_id))
    await request.call(request.stub(ConsumerServiceStub).Reshape, asked)
    return Response(204)


async def usages(request: Request) -> Response:
    """What a project takes, by resource class; since 1.38 by type of consumer."""
    check_known(request, _OF_USAGES)
    if not request.args("project_id"):
        raise bad("Invalid query string parameters: 'project_id' is a required property")
    for name, value in request.query:
        if not 0 < len(value) <= 255:
            raise bad(f"Invalid query string parameters: {name} has 1 to 255 characters.")
    asked = pb.ListConsumersRequest(project_id=request.arg("project_id"), user_id=request.arg("user_id"))
    reply = await request.call(request.stub(ConsumerServiceStub).ListConsumers, asked)
    if request.microversion < (1, 38):
        return Response(200, {"usages": _sum(reply.consumers)})
    kind = request.arg("consumer_type", "all")
    by_type: dict[str, list[pb.Consumer]] = {}
    for consumer in reply.consumers:
        its = consumer.type or _UNKNOWN_TYPE
        if kind in ("all", its):
            by_type.setdefault("all" if request.args("consumer_type") == ["all"] else its, []).append(
                consumer
            )
    told: dict[str, JsonValue] = {
        name: {"consumer_count": len(found), **_sum(found)} for name, found in by_type.items()
    }
    return Response(200, {"usages": told})


def _sum(consumers: Iterable[pb.Consumer]) -> dict[str, int]:
    total: dict[str, int] = {}
    for consumer in consumers:
        for part in consumer.allocations:
            for name, amount in part.resources.items():
                total[name] = total.get(name, 0) + amount
    return total


routes = [
    Route("POST", "/allocations", replace_many, since="1.13"),
    Route("GET", "/allocations/{consumer_uuid}", show),
    Route("PUT", "/allocations/{consumer_uuid}", replace),
    Route("DELETE", "/allocations/{consumer_uuid}", delete),
    Route("GET", "/resource_providers/{uuid}/allocations", of_provider),
    Route("POST", "/reshaper", reshape, since="1.30"),
    Route("GET", "/usages", usages, since="1.9"),
]
