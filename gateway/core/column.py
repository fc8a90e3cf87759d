"""One attribute of a table, compiled for its message."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from gateway.core import microversion
from gateway.core.codec import Codec, JsonValue, List, Map, Text, Timestamp
from gateway.core.fault import Invalid

if TYPE_CHECKING:
    from gateway.core.http import Request

MISSING: Any = object()
Compute = Callable[[Any, "Request"], JsonValue]


@dataclasses.dataclass(frozen=True)
class Field:
    """One public attribute and the dotted path of its message field.

    write: "create", "update" or both. const: what answers always show, input is not stored. compute: the
    answer's value from (message, request), where a path and a codec cannot say it. default: JSON value used
    when a create leaves it out. visible_to: roles, or policy names that the service reports among the roles;
    one suffices. detail_only: left out of the brief list. read=False: input only. aliases: further names of
    the same attribute, read and written alike.
    """

    public: str
    path: str = ""
    _: dataclasses.KW_ONLY
    write: str = ""
    required: bool = False
    codec: Codec | type[Codec] = dataclasses.field(default_factory=Text)
    filter: bool = False
    sort: bool = False
    visible_to: str = ""
    since: str = ""
    until: str = ""
    const: JsonValue = MISSING
    compute: Compute | None = None
    default: JsonValue = MISSING
    detail_only: bool = False
    read: bool = True
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.public, *self.aliases)


class Column:
    """A Field compiled for its message."""

    def __init__(self, field: Field, message: type[Message]) -> None:
        self.field = field
        self.codec: Codec = field.codec() if isinstance(field.codec, type) else field.codec
        self.versions = microversion.Range(field.since, field.until)
        self.roles = frozenset(field.visible_to.split())
        self.get: Callable[[Any], JsonValue] | None = None  # None: attrgetter(path), then codec unless plain
        self.set: Callable[[Any, Any], None] = _ignore
        if field.path:
            self._compile(message)
        elif field.const is MISSING and field.compute is None and field.read:
            raise ValueError(f"{field.public}: needs a path, a const, a compute, or read=False")

    def _compile(self, message: type[Message]) -> None:
        parents, leaf, descriptor = resolve(message, self.field.path)
        parent = attrgetter(".".join(parents)) if parents else _itself
        if is_map(descriptor):
            if not isinstance(self.codec, Map) and type(self.codec) is Text:
                self.codec = Map()
            self.set = _map_setter(parent, leaf)
        elif descriptor.is_repeated:
            if not isinstance(self.codec, List):
                self.codec = List(self.codec)
            self.set = _list_setter(parent, leaf)
        elif descriptor.message_type is not None:
            self.set = _message_setter(parent, leaf)
        else:
            self.set = lambda root, value: setattr(parent(root), leaf, value)
        if descriptor.has_presence and not isinstance(self.codec, Timestamp):  # it knows the unset time
            self.get = _presence_getter(parent, leaf, self.codec, descriptor.message_type is not None)
        fill = self.set
        self.set = lambda root, value: parent(root).ClearField(leaf) if value is None else fill(root, value)

    def value(self, value: JsonValue, name: str) -> Any:
        """The field's value of a JSON value; None: unset it. Raises Invalid."""
        if value is not None:
            return self.codec.from_json(value, name)
        if not self.codec.nullable:
            raise Invalid(f"'{name}' must not be null.", field=name)
        return None

    def store(self, message: Message, value: JsonValue, name: str) -> None:
        """Set the message's field from a JSON value. Raises Invalid."""
        inner = self.value(value, name)
        try:
            self.set(message, inner)
        except (TypeError, ValueError) as error:  # what only protobuf knows: ranges, encodings
            raise Invalid(f"'{name}' has a value that is not allowed.", field=name) from error

    def fill(self, message: Message, name: str) -> None:
        """Give a column that the caller left out its default, or refuse."""
        if self.field.default is not MISSING:
            self.store(message, self.field.default, name)
        elif self.field.required:
            raise Invalid(f"'{name}' is required.", field=name, reason="MISSING_ATTRIBUTE")


def resolve(message: type[Message], path: str) -> tuple[list[str], str, Any]:
    """The parents' names, the leaf's name and the leaf's descriptor."""
    *parents, leaf = path.split(".")
    descriptor: Any = message.DESCRIPTOR
    for name in parents:
        inner = descriptor.fields_by_name[name].message_type
        if inner is None:
            raise ValueError(f"{path}: {name} is not a message")
        descriptor = inner
    return parents, leaf, descriptor.fields_by_name[leaf]


def is_map(descriptor: Any) -> bool:
    return bool(descriptor.message_type and descriptor.message_type.GetOptions().map_entry)


def _itself(root: Any) -> Any:
    return root


def _ignore(root: Any, value: Any) -> None:
    """Attributes without a field are checked and then dropped."""


def _presence_getter(
    parent: Callable[[Any], Any], leaf: str, codec: Codec, is_message: bool
) -> Callable[[Any], JsonValue]:
    """Unset is null, except for submessages whose codec is not nullable; a set 0 or "" is not."""

    def get(root: Any) -> JsonValue:
        owner = parent(root)
        if owner.HasField(leaf) or (is_message and not codec.nullable):
            value = getattr(owner, leaf)
            shown = codec.to_json(value)
            return value if shown is None and not is_message else shown
        return None

    return get


def _map_setter(parent: Callable[[Any], Any], leaf: str) -> Callable[[Any, Any], None]:
    def fill(root: Any, value: Mapping[str, str]) -> None:
        holder = getattr(parent(root), leaf)
        holder.clear()
        holder.update(value)

    return fill


def _list_setter(parent: Callable[[Any], Any], leaf: str) -> Callable[[Any, Any], None]:
    def fill(root: Any, value: list[Any]) -> None:
        holder = getattr(parent(root), leaf)
        del holder[:]
        holder.extend(value)

    return fill


def _message_setter(parent: Callable[[Any], Any], leaf: str) -> Callable[[Any, Any], None]:
    return lambda root, value: getattr(parent(root), leaf).CopyFrom(value)
