"""Protobuf JSON with proto field names, as google.protobuf.json_format has it, worked out once a message type.

A cloud reads and writes it with every change, and json_format looks at each field anew each time.
"""

import base64
import functools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf import json_format, message_factory, timestamp_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from fabric.runtime import newer

M = TypeVar("M", bound=Message)
Change = Callable[[Any], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = len("1970-01-01T00:00:00.000000Z")
_PLAIN = (
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_UINT32,
)
_LONG = (FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64)
_UNKNOWN = "", lambda _: None  # the field that a newer release has
_FOREIGN = "google.protobuf."  # they have JSON forms of their own
# what reading other JSON than a message's comes to
_UNFIT = (TypeError, AttributeError, OverflowError, RecursionError, json_format.ParseError)


def to_dict(message: Message) -> dict[str, Any]:
    """What is set, as json_format.MessageToDict with preserving_proto_field_name."""
    written: dict[str, Any] = _writer(message.DESCRIPTOR)(message)
    return written


def from_dict(raw: Mapping[str, Any], kind: type[M]) -> M:
    """The message; fields and enum values that are not known are kept for to_dict. Raises ValueError."""
    try:
        read = _reader(kind.DESCRIPTOR)(raw)
        return read if isinstance(read, kind) else kind(**read)
    except _UNFIT as error:
        raise ValueError(f"not a {kind.DESCRIPTOR.name}: {error}") from error


# -- reading: JSON becomes what a message's constructor takes


@functools.cache
def _reader(kind: Descriptor) -> Change:
    if kind.full_name == timestamp_pb2.Timestamp.DESCRIPTOR.full_name:
        return _timestamp
    if kind.full_name.startswith(_FOREIGN):
        foreign = message_factory.GetMessageClass(kind)
        return lambda raw: json_format.ParseDict(raw, foreign(), ignore_unknown_fields=True)
    known: dict[str, tuple[str, Change | None]] = {}

    def read(raw: Mapping[str, Any]) -> dict[str, Any] | Message:
        if not known:  # not before: a message may hold others of its kind
            for field in kind.fields:
                known[field.name] = known[field.json_name] = field.name, _field_reader(field)
        found, unknown = {}, {}
        for name, said in raw.items():
            if said is None:
                continue
            own, change = known.get(name, _UNKNOWN)
            value = said if change is None else change(said)
            if value is not None:
                found[own] = value
            else:
                unknown[name] = said
        if not unknown:
            return found
        message = message_factory.GetMessageClass(kind)(**found)
        newer.keep(message, unknown)
        return message

    return read


def _field_reader(field: FieldDescriptor) -> Change | None:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        key, value = (kind.fields_by_name[name] for name in ("key", "value"))
        as_key, as_value = _key_reader(key), _one_reader(value) or _same
        return lambda raw: {as_key(k): read for k, v in raw.items() if (read := as_value(v)) is not None}
    change = _one_reader(field)
    if not field.is_repeated or change is None:
        return change
    return lambda raw: [read for one in raw if (read := change(one)) is not None]


def _one_reader(field: FieldDescriptor) -> Change | None:
    if field.type in _PLAIN:
        return None
    if field.type in _LONG:
        return int
    if field.enum_type is not None:
        return functools.partial(_enum, field.enum_type)
    if field.message_type is not None:
        return _reader(field.message_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64decode
    return float


def _key_reader(field: FieldDescriptor) -> Change:
    if field.type == FieldDescriptor.TYPE_STRING:
        return _same
    return (lambda text: text == "true") if field.type == FieldDescriptor.TYPE_BOOL else int


def _enum(kind: EnumDescriptor, value: str | int) -> int | None:
    if isinstance(value, int):
        return value
    known = kind.values_by_name.get(value)
    return known.number if known is not None else None


def _timestamp(text: str) -> dict[str, int] | timestamp_pb2.Timestamp:
    if text[-1:] != "Z" or len(text) > _MICROSECONDS:
        read = timestamp_pb2.Timestamp()
        read.FromJsonString(text)
        return read
    since = datetime.fromisoformat(text) - _EPOCH
    return {"seconds": since.days * 86400 + since.seconds, "nanos": since.microseconds * 1000}


def _same(value: Any) -> Any:
    return value


# -- writing


@functools.cache
def _writer(kind: Descriptor) -> Change:
    if kind.full_name == timestamp_pb2.Timestamp.DESCRIPTOR.full_name:
        return timestamp_pb2.Timestamp.ToJsonString
    if kind.full_name.startswith(_FOREIGN):
        return json_format.MessageToDict
    known: list[tuple[str, bool, Change | None]] = []

    def write(message: Message) -> dict[str, Any]:
        if not known:
            known.extend((field.name, field.has_presence, _field_writer(field)) for field in kind.fields)
        written = {}
        for name, has_presence, change in known:
            if has_presence and not message.HasField(name):
                continue
            value = getattr(message, name)
            if has_presence or value:
                written[name] = value if change is None else change(value)
        if newer.KINDS and kind.full_name in newer.KINDS:
            return newer.kept(message) | written
        return written

    return write


def _field_writer(field: FieldDescriptor) -> Change | None:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        key, value = (kind.fields_by_name[name] for name in ("key", "value"))
        as_key, as_value = _key_writer(key), _one_writer(value) or _same
        return lambda found: {as_key(k): as_value(v) for k, v in found.items()}
    change = _one_writer(field)
    if not field.is_repeated:
        return change
    return list if change is None else lambda found: [change(one) for one in found]


def _one_writer(field: FieldDescriptor) -> Change | None:
    if field.type in _PLAIN or field.type == FieldDescriptor.TYPE_DOUBLE:
        return None
    if field.type in _LONG:
        return str
    if field.enum_type is not None:
        names = {value.number: value.name for value in reversed(field.enum_type.values)}
        return lambda number: names.get(number, number)
    if field.message_type is not None:
        return _writer(field.message_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda data: base64.b64encode(data).decode()
    raise NotImplementedError(f"{field.full_name}: a field of this type has no JSON form here")


def _key_writer(field: FieldDescriptor) -> Change:
    return (lambda flag: "true" if flag else "false") if field.type == FieldDescriptor.TYPE_BOOL else str
