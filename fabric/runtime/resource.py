"""What create, get, list, update and delete are for every resource; a service adds only its rules."""

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar, cast

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fabric.runtime import query
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.collection import copy_of as copy_of
from fabric.runtime.errors import InvalidArgument, NotFound, PermissionDenied, StaleRevision
from fabric.runtime.order import InOrder
from fabric.runtime.policy import Policy
from fabric.runtime.rpc import Method
from fabric.runtime.store import Collection, Record, Store, Transaction
from fabric.type.v1.query_pb2 import Filter, Query

M = TypeVar("M", bound=Record)


class Resource(Generic[M]):
    """The rules of one resource: subclass, set collection and policies, override what differs.

    policies maps create, get, list, update, delete to policy rule names. A caller who may not get
    it is told that it does not exist (hidden), or, with hidden False, that it is forbidden.
    """

    collection: ClassVar[Collection[Any]]
    policies: ClassVar[Mapping[str, str]]
    hidden: ClassVar[bool] = True

    def __init__(self, store: Store, policy: Policy) -> None:
        self.store = store
        self.policy = policy

    # -- rules to override

    def accept(self, caller: Caller, new: M, old: M | None, txn: Transaction) -> None:
        """Validate and complete the resource in place before it is written; old None: it is created.

        Raises InvalidArgument and the like. May add to the transaction (charges, claims, other records).
        """

    def check_delete(self, caller: Caller, old: M, txn: Transaction) -> None:
        """Raise FailedPrecondition when it is in use; may add to the transaction."""

    def written(self, caller: Caller, new: M | None, old: M | None) -> None:
        """The transaction is done."""

    def target(self, message: M) -> dict[str, Any]:
        """The attributes that policy rules compare."""
        return {"project_id": message.meta.project_id, "tenant_id": message.meta.project_id}

    def visible(self, caller: Caller, message: M) -> bool:
        """Whether a list shows it to the caller."""
        return message.meta.project_id == caller.project_id or self.policy.allows(
            caller, self.policies["get"], self.target(message)
        )

    def candidates(self, caller: Caller, asked: Query) -> list[M]:
        """What a list may show, before visibility and filters; an index can make it short."""
        table = self.store.table(self.collection)
        for part in asked.filters:  # an index with the name of the filtered field makes the list short
            if part.path in self.collection.indexes and part.op in (Filter.OP_UNSPECIFIED, Filter.OP_IN):
                found = {m.meta.id: m for value in part.values for m in table.by(part.path, value)}
                return list(found.values())
        if caller.is_admin and asked.all_projects:
            return list(table)
        return table.by("project", caller.project_id)

    def in_order(self, caller: Caller, asked: Query) -> InOrder[M] | None:
        """The candidates in the order of their making, where a list is long and no index makes it short."""
        return None

    def present(self, caller: Caller, message: M) -> M:
        """The answer: the cached message itself, or a copy with output-only fields filled."""
        return message

    # -- what every resource does

    @again
    async def create(self, message: M, caller: Caller) -> M:
        """Make it; a missing id and project are filled in."""
        new = copy_of(message)
        new.meta.id = new.meta.id or str(uuid.uuid4())
        self.own(caller, new)
        new.meta.request_id = caller.request_id
        self.enforce("create", caller, new)
        async with self.store.transaction() as txn:
            self.accept(caller, new, None, txn)
            txn.create(self.collection, new)
        self.written(caller, new, None)
        return self.present(caller, self.kept(new))

    def own(self, caller: Caller, new: M) -> None:
        """Say whose it is."""
        new.meta.project_id = new.meta.project_id or caller.project_id

    async def get(self, id_: str, caller: Caller) -> M:
        """Raises NotFound."""
        return self.present(caller, self.find(id_, caller))

    async def list(self, asked: Query, caller: Caller) -> tuple[list[M], str]:
        """The page, and the next page's marker."""
        self.enforce_list(caller)
        messages = self.in_order(caller, asked) or self.candidates(caller, asked)
        page, marker = query.select(
            cast(Any, messages), asked, self.collection.message, lambda m: self.visible(caller, m)
        )
        return [self.present(caller, m) for m in cast(Any, page)], marker

    @again
    async def update(self, message: M, mask: FieldMask, caller: Caller) -> M:
        """Take the masked fields over. With meta.etag set, only if it has not changed since."""
        old = self.find(message.meta.id, caller)
        if message.meta.etag and message.meta.etag != old.meta.etag:
            raise StaleRevision("The resource was changed in the meantime.", id=message.meta.id)
        self.enforce("update", caller, old)
        new = copy_of(old)
        merge(cast(Message, message), cast(Message, new), mask)
        new.meta.request_id = caller.request_id
        async with self.store.transaction() as txn:
            self.accept(caller, new, old, txn)
            txn.update(self.collection, new)
        self.written(caller, new, old)
        return self.present(caller, self.kept(new))

    @again
    async def delete(self, id_: str, caller: Caller) -> M:
        """Remove it, or mark it while somebody holds something of it; returns it as it was or is marked."""
        old = self.find(id_, caller)
        self.enforce("delete", caller, old)
        async with self.store.transaction() as txn:
            self.check_delete(caller, old, txn)
            gone = txn.delete(self.collection, old)
        self.written(caller, None, old)
        return old if gone else self.present(caller, self.kept(old))

    # -- helpers

    def find(self, id_: str, caller: Caller) -> M:
        """The record, if the caller may see it. Raises NotFound (or PermissionDenied)."""
        message: M = self.store.get(self.collection, id_)
        if self.visible(caller, message):
            return message
        if not self.hidden:
            raise PermissionDenied(f"Policy doesn't allow {self.policies['get']} to be performed.")
        raise self.missing(id_)

    def missing(self, id_: str) -> NotFound:
        """The same error as for what does not exist."""
        noun = self.collection.noun
        reason = f"{noun.upper().replace(' ', '_')}_NOT_FOUND"
        text = f"{noun.capitalize()} {id_} could not be found."
        return NotFound(text, reason=reason, resource=noun, id=id_)

    def kept(self, message: M) -> M:
        """The message as the cache has it after the commit."""
        found: M | None = self.store.find(self.collection, message.meta.id)
        return message if found is None else found

    def enforce(self, verb: str, caller: Caller, message: M) -> None:
        """Raise PermissionDenied unless the policy allows the verb on it."""
        self.policy.enforce(caller, self.policies[verb], self.target(message))

    def enforce_list(self, caller: Caller) -> None:
        """Raise PermissionDenied unless the caller may list at all."""
        rule = self.policies.get("list", self.policies["get"])
        self.policy.enforce(
            caller,
            rule,
            {"project_id": caller.project_id, "tenant_id": caller.project_id, "user_id": caller.user_id},
        )


def methods(
    service: ServiceDescriptor, resources: Mapping[str, Resource[Any]], extra: object = None
) -> dict[str, Method]:
    """The methods of a service, by RPC name.

    Create<X>, Get<X>, List<X>s, Update<X> and Delete<X> go by the rules of resources["X"]; the others, and
    overrides, are the attributes of extra with the RPC's name.
    """
    found: dict[str, Method] = {}
    for rpc in service.methods:
        own = getattr(extra, rpc.name, None)
        if own is not None:
            found[rpc.name] = own
            continue
        for noun, resource in resources.items():
            if made := _method(rpc.name, noun, resource, GetMessageClass(rpc.output_type)):
                found[rpc.name] = made
    return found


def _method(name: str, noun: str, resource: Resource[Any], reply: type[Message]) -> Method | None:
    verb = name.removesuffix(noun)
    if verb == "Create":
        return lambda request, caller: resource.create(_first(request), caller)
    if verb == "Get":
        return lambda request, caller: resource.get(request.id, caller)
    if verb == "Update":
        return lambda request, caller: resource.update(_first(request), request.update_mask, caller)
    if verb == "Delete":
        return lambda request, caller: resource.delete(request.id, caller)
    if name == f"List{plural(noun)}":
        return _lister(resource, reply)
    return None


def plural(noun: str) -> str:
    """Policy -> Policies, Address -> Addresses, Volume -> Volumes."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith("s") else "s")


def _lister(resource: Resource[Any], reply: type[Message]) -> Method:
    field = reply.DESCRIPTOR.fields_by_number[1].name

    async def method(request: Any, caller: Caller) -> Message:
        page, marker = await resource.list(request.query, caller)
        return reply(**{field: page, "next_marker": marker})

    return method


def _first(request: Any) -> Any:
    return getattr(request, request.DESCRIPTOR.fields_by_number[1].name)


def merge(source: Message, into: Message, mask: FieldMask) -> None:
    """Replace the masked fields (dotted paths), lists and maps as a whole. Raises InvalidArgument."""
    for path in mask.paths:
        *parents, leaf = path.split(".")
        left, right = source, into
        try:
            for name in parents:
                left, right = getattr(left, name), getattr(right, name)
            field = right.DESCRIPTOR.fields_by_name[leaf]
        except (AttributeError, KeyError) as error:
            raise InvalidArgument(f"{path!r} is not a field.", field=path) from error
        if field.is_repeated:
            right.ClearField(leaf)
            getattr(right, leaf).MergeFrom(getattr(left, leaf))
        elif field.message_type is not None:
            right.ClearField(leaf)
            if left.HasField(leaf):
                getattr(right, leaf).CopyFrom(getattr(left, leaf))
        elif field.has_presence and not left.HasField(leaf):
            right.ClearField(leaf)
        else:
            setattr(right, leaf, getattr(left, leaf))
