"""Lists from memory: filter, sort and page messages as a fabric.type.v1.Query asks."""

import functools
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import re2  # type: ignore[import-untyped]
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from fabric.runtime.errors import InvalidArgument
from fabric.runtime.order import InOrder
from fabric.type.v1.query_pb2 import Filter, Query

M = TypeVar("M", bound=Message)
Getter = Callable[[Any], Any]

_QUIET = re2.Options()
_QUIET.log_errors = False


def select(
    messages: Iterable[M] | InOrder[M],
    query: Query,
    kind: type[M],
    visible: Callable[[M], bool] = lambda _: True,
) -> tuple[list[M], str]:
    """The page that the query asks for, and the marker of the next page ("": this is the last).

    Of what is in order a page is looked for no further than it reaches, unless another order is asked for.
    Raises InvalidArgument for an unknown field, a value that does not fit it, or an unknown marker.
    """
    tests = [visible, *(_test(kind.DESCRIPTOR, part) for part in query.filters)]
    if isinstance(messages, InOrder):
        descending = _descending(query)
        if descending is not None:
            return _page(messages, query, tests, descending=descending)
        messages = messages.walk(None, descending=False)
    found = [message for message in messages if all(test(message) for test in tests)]
    _sort(found, query, kind)
    if query.backwards:
        found.reverse()
    if query.marker:
        found = found[_after(found, query.marker) :]
    return _ended(found, query)


def _page(
    messages: InOrder[M], query: Query, tests: Sequence[Callable[[M], bool]], *, descending: bool
) -> tuple[list[M], str]:
    after = messages.find(query.marker) if query.marker else None
    if query.marker and (after is None or not all(test(after) for test in tests)):
        raise _no_marker(query.marker)
    found = []
    for message in messages.walk(after, descending=descending != query.backwards):
        if all(test(message) for test in tests):
            found.append(message)
            if 0 < query.limit < len(found):
                break
    return _ended(found, query)


def _ended(found: list[M], query: Query) -> tuple[list[M], str]:
    more = 0 < query.limit < len(found)
    if more:
        found = found[: query.limit]
    if query.backwards:
        found.reverse()
    return found, (found[0 if query.backwards else -1].meta.id if more else "")  # type: ignore[attr-defined]


def _descending(query: Query) -> bool | None:
    """Whether the newest come first; None: the order is not that of create times and ids."""
    sorts = [(part.path, part.descending) for part in query.sorts]
    for descending in (False, True):
        if sorts == [("meta.create_time", descending), ("meta.id", descending)]:
            return descending
    return False if sorts in ([], [("meta.create_time", False)]) else None


def getter(descriptor: Any, path: str) -> tuple[Getter, FieldDescriptor | None]:
    """A function that reads the dotted path, and the field it ends at (None: a map's value)."""
    return _getter(descriptor.full_name, descriptor, path)


@functools.lru_cache(maxsize=4096)
def _getter(_: str, descriptor: Descriptor, path: str) -> tuple[Getter, FieldDescriptor | None]:
    names = path.split(".")
    field: FieldDescriptor | None = None
    here: Descriptor | None = descriptor
    for at, name in enumerate(names):
        field = here.fields_by_name.get(name) if here is not None else None
        if field is None:
            raise InvalidArgument(f"{path!r} is not a field of {descriptor.name}.", field=path)
        here = field.message_type
        if here is not None and here.GetOptions().map_entry:
            return _map_getter(names[: at + 1], ".".join(names[at + 1 :])), None
        if here is not None and here.full_name == "google.protobuf.Struct" and at + 1 < len(names):
            return _struct_getter(names[: at + 1], ".".join(names[at + 1 :])), None
        if field.is_repeated and at + 1 < len(names):
            inner, leaf = getter(here, ".".join(names[at + 1 :]))
            return _each_getter(names[: at + 1], inner), leaf

    def get(message: Any) -> Any:
        for name in names:
            message = getattr(message, name)
        return message

    return get, field


def _map_getter(names: list[str], key: str) -> Getter:
    def get(message: Any) -> Any:
        for name in names:
            message = getattr(message, name)
        return message.get(key) if key else message

    return get


def _struct_getter(names: list[str], key: str) -> Getter:
    def get(message: Any) -> Any:
        for name in names:
            message = getattr(message, name)
        return message[key] if key in message else None  # noqa: SIM401  a Struct has no get

    return get


def _each_getter(names: list[str], inner: Getter) -> Getter:
    def get(message: Any) -> list[Any]:
        for name in names:
            message = getattr(message, name)
        return [inner(part) for part in message]

    return get


def _sort(found: list[Any], query: Query, kind: type[Message]) -> None:
    found.sort(key=lambda m: m.meta.id)
    if not query.sorts:
        found.sort(key=lambda m: (m.meta.create_time.seconds, m.meta.create_time.nanos))
    for part in reversed(query.sorts):
        get, field = getter(kind.DESCRIPTOR, part.path)
        plain = _plain(field)
        found.sort(key=lambda m, get=get, plain=plain: _order(plain(get(m))), reverse=part.descending)  # type: ignore[misc]


def _order(value: Any) -> tuple[int, Any]:
    """Values of one field in order, with what is absent first."""
    if value is None:
        return (0, 0)
    if isinstance(value, list):
        return (1, ",".join(map(str, value)))
    return (1, value)


def _after(found: list[Any], marker: str) -> int:
    for at, message in enumerate(found):
        if message.meta.id == marker:
            return at + 1
    raise _no_marker(marker)


def _no_marker(marker: str) -> InvalidArgument:
    return InvalidArgument(f"marker [{marker}] not found", reason="MARKER_NOT_FOUND", field="marker")


def _plain(field: FieldDescriptor | None) -> Callable[[Any], Any]:
    if field is None:
        return lambda value: value
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
        return lambda value: (value.seconds, value.nanos)
    if field.is_repeated:
        return list
    return lambda value: value


def _parse(field: FieldDescriptor | None, text: str) -> Any:
    """A filter's value in the field's type. Raises ValueError."""
    if field is None:
        return text
    if field.enum_type is not None:
        value = field.enum_type.values_by_name.get(text)
        if value is None:
            raise ValueError(text)
        return value.number
    if field.message_type is not None:
        if field.message_type.full_name != "google.protobuf.Timestamp":
            raise ValueError("the field cannot be compared")
        stamp = Timestamp()
        stamp.FromDatetime(datetime.fromisoformat(text))
        return (stamp.seconds, stamp.nanos)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return text
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return float(text)
    return int(text)


def _test(descriptor: Any, part: Filter) -> Callable[[Any], bool]:
    get, field = getter(descriptor, part.path)
    plain = _plain(field)
    is_list = field is not None and (
        field.is_repeated or (part.path.count(".") > 0 and _is_each(descriptor, part.path))
    )
    op = part.op or Filter.OP_IN
    if op in (Filter.OP_IN, Filter.OP_NOT_IN, Filter.OP_ALL, Filter.OP_NOT_ALL):
        wanted = {_value(field, text, part) for text in part.values}
        return _set_test(op, wanted, lambda m: plain(get(m)), is_list)
    if op in (Filter.OP_GT, Filter.OP_GE, Filter.OP_LT, Filter.OP_LE):
        return _order_test(
            op, _value(field, part.values[0] if part.values else "", part), lambda m: plain(get(m))
        )
    match = _text_test(op, part)
    if is_list:
        return lambda m: any(match(str(value)) for value in get(m))
    return lambda m: match(str(get(m) if get(m) is not None else ""))


def _is_each(descriptor: Descriptor, path: str) -> bool:
    here: Descriptor | None = descriptor
    for name in path.split("."):
        field = here.fields_by_name[name] if here is not None and name in here.fields_by_name else None
        if field is None:
            return False
        if field.is_repeated:
            return True
        here = field.message_type
    return False


def _value(field: FieldDescriptor | None, text: str, part: Filter) -> Any:
    try:
        return _parse(field, text)
    except (ValueError, KeyError) as error:
        raise InvalidArgument(f"{text!r} is not a value of {part.path}.", field=part.path) from error


def _set_test(op: int, wanted: set[Any], read: Getter, is_list: bool) -> Callable[[Any], bool]:
    if op == Filter.OP_ALL:
        return lambda m: wanted <= set(read(m))
    if op == Filter.OP_NOT_ALL:
        return lambda m: not wanted <= set(read(m))
    yes = op == Filter.OP_IN
    if is_list:
        return lambda m: (not wanted.isdisjoint(read(m))) is yes
    return lambda m: (read(m) in wanted) is yes


def _order_test(op: int, bound: Any, read: Getter) -> Callable[[Any], bool]:
    if op == Filter.OP_GT:
        return lambda m: read(m) > bound
    if op == Filter.OP_GE:
        return lambda m: read(m) >= bound
    if op == Filter.OP_LT:
        return lambda m: read(m) < bound
    return lambda m: read(m) <= bound


def _text_test(op: int, part: Filter) -> Callable[[str], bool]:
    values = list(part.values)
    if op == Filter.OP_CONTAINS:
        return lambda text: any(value in text for value in values)
    if op == Filter.OP_ICONTAINS:
        lower = [value.lower() for value in values]
        return lambda text: any(value in text.lower() for value in lower)
    if op == Filter.OP_PREFIX:
        return lambda text: text.startswith(tuple(values))
    if op == Filter.OP_SUFFIX:
        return lambda text: text.endswith(tuple(values))
    try:
        patterns = [re2.compile(value, _QUIET) for value in values]  # linear in time, whatever callers send
    except re2.error as error:
        raise InvalidArgument(f"{values[0]!r} is not a regular expression.", field=part.path) from error
    return lambda text: any(pattern.search(text) for pattern in patterns)
