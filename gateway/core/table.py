"""A resource of a public API as a table: which attribute is which message field, who sees it and from when.

Tables are compiled when they are made: rendering a message is one attrgetter call and the few conversions
that its plan names, with no look at descriptors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from gateway.core import microversion
from gateway.core.codec import Json, JsonValue, Text, to_value
from gateway.core.column import MISSING, Column, Compute, Field, is_map, resolve
from gateway.core.fault import Invalid

__all__ = ["MISSING", "Field", "Object", "Table"]

if TYPE_CHECKING:
    from gateway.core.http import Request


class Shape:
    """The columns of one message, and the two directions."""

    def __init__(self, message: type[Message], fields: Sequence[Field]) -> None:
        self.message = message
        self.columns = [Column(field, message) for field in fields]
        self.by_name: dict[str, list[Column]] = {}
        for column in self.columns:
            for name in column.field.names:
                self.by_name.setdefault(name, []).append(column)

    def column(self, name: str, version: microversion.Version) -> Column | None:
        """The attribute of that name at that microversion."""
        return next((column for column in self.by_name.get(name, ()) if version in column.versions), None)


class Plan:
    """How to render one selection of columns; made once for each version, set of roles and detail."""

    def __init__(self, columns: Iterable[Column], names: frozenset[str] = frozenset()) -> None:
        self._paths: list[tuple[str, str]] = []
        self._converts: list[tuple[str, Callable[[Any], JsonValue]]] = []
        self._gets: list[tuple[str, Callable[[Any], JsonValue]]] = []
        self._computes: list[tuple[str, Compute]] = []
        self._consts: dict[str, JsonValue] = {}
        for column in columns:
            for name in column.field.names:
                if column.field.read and (not names or name in names):
                    self._add(name, column)
        self._names = [name for name, _ in self._paths]
        self._get = _tuple_getter([path for _, path in self._paths])

    def _add(self, name: str, column: Column) -> None:
        field = column.field
        if field.compute is not None:
            self._computes.append((name, field.compute))
        elif field.const is not MISSING:
            self._consts[name] = field.const
        elif column.get is not None:
            self._gets.append((name, column.get))
        else:
            self._paths.append((name, field.path))
            if not column.codec.plain:
                self._converts.append((name, column.codec.to_json))

    def render(self, message: Message, request: Request | None) -> dict[str, JsonValue]:
        out: dict[str, JsonValue] = dict(zip(self._names, self._get(message), strict=True))
        for name, convert in self._converts:
            out[name] = convert(out[name])
        for name, get in self._gets:
            out[name] = get(message)
        if self._consts:
            out.update(self._consts)
        for name, compute in self._computes:
            out[name] = compute(message, request)  # type: ignore[arg-type]
        return out


class Object:
    """Codec of a submessage: a JSON object with these fields, which have no since, visible_to or compute."""

    plain = False

    def __init__(self, message: type[Message], fields: Sequence[Field], *, nullable: bool = False) -> None:
        self._shape = Shape(message, fields)
        self._plan = Plan(self._shape.columns)
        self.nullable = nullable

    @property
    def schema(self) -> dict[str, JsonValue]:
        return _schema(self._shape.columns, "create") | (
            {"type": ["object", "null"]} if self.nullable else {}
        )

    def to_json(self, value: Message) -> JsonValue:
        return self._plan.render(value, None)

    def from_json(self, value: JsonValue, field: str) -> Message:
        if not isinstance(value, dict):
            raise Invalid(f"'{field}' must be an object.", field=field)
        message = self._shape.message()
        for name, entry in value.items():
            column = self._shape.column(name, microversion.NONE)
            if column is None or (column.field.path and not column.field.write):
                raise Invalid(f"'{field}' must not have '{name[:64]}'.", field=f"{field}.{name[:64]}")
            column.store(message, entry, f"{field}.{name}")
        for column in self._shape.columns:
            if not any(name in value for name in column.field.names):
                column.fill(message, f"{field}.{column.field.public}")
        return message

    def filter_values(self, text: str, field: str) -> list[str]:
        return [text]


class Table:
    """A resource: its names, its message, its service and its attributes. rpc: as in Create<rpc>.

    extra: path of a map<string, string> or Struct that holds attributes without a field.
    """

    def __init__(
        self,
        singular: str,
        plural: str,
        message: type[Message],
        service: type[Any],
        fields: Sequence[Field],
        *,
        rpc: str = "",
        body_key: str | None = None,
        extra: str | None = None,
    ) -> None:
        self.singular, self.plural = singular, plural
        self.message, self.service = message, service
        self.rpc = rpc or message.DESCRIPTOR.name
        self.body_key = singular if body_key is None else body_key
        self.shape = Shape(message, fields)
        self._extra = _extra(message, extra)
        self._audience = frozenset().union(*(column.roles for column in self.shape.columns))
        self._plans: dict[Any, Plan] = {}

    @cached_property
    def filters(self) -> dict[str, Column]:
        """By query parameter."""
        return {n: c for c in self.shape.columns if c.field.filter for n in c.field.names}

    @cached_property
    def sorts(self) -> dict[str, str]:
        """The message path by sort key."""
        return {n: c.field.path for c in self.shape.columns if c.field.sort for n in c.field.names}

    def plan(self, request: Request, detail: bool = True, fields: Iterable[str] = ()) -> Plan:
        """How to render for this caller; fields: only these attributes, all when empty."""
        roles = request.roles & self._audience
        key = (request.microversion, roles, detail)
        names = frozenset(fields)
        plan = None if names else self._plans.get(key)
        if plan is None:
            columns = [
                column
                for column in self.shape.columns
                if request.microversion in column.versions
                and (detail or not column.field.detail_only)
                and (not column.roles or column.roles & roles)
            ]
            plan = Plan(columns, names)
            if not names:
                self._plans[key] = plan
        return plan

    def render(
        self, message: Message, request: Request, *, detail: bool = True, fields: Sequence[str] = ()
    ) -> dict[str, JsonValue]:
        """The message as the caller may see it."""
        return self.render_list([message], request, detail=detail, fields=fields)[0]

    def render_list(
        self,
        messages: Iterable[Message],
        request: Request,
        *,
        detail: bool = True,
        fields: Sequence[str] = (),
    ) -> list[dict[str, JsonValue]]:
        """As render, for many."""
        render = self.plan(request, detail, fields).render
        items = [render(message, request) for message in messages]
        if self._extra:
            for message, item in zip(messages, items, strict=True):
                for name, value in self._extra.read(message).items():
                    if not fields or name in fields:
                        item.setdefault(name, value)
        return items

    def parse_create(self, body: Mapping[str, JsonValue], request: Request) -> Any:
        """The message that a create's (unwrapped) body describes. Raises Invalid."""
        message = self.message()
        given = self._store(message, body, request, "create")
        for column in self.shape.columns:
            if column not in given and request.microversion in column.versions:
                column.fill(message, column.field.public)
        return message

    def parse_update(self, body: Mapping[str, JsonValue], request: Request) -> tuple[Any, list[str]]:
        """The changed fields and the paths of the update mask. Raises Invalid."""
        message = self.message()
        given = self._store(message, body, request, "update")
        paths = {column.field.path for column in given if column.field.path}
        if self._extra and any(name not in self.shape.by_name for name in body):
            paths.add(self._extra.path)
        return message, sorted(paths)

    def _store(
        self, message: Message, body: Mapping[str, JsonValue], request: Request, operation: str
    ) -> dict[Column, JsonValue]:
        dialect = request.api.dialect
        given: dict[Column, JsonValue] = {}
        unknown = {}
        for name, value in body.items():
            column = self.shape.column(name, request.microversion)
            if column is None:
                unknown[name] = value
            elif operation not in column.field.write:
                dialect.not_writable(self, name, operation)
            elif column in given and given[column] != value:
                raise Invalid(f"'{name}' contradicts '{column.field.public}'.", field=name)
            else:
                given[column] = value
                column.store(message, value, name)
        if unknown and self._extra:
            self._extra.write(message, unknown)
        elif unknown:
            dialect.unknown_attributes(self, list(unknown), operation)
        return given

    def schema(self, operation: str = "create") -> dict[str, JsonValue]:
        """JSON Schema of the unwrapped body, for fuzzing and documents."""
        return _schema(self.shape.columns, operation) | {"additionalProperties": self._extra is not None}


_TEXT, _STRUCT = Text(65535), Json()


class _Extra:
    """Attributes without a field, in a map<string, string> or a Struct."""

    def __init__(self, path: str, is_map: bool) -> None:
        self.path = path
        self._get = attrgetter(path)
        self._is_map = is_map

    def read(self, message: Message) -> Mapping[str, JsonValue]:
        holder = self._get(message)
        return holder if self._is_map else _STRUCT.to_json(holder)  # type: ignore[no-any-return]

    def write(self, message: Message, values: Mapping[str, JsonValue]) -> None:
        holder = self._get(message)
        for name, value in values.items():
            if len(name) > 255:
                raise Invalid("An attribute's name is longer than 255 characters.", field=name[:64])
            if self._is_map:
                holder[name] = _TEXT.from_json(value, name)
            else:
                holder.fields[name].CopyFrom(to_value(value, name))


def _extra(message: type[Message], path: str | None) -> _Extra | None:
    return _Extra(path, is_map(resolve(message, path)[2])) if path else None


def _schema(columns: Iterable[Column], operation: str) -> dict[str, JsonValue]:
    written = [column for column in columns if operation in column.field.write]
    return {
        "type": "object",
        "properties": {name: column.codec.schema for column in written for name in column.field.names},
        "required": [c.field.public for c in written if c.field.required and operation == "create"],
        "additionalProperties": False,
    }


def _tuple_getter(paths: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(paths) > 1:
        return attrgetter(*paths)
    if paths:
        get = attrgetter(paths[0])
        return lambda message: (get(message),)
    return lambda message: ()
