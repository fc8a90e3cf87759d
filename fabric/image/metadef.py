"""Metadata definitions: namespaces with objects, properties, tags and the resource types that they are for."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar

from fabric.image.collection import NAMESPACES
from fabric.image.v1 import metadef_pb2 as pb
from fabric.runtime import query
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, Exhausted, InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.resource import Resource, copy_of
from fabric.runtime.store import Transaction

RESOURCE_TYPES = (
    "OS::Cinder::Volume",
    "OS::Glance::Image",
    "OS::Nova::Aggregate",
    "OS::Nova::Flavor",
    "OS::Nova::Server",
    "OS::Trove::Instance",
)
MAX_NAME = 80
MAX_DEFINITIONS = 1000
MAX_BYTES = 200 << 10  # of a record: etcd takes 1.5 MiB, also when each byte is escaped
_Kind = pb.Definition.Kind
Kind = pb.Definition
_NOUNS = {
    Kind.KIND_OBJECT: "object",
    Kind.KIND_PROPERTY: "property",
    Kind.KIND_TAG: "tag",
    Kind.KIND_RESOURCE_TYPE: "resource type association",
}
_RULES = {
    (Kind.KIND_OBJECT, "list"): "get_metadef_objects",
    (Kind.KIND_OBJECT, "get"): "get_metadef_object",
    (Kind.KIND_OBJECT, "create"): "add_metadef_object",
    (Kind.KIND_OBJECT, "update"): "modify_metadef_object",
    (Kind.KIND_OBJECT, "delete"): "delete_metadef_object",
    (Kind.KIND_PROPERTY, "list"): "get_metadef_properties",
    (Kind.KIND_PROPERTY, "get"): "get_metadef_property",
    (Kind.KIND_PROPERTY, "create"): "add_metadef_property",
    (Kind.KIND_PROPERTY, "update"): "modify_metadef_property",
    (Kind.KIND_PROPERTY, "delete"): "remove_metadef_property",
    (Kind.KIND_TAG, "list"): "get_metadef_tags",
    (Kind.KIND_TAG, "get"): "get_metadef_tag",
    (Kind.KIND_TAG, "create"): "add_metadef_tag",
    (Kind.KIND_TAG, "update"): "modify_metadef_tag",
    (Kind.KIND_TAG, "delete"): "delete_metadef_tag",
    (Kind.KIND_RESOURCE_TYPE, "list"): "get_metadef_resource_type",
    (Kind.KIND_RESOURCE_TYPE, "get"): "get_metadef_resource_type",
    (Kind.KIND_RESOURCE_TYPE, "create"): "add_metadef_resource_type_association",
    (Kind.KIND_RESOURCE_TYPE, "delete"): "remove_metadef_resource_type_association",
}


class Namespaces(Resource[pb.Namespace]):
    """The RPCs of MetadefService."""

    collection = NAMESPACES
    policies: ClassVar = {
        "create": "add_metadef_namespace",
        "get": "get_metadef_namespace",
        "list": "get_metadef_namespaces",
        "update": "modify_metadef_namespace",
        "delete": "delete_metadef_namespace",
    }

    def target(self, message: pb.Namespace) -> dict[str, Any]:
        return {
            "project_id": message.meta.project_id,
            "visibility": "public" if message.public else "private",
        }

    def visible(self, caller: Caller, message: pb.Namespace) -> bool:
        return message.public or message.meta.project_id == caller.project_id or caller.is_admin

    def missing(self, id_: str) -> NotFound:
        return NotFound(
            f"Metadata definition namespace={id_[:200]} was not found.", reason="NAMESPACE_NOT_FOUND"
        )

    def find(self, id_: str, caller: Caller) -> pb.Namespace:
        found = self.store.find(NAMESPACES, id_) if id_ else None
        if found is None or not self.visible(caller, found):
            raise self.missing(id_)
        return found

    def accept(self, caller: Caller, new: pb.Namespace, old: pb.Namespace | None, txn: Transaction) -> None:
        new.meta.name = new.meta.id
        _check_name(new.meta.id, "namespace")
        for text, name, most in (
            (new.display_name, "display_name", 80),
            (new.meta.description, "description", 500),
        ):
            if len(text) > most:
                raise InvalidArgument(f"'{name}' is longer than {most} characters.", field=name)
        given = list(new.definitions)
        del new.definitions[:]
        for definition in given:
            _add(new, definition)
        if new.ByteSize() > MAX_BYTES:
            raise Exhausted(f"A namespace has at most {MAX_BYTES} bytes.", reason="NAMESPACE_TOO_LARGE")

    def check_delete(self, caller: Caller, old: pb.Namespace, txn: Transaction) -> None:
        if old.protected:
            raise PermissionDenied(
                f"Metadata definition namespace {old.meta.id} is protected and cannot be deleted.",
                reason="PROTECTED",
            )

    async def CreateNamespace(self, request: pb.CreateNamespaceRequest, caller: Caller) -> pb.Namespace:
        if not request.namespace.meta.id:
            raise InvalidArgument("'namespace' is required.", field="namespace")
        return await self.create(request.namespace, caller)

    async def GetNamespace(self, request: pb.GetNamespaceRequest, caller: Caller) -> pb.Namespace:
        found = self.find(request.id, caller)
        self.enforce("get", caller, found)
        return found

    async def ListNamespaces(
        self, request: pb.ListNamespacesRequest, caller: Caller
    ) -> pb.ListNamespacesResponse:
        self.policy.enforce(
            caller, "get_metadef_namespaces", {"project_id": caller.project_id, "visibility": "public"}
        )
        seen = [
            namespace
            for namespace in self.store.table(NAMESPACES)
            if self.visible(caller, namespace) and _is_for(namespace, request.resource_types)
        ]
        page, marker = query.select(seen, request.query, pb.Namespace)
        return pb.ListNamespacesResponse(namespaces=page, next_marker=marker)

    async def UpdateNamespace(self, request: pb.UpdateNamespaceRequest, caller: Caller) -> pb.Namespace:
        given = request.namespace

        def change(namespace: pb.Namespace) -> None:
            namespace.display_name, namespace.meta.description = given.display_name, given.meta.description
            namespace.public, namespace.protected = given.public, given.protected
            if given.meta.project_id:
                namespace.meta.project_id = given.meta.project_id

        name = given.meta.id or request.id
        if name == request.id:
            return await self._change(request.id, caller, "modify_metadef_namespace", change)
        old = self.find(request.id, caller)
        self.enforce("update", caller, old)
        new = copy_of(old)
        change(new)
        new.meta.id, new.meta.etag = name, ""
        async with self.store.transaction() as txn:
            self.accept(caller, new, old, txn)
            txn.remove(NAMESPACES, old)
            txn.create(NAMESPACES, new)
        return self.kept(new)

    async def DeleteNamespace(self, request: pb.DeleteNamespaceRequest, caller: Caller) -> pb.Namespace:
        return await self.delete(request.id, caller)

    # -- definitions

    async def ListDefinitions(
        self, request: pb.ListDefinitionsRequest, caller: Caller
    ) -> pb.ListDefinitionsResponse:
        namespace = self._open(request.namespace, caller, request.kind, "list")
        return pb.ListDefinitionsResponse(definitions=_of(namespace, request.kind))

    async def GetDefinition(self, request: pb.GetDefinitionRequest, caller: Caller) -> pb.Definition:
        namespace = self._open(request.namespace, caller, request.kind, "get")
        return _named(namespace, request.kind, request.name)

    async def CreateDefinitions(
        self, request: pb.CreateDefinitionsRequest, caller: Caller
    ) -> pb.CreateDefinitionsResponse:
        for definition in request.definitions:
            definition.kind = request.kind

        def change(namespace: pb.Namespace) -> None:
            if request.replace:
                _remove(namespace, request.kind)
            for definition in request.definitions:
                _add(namespace, definition)

        rule = _rule(request.kind, "create")
        namespace = await self._change(request.namespace, caller, rule, change)
        names = {definition.name for definition in request.definitions}
        made = [definition for definition in _of(namespace, request.kind) if definition.name in names]
        return pb.CreateDefinitionsResponse(definitions=made)

    async def UpdateDefinition(self, request: pb.UpdateDefinitionRequest, caller: Caller) -> pb.Definition:
        given = request.definition
        name = given.name or request.name

        def change(namespace: pb.Namespace) -> None:
            old = _named(namespace, given.kind, request.name)
            created = old.create_time
            _remove(namespace, given.kind, request.name)
            made = _add(namespace, pb.Definition(kind=given.kind, name=name, body=given.body))
            made.create_time.CopyFrom(created)

        namespace = await self._change(request.namespace, caller, _rule(given.kind, "update"), change)
        return _named(namespace, given.kind, name)

    async def DeleteDefinitions(
        self, request: pb.DeleteDefinitionsRequest, caller: Caller
    ) -> pb.DeleteDefinitionsResponse:
        def change(namespace: pb.Namespace) -> None:
            if request.name:
                _named(namespace, request.kind, request.name)
            _remove(namespace, request.kind, request.name)

        await self._change(request.namespace, caller, _rule(request.kind, "delete"), change)
        return pb.DeleteDefinitionsResponse()

    async def ListResourceTypes(
        self, request: pb.ListResourceTypesRequest, caller: Caller
    ) -> pb.ListResourceTypesResponse:
        self.policy.enforce(
            caller, "list_metadef_resource_types", {"project_id": caller.project_id, "visibility": "public"}
        )
        used = {
            definition.name
            for namespace in self.store.table(NAMESPACES)
            for definition in _of(namespace, Kind.KIND_RESOURCE_TYPE)
        }
        return pb.ListResourceTypesResponse(names=sorted({*RESOURCE_TYPES, *used}))

    def _open(self, id_: str, caller: Caller, kind: _Kind.ValueType, verb: str) -> pb.Namespace:
        namespace = self.find(id_, caller)
        self.policy.enforce(caller, _rule(kind, verb), self.target(namespace))
        return namespace

    @again
    async def _change(
        self, id_: str, caller: Caller, rule: str, change: Callable[[pb.Namespace], None]
    ) -> pb.Namespace:
        old = self.find(id_, caller)
        self.policy.enforce(caller, rule, self.target(old))
        new = copy_of(old)
        change(new)
        async with self.store.transaction() as txn:
            self.accept(caller, new, old, txn)
            txn.update(NAMESPACES, new)
        return self.kept(new)


def _rule(kind: _Kind.ValueType, verb: str) -> str:
    rule = _RULES.get((kind, verb))
    if rule is None:
        raise InvalidArgument("There are no such definitions.", field="kind")
    return rule


def _check_name(name: str, field: str) -> None:
    if not name or len(name) > MAX_NAME:
        raise InvalidArgument(f"'{field}' must have 1 to {MAX_NAME} characters.", field=field)


def _of(namespace: pb.Namespace, kind: _Kind.ValueType) -> list[pb.Definition]:
    return [definition for definition in namespace.definitions if definition.kind == kind]


def _is_for(namespace: pb.Namespace, types: Any) -> bool:
    if not types:
        return True
    return any(definition.name in types for definition in _of(namespace, Kind.KIND_RESOURCE_TYPE))


def _named(namespace: pb.Namespace, kind: _Kind.ValueType, name: str) -> pb.Definition:
    for definition in namespace.definitions:
        if definition.kind == kind and definition.name == name:
            return definition
    raise NotFound(
        f"Metadata definition {_NOUNS.get(kind, 'definition')} {name[:200]} was not found in namespace "
        f"{namespace.meta.id}.",
        reason="DEFINITION_NOT_FOUND",
    )


def _add(namespace: pb.Namespace, definition: pb.Definition) -> pb.Definition:
    noun = _NOUNS.get(definition.kind)
    if noun is None:
        raise InvalidArgument("There are no such definitions.", field="kind")
    _check_name(definition.name, "name")
    if any(d.kind == definition.kind and d.name == definition.name for d in namespace.definitions):
        raise AlreadyExists(
            f"A metadata definition {noun} with name={definition.name} already exists in "
            f"namespace={namespace.meta.id}.",
            reason="DEFINITION_EXISTS",
        )
    if len(namespace.definitions) >= MAX_DEFINITIONS:
        raise Exhausted(f"A namespace has at most {MAX_DEFINITIONS} definitions.", reason="TOO_MANY")
    made = namespace.definitions.add()
    made.CopyFrom(definition)
    if not made.HasField("create_time"):
        made.create_time.FromDatetime(datetime.now(UTC))
        made.update_time.CopyFrom(made.create_time)
    return made


def _remove(namespace: pb.Namespace, kind: _Kind.ValueType, name: str = "") -> None:
    kept = [d for d in namespace.definitions if d.kind != kind or (name and d.name != name)]
    del namespace.definitions[:]
    namespace.definitions.extend(kept)
