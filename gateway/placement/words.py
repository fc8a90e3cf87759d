"""Placement API, sections "Traits" and "Resource Classes"."""

from fabric.compute.v1 import vocabulary_pb2 as pb
from fabric.compute.v1.vocabulary_pb2_grpc import VocabularyServiceStub
from fabric.type.v1.query_pb2 import Filter
from gateway.compute import body
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.placement.need import bad, check_known

_CLASS = body.Obj({"name": body.text(255, 1, "CUSTOM_[A-Z0-9_]+")}, required=["name"])


async def traits(request: Request) -> Response:
    """All, or those of a name or a prefix, or those that a provider has (not)."""
    check_known(request, {"name": (1, 6), "associated": (1, 6)})
    asked = pb.ListTraitsRequest()
    if name := request.arg("name"):
        kind, _, value = name.partition(":")
        if kind not in ("in", "startswith") or not value:
            raise bad(f"Badly formatted name parameter. Expected in: or startswith:, got {name[:80]!r}.")
        op, values = (Filter.OP_IN, value.split(",")) if kind == "in" else (Filter.OP_PREFIX, [value])
        asked.query.filters.add(path="meta.id", op=op, values=values)
    if associated := request.arg("associated").lower():
        if associated not in ("true", "false"):
            raise bad(
                f"The query parameter of associated only accepts true or false, got {associated[:40]!r}."
            )
        asked.query.filters.add(path="used", values=[associated])
    reply = await request.call(request.stub(VocabularyServiceStub).ListTraits, asked)
    return Response(200, {"traits": [trait.meta.id for trait in reply.traits]})


async def show_trait(request: Request) -> Response:
    """Whether it is known."""
    asked = pb.GetTraitRequest(id=request.params["name"])
    await request.call(request.stub(VocabularyServiceStub).GetTrait, asked)
    return Response(204)


async def ensure_trait(request: Request) -> Response:
    """201: it is new; 204: it was known."""
    name = request.params["name"]
    asked = pb.CreateTraitRequest()
    asked.trait.meta.id = name
    headers = {"location": f"{request.api_url}/traits/{name}"}
    try:
        await request.call(request.stub(VocabularyServiceStub).CreateTrait, asked)
    except Fault as fault:
        if fault.status != 409:
            raise
        return Response(204, None, headers)
    return Response(201, None, headers)


async def delete_trait(request: Request) -> Response:
    """A custom one that no provider has."""
    asked = pb.DeleteTraitRequest(id=request.params["name"])
    await request.call(request.stub(VocabularyServiceStub).DeleteTrait, asked)
    return Response(204)


def _class(request: Request, name: str) -> dict[str, JsonValue]:
    return {"name": name, "links": [{"rel": "self", "href": f"{request.mount}/resource_classes/{name}"}]}


async def classes(request: Request) -> Response:
    """All."""
    stub = request.stub(VocabularyServiceStub)
    reply = await request.call(stub.ListResourceClasses, pb.ListResourceClassesRequest())
    return Response(
        200, {"resource_classes": [_class(request, found.meta.id) for found in reply.resource_classes]}
    )


async def show_class(request: Request) -> Response:
    """Whether it is known."""
    asked = pb.GetResourceClassRequest(id=request.params["name"])
    found = await request.call(request.stub(VocabularyServiceStub).GetResourceClass, asked)
    return Response(200, _class(request, found.meta.id))


async def create_class(request: Request) -> Response:
    """A custom one."""
    name = _CLASS(request.json(), "body", request.microversion)["name"]
    return await _made(request, name)


async def ensure_class(request: Request) -> Response:
    """201: it is new; 204: it was known."""
    try:
        return await _made(
            request, _CLASS({"name": request.params["name"]}, "body", request.microversion)["name"]
        )
    except Fault as fault:
        if fault.status != 409:
            raise
        return Response(
            204, None, {"location": f"{request.api_url}/resource_classes/{request.params['name']}"}
        )


async def rename_class(request: Request) -> Response:
    """A custom one that no provider has; since 1.7 the name in the path is all that there is."""
    name = _CLASS(request.json(), "body", request.microversion)["name"]
    asked = pb.RenameResourceClassRequest(id=request.params["name"], name=name)
    made = await request.call(request.stub(VocabularyServiceStub).RenameResourceClass, asked)
    return Response(200, _class(request, made.meta.id))


async def _made(request: Request, name: str) -> Response:
    asked = pb.CreateResourceClassRequest()
    asked.resource_class.meta.id = name
    await request.call(request.stub(VocabularyServiceStub).CreateResourceClass, asked)
    return Response(201, None, {"location": f"{request.api_url}/resource_classes/{name}"})


async def delete_class(request: Request) -> Response:
    """A custom one that no provider has."""
    asked = pb.DeleteResourceClassRequest(id=request.params["name"])
    await request.call(request.stub(VocabularyServiceStub).DeleteResourceClass, asked)
    return Response(204)


routes = [
    Route("GET", "/traits", traits, since="1.6"),
    Route("GET", "/traits/{name}", show_trait, since="1.6"),
    Route("PUT", "/traits/{name}", ensure_trait, since="1.6"),
    Route("DELETE", "/traits/{name}", delete_trait, since="1.6"),
    Route("GET", "/resource_classes", classes, since="1.2"),
    Route("POST", "/resource_classes", create_class, since="1.2"),
    Route("GET", "/resource_classes/{name}", show_class, since="1.2"),
    Route("PUT", "/resource_classes/{name}", rename_class, since="1.2", until="1.6"),
    Route("PUT", "/resource_classes/{name}", ensure_class, since="1.7"),
    Route("DELETE", "/resource_classes/{name}", delete_class, since="1.2"),
]
