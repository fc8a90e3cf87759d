"""Image API v2, "Metadata Definitions": namespaces, objects, properties, tags, resource types."""

from collections.abc import Iterable, Mapping
from typing import Any

from fabric.image.v1 import metadef_pb2 as pb
from fabric.image.v1.metadef_pb2_grpc import MetadefServiceStub
from gateway.core.codec import Bool, Enum, Json, JsonValue, Text, Timestamp
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table

Kind = pb.Definition
_PLURALS = {
    "objects": Kind.KIND_OBJECT,
    "properties": Kind.KIND_PROPERTY,
    "tags": Kind.KIND_TAG,
    "resource_types": Kind.KIND_RESOURCE_TYPE,
}
_NAME, _JSON, _TIME = Text(80, min=1), Json(), Timestamp()
_TYPES = ("array", "boolean", "integer", "number", "object", "string", "null")
_ALWAYS = "2026-01-01T00:00:00Z"  # resource types are there from the beginning
_OUTPUT = ("created_at", "updated_at", "self", "schema")  # what clients may send back

NAMESPACES = Table(
    singular="namespace",
    plural="namespaces",
    message=pb.Namespace,
    service=MetadefServiceStub,
    fields=[
        Field(
            "namespace", "meta.id", write="create update", required=True, codec=_NAME, filter=True, sort=True
        ),
        Field("display_name", "display_name", write="create update", codec=Text(80, nullable=True)),
        Field("description", "meta.description", write="create update", codec=Text(500, nullable=True)),
        Field("protected", "protected", write="create update", codec=Bool),
        Field("owner", "meta.project_id", write="create update", codec=Text(255, nullable=True), filter=True),
        Field("created_at", "meta.create_time", codec=_TIME, sort=True),
        Field("updated_at", "meta.update_time", codec=_TIME, sort=True),
        Field("self", compute=lambda namespace, _: f"/v2/metadefs/namespaces/{namespace.meta.id}"),
        Field("schema", const="/v2/schemas/metadefs/namespace"),
    ],
)
_VISIBILITY = Enum(("public", "private"))


def _stub(request: Request) -> Any:
    return request.stub(MetadefServiceStub)


# -- rendering


def _item(namespace: str, definition: pb.Definition) -> dict[str, JsonValue]:
    item: dict[str, JsonValue] = {"name": definition.name, **_JSON.to_json(definition.body)}
    if definition.kind == Kind.KIND_PROPERTY:
        return item
    item["created_at"] = _TIME.to_json(definition.create_time)
    item["updated_at"] = _TIME.to_json(definition.update_time)
    singular = {Kind.KIND_OBJECT: "object", Kind.KIND_TAG: "tag"}.get(definition.kind)
    if singular:
        item["self"] = f"/v2/metadefs/namespaces/{namespace}/{singular}s/{definition.name}"
        item["schema"] = f"/v2/schemas/metadefs/{singular}"
    return item


def _items(namespace: str, definitions: Iterable[pb.Definition], kind: Any) -> list[dict[str, JsonValue]]:
    return [_item(namespace, definition) for definition in definitions if definition.kind == kind]


def _render(namespace: pb.Namespace, request: Request, *, detail: bool = True) -> dict[str, JsonValue]:
    item = NAMESPACES.render(namespace, request)
    item["visibility"] = "public" if namespace.public else "private"
    found = {
        plural: _items(namespace.meta.id, namespace.definitions, kind) for plural, kind in _PLURALS.items()
    }
    if found["resource_types"]:
        item["resource_type_associations"] = found["resource_types"]
    if detail:
        if found["objects"]:
            item["objects"] = found["objects"]
        if found["properties"]:
            item["properties"] = _by_name(found["properties"])
        if found["tags"]:
            item["tags"] = found["tags"]
    return item


def _by_name(items: list[dict[str, JsonValue]]) -> dict[str, JsonValue]:
    return {item["name"]: {key: value for key, value in item.items() if key != "name"} for item in items}


# -- parsing


def _definition(kind: Any, value: JsonValue, name: str = "") -> pb.Definition:
    if not isinstance(value, dict):
        raise Invalid("A definition must be an object.")
    body = {key: entry for key, entry in value.items() if key not in _OUTPUT}
    given = body.pop("name", name)
    if kind == Kind.KIND_PROPERTY:
        if body.get("type") not in _TYPES:
            raise Invalid(f"'type' must be one of {', '.join(_TYPES)}.", field="type")
        Text(80, min=1).from_json(body.get("title"), "title")
    if kind == Kind.KIND_OBJECT and not isinstance(body.get("properties", {}), dict):
        raise Invalid("'properties' must be an object.", field="properties")
    if kind == Kind.KIND_TAG and body:
        raise Invalid(f"Additional properties are not allowed ({next(iter(body))[:64]!r})", field="tags")
    return pb.Definition(kind=kind, name=_NAME.from_json(given, "name"), body=_JSON.from_json(body, "body"))


def _definitions(body: Mapping[str, JsonValue]) -> list[pb.Definition]:
    """What a new namespace brings along."""
    found = []
    for key, kind in (
        ("objects", Kind.KIND_OBJECT),
        ("tags", Kind.KIND_TAG),
        ("resource_type_associations", Kind.KIND_RESOURCE_TYPE),
    ):
        entries = body.get(key) or []
        if not isinstance(entries, list):
            raise Invalid(f"'{key}' must be an array.", field=key)
        found += [_definition(kind, entry) for entry in entries]
    properties = body.get("properties") or {}
    if not isinstance(properties, dict):
        raise Invalid("'properties' must be an object.", field="properties")
    return found + [_definition(Kind.KIND_PROPERTY, entry, name) for name, entry in properties.items()]


_PARTS = ("objects", "tags", "resource_type_associations", "properties", "visibility", *_OUTPUT)


def _namespace(request: Request, *, detail: bool) -> pb.Namespace:
    body = request.json()
    plain = {key: value for key, value in body.items() if key not in _PARTS}
    namespace: pb.Namespace = NAMESPACES.parse_create(plain, request)
    if "visibility" in body:
        namespace.public = _VISIBILITY.from_json(body["visibility"], "visibility") == "public"
    if detail:
        namespace.definitions.extend(_definitions(body))
    return namespace


# -- namespaces


async def create(request: Request) -> Response:
    asked = pb.CreateNamespaceRequest(namespace=_namespace(request, detail=True))
    made = await request.call(_stub(request).CreateNamespace, asked)
    headers = {"location": f"{request.api_url}/v2/metadefs/namespaces/{made.meta.id}"}
    return Response(201, _render(made, request), headers)


async def list_namespaces(request: Request) -> Response:
    dialect = request.api.dialect
    listing = dialect.listing(request, NAMESPACES)
    asked = pb.ListNamespacesRequest(query=listing.query)
    for value in request.args("resource_types"):
        asked.resource_types.extend(value.split(","))
    if visibility := request.arg("visibility"):
        public = _VISIBILITY.from_json(visibility, "visibility") == "public"
        asked.query.filters.add(path="public", values=["true" if public else "false"])
    reply = await request.call(_stub(request).ListNamespaces, asked)
    items: list[JsonValue] = [_render(one, request, detail=False) for one in reply.namespaces]
    body = dialect.page(request, NAMESPACES, items, listing, reply.next_marker)
    body["schema"] = "/v2/schemas/metadefs/namespaces"
    return Response(200, body)


async def show(request: Request) -> Response:
    asked = pb.GetNamespaceRequest(id=request.params["namespace"])
    return Response(200, _render(await request.call(_stub(request).GetNamespace, asked), request))


async def update(request: Request) -> Response:
    asked = pb.UpdateNamespaceRequest(
        id=request.params["namespace"], namespace=_namespace(request, detail=False)
    )
    return Response(200, _render(await request.call(_stub(request).UpdateNamespace, asked), request))


async def delete(request: Request) -> Response:
    asked = pb.DeleteNamespaceRequest(id=request.params["namespace"])
    await request.call(_stub(request).DeleteNamespace, asked)
    return Response(204)


# -- definitions


def _kind(request: Request) -> tuple[str, Any]:
    plural = request.params["plural"]
    if plural not in _PLURALS:
        raise Fault(404, "The resource could not be found.", reason="NO_SUCH_PATH")
    return plural, _PLURALS[plural]


async def list_definitions(request: Request) -> Response:
    plural, kind = _kind(request)
    name = request.params["namespace"]
    asked = pb.ListDefinitionsRequest(namespace=name, kind=kind)
    reply = await request.call(_stub(request).ListDefinitions, asked)
    items = _items(name, reply.definitions, kind)
    if kind == Kind.KIND_RESOURCE_TYPE:
        return Response(200, {"resource_type_associations": items})
    if kind == Kind.KIND_PROPERTY:
        return Response(200, {"properties": _by_name(items), "schema": "/v2/schemas/metadefs/properties"})
    path = request.path.removeprefix(request.mount)
    return Response(200, {plural: items, "first": path, "schema": f"/v2/schemas/metadefs/{plural}"})


async def create_definitions(request: Request) -> Response:
    _, kind = _kind(request)
    name = request.params["namespace"]
    body = request.json()
    asked = pb.CreateDefinitionsRequest(namespace=name, kind=kind)
    if kind == Kind.KIND_TAG:
        tags = body.get("tags")
        if not isinstance(tags, list):
            raise Invalid("'tags' must be an array.", field="tags")
        asked.definitions.extend(_definition(kind, tag) for tag in tags)
        asked.replace = request.headers.get("x-openstack-append", "false").lower() not in ("true", "1")
    else:
        asked.definitions.append(_definition(kind, body))
    reply = await request.call(_stub(request).CreateDefinitions, asked)
    items = _items(name, reply.definitions, kind)
    if kind == Kind.KIND_TAG:
        path = request.path.removeprefix(request.mount)
        return Response(201, {"tags": items, "first": path, "schema": "/v2/schemas/metadefs/tags"})
    return Response(201, items[0], {"location": f"{request.base_url}{request.path}/{items[0]['name']}"})


async def create_tag(request: Request) -> Response:
    _, kind = _kind(request)
    if kind != Kind.KIND_TAG:
        raise Fault(405, "POST is not allowed here.", headers={"allow": "GET, PUT, DELETE"})
    name = request.params["namespace"]
    asked = pb.CreateDefinitionsRequest(namespace=name, kind=kind)
    asked.definitions.append(_definition(kind, {"name": request.params["name"]}))
    reply = await request.call(_stub(request).CreateDefinitions, asked)
    return Response(201, _item(name, reply.definitions[0]))


async def show_definition(request: Request) -> Response:
    _, kind = _kind(request)
    name = request.params["namespace"]
    asked = pb.GetDefinitionRequest(namespace=name, kind=kind, name=request.params["name"])
    return Response(200, _item(name, await request.call(_stub(request).GetDefinition, asked)))


async def update_definition(request: Request) -> Response:
    _, kind = _kind(request)
    name = request.params["namespace"]
    asked = pb.UpdateDefinitionRequest(
        namespace=name,
        name=request.params["name"],
        definition=_definition(kind, request.json(), request.params["name"]),
    )
    return Response(200, _item(name, await request.call(_stub(request).UpdateDefinition, asked)))


async def delete_definition(request: Request) -> Response:
    _, kind = _kind(request)
    asked = pb.DeleteDefinitionsRequest(
        namespace=request.params["namespace"], kind=kind, name=request.params["name"]
    )
    await request.call(_stub(request).DeleteDefinitions, asked)
    return Response(204)


async def delete_definitions(request: Request) -> Response:
    _, kind = _kind(request)
    asked = pb.DeleteDefinitionsRequest(namespace=request.params["namespace"], kind=kind)
    await request.call(_stub(request).DeleteDefinitions, asked)
    return Response(204)


async def resource_types(request: Request) -> Response:
    reply = await request.call(_stub(request).ListResourceTypes, pb.ListResourceTypesRequest())
    types = [{"name": name, "created_at": _ALWAYS, "updated_at": _ALWAYS} for name in reply.names]
    return Response(200, {"resource_types": types, "schema": "/v2/schemas/metadefs/resource_types"})


_ALL, _ONE = "/v2/metadefs/namespaces", "/v2/metadefs/namespaces/{namespace}"
_MANY, _NAMED = f"{_ONE}/{{plural}}", f"{_ONE}/{{plural}}/{{name}}"
routes = [
    Route("GET", _ALL, list_namespaces),
    Route("POST", _ALL, create),
    Route("GET", _ONE, show),
    Route("PUT", _ONE, update),
    Route("DELETE", _ONE, delete),
    Route("GET", _MANY, list_definitions),
    Route("POST", _MANY, create_definitions),
    Route("DELETE", _MANY, delete_definitions),
    Route("GET", _NAMED, show_definition),
    Route("POST", _NAMED, create_tag),
    Route("PUT", _NAMED, update_definition),
    Route("DELETE", _NAMED, delete_definition),
    Route("GET", "/v2/metadefs/resource_types", resource_types),
]
