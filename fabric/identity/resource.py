"""What identity's resources do otherwise than others: whose they are, who sees them, and 403 rather than 404."""

import builtins
import uuid
from typing import Any, ClassVar, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct

from fabric.runtime import query
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.resource import Resource, copy_of
from fabric.runtime.store import Record
from fabric.type.v1.query_pb2 import Query

M = TypeVar("M", bound=Record)

DEFAULT_DOMAIN = "default"


def new_id() -> str:
    """32 hexadecimal digits."""
    return uuid.uuid4().hex


def domain_of(caller: Caller) -> str:
    """The domain in which the caller creates when it does not say where."""
    return caller.domain_id or caller.project_domain_id or DEFAULT_DOMAIN


class IdentityResource(Resource[M]):
    """Records belong to a domain or to the cloud, not to a project; the policy alone says who sees them."""

    hidden = False
    domain_field: ClassVar[bool] = True  # whether spec.domain_id says where it belongs
    target_name: ClassVar[str] = ""  # as rules name it: target.<name>.domain_id
    keeps_id: ClassVar[bool] = False  # callers choose the id
    told: ClassVar[frozenset[str]] = frozenset()  # verbs that tell everybody that it does not exist

    async def create(self, message: M, caller: Caller) -> M:
        new = copy_of(message)
        new.meta.id = (new.meta.id if self.keeps_id else "") or new_id()
        return await super().create(new, caller)

    def own(self, caller: Caller, new: M) -> None:
        new.meta.project_id = ""

    def target(self, message: M) -> dict[str, Any]:
        found: dict[str, Any] = {"id": message.meta.id}
        if self.domain_field:
            found["domain_id"] = message.spec.domain_id  # type: ignore[attr-defined]
        if not self.target_name:
            return found
        return {f"target.{self.target_name}.{name}": value for name, value in found.items()}

    def visible(self, caller: Caller, message: M) -> bool:
        return self.policy.allows(caller, self.policies["get"], self.target(message))

    def known(self, id_: str) -> M | None:
        """The record, whoever asks."""
        found: M | None = self.store.find(self.collection, id_)
        return found

    def find(self, id_: str, caller: Caller, verb: str = "get") -> M:
        """Raises NotFound to those who could do that to what does not exist, else PermissionDenied."""
        found = self.known(id_)
        if found is None:
            if verb not in self.told:
                self.policy.enforce(caller, self.policies[verb], {})
            raise self.missing(id_)
        return found

    async def get(self, id_: str, caller: Caller) -> M:
        found = self.find(id_, caller)
        self.enforce("get", caller, found)
        return self.present(caller, found)

    async def update(self, message: M, mask: FieldMask, caller: Caller) -> M:
        self.find(message.meta.id, caller, "update")
        return await super().update(message, mask, caller)

    async def delete(self, id_: str, caller: Caller) -> M:
        self.find(id_, caller, "delete")
        return await super().delete(id_, caller)

    async def list(self, asked: Query, caller: Caller) -> tuple[list[M], str]:
        self.enforce_list(caller)
        page, marker = query.select(
            self.candidates(caller, asked),
            asked,
            self.collection.message,
        )
        return [self.present(caller, message) for message in page], marker

    def candidates(self, caller: Caller, asked: Query) -> builtins.list[M]:
        """All; of a token for a domain: what is in the domain."""
        table = self.store.table(self.collection)
        if self.domain_field and caller.domain_id:
            return table.by("domain", caller.domain_id)
        narrow = self.narrowed(asked)
        return list(table) if narrow is None else table.by(*narrow)

    def narrowed(self, asked: Query) -> tuple[str, str] | None:
        """An index and a value that hold all that the filters let through."""
        for part in asked.filters:
            if len(part.values) != 1 or part.op > 1:
                continue
            if part.path == "meta.name":
                return "name", part.values[0]
            if part.path == "spec.domain_id" and self.domain_field:
                return "domain", part.values[0]
        return None

    def enforce_list(self, caller: Caller) -> None:
        domain = caller.domain_id
        target = {"domain_id": domain, "target.domain_id": domain, "user_id": caller.user_id}
        if self.target_name:
            target[f"target.{self.target_name}.domain_id"] = domain
        self.policy.enforce(caller, self.policies.get("list", self.policies["get"]), target)

    def missing(self, id_: str) -> NotFound:
        noun = self.collection.noun
        reason = f"{noun.upper().replace(' ', '_')}_NOT_FOUND"
        return NotFound(f"Could not find {noun}: {id_}.", reason=reason, resource=noun, id=id_)


def check_name(name: str, limit: int) -> None:
    """Raise InvalidArgument for a name that is empty or too long."""
    if not name.strip():
        raise InvalidArgument("'name' must not be empty.", field="name")
    if len(name) > limit:
        raise InvalidArgument(f"'name' is longer than {limit} characters.", field="name")


def merge_struct(new: Struct, old: Struct, *, null_removes: bool = False) -> None:
    """Let what is in old and not in new stay."""
    merged = Struct()
    merged.CopyFrom(old)
    for name, value in new.fields.items():
        if null_removes and value.WhichOneof("kind") == "null_value":
            merged.fields.pop(name, None)
        else:
            merged.fields[name].CopyFrom(value)
    new.CopyFrom(merged)


def is_immutable(options: Struct) -> bool:
    """Whether the option immutable is on."""
    return "immutable" in options.fields and options.fields["immutable"].bool_value


def check_immutable(noun: str, id_: str, old: Struct, new: Struct | None) -> None:
    """Raise PermissionDenied for a change (new None: removal) of what is immutable; it may be made mutable."""
    if is_immutable(old) and (new is None or is_immutable(new)):
        verb = "delete" if new is None else "update"
        raise PermissionDenied(
            f"Cannot {verb} resource {id_}: the {noun} is immutable. Set its option immutable to false first.",
            reason="RESOURCE_IMMUTABLE",
        )
