"""The same JSON as google.protobuf.json_format, of every kind of message that rests in etcd."""

from typing import Any

import pytest
from google.protobuf import json_format, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.compute.collection import COLLECTIONS as COMPUTE
from fabric.compute.v1.server_pb2 import Server
from fabric.identity.collection import COLLECTIONS as IDENTITY
from fabric.image.collection import COLLECTIONS as IMAGE
from fabric.network.collection import COLLECTIONS as NETWORK
from fabric.runtime.json_form import from_dict, to_dict
from fabric.type.v1.node_pb2 import Life
from fabric.type.v1.quota_pb2 import Quota

COLLECTIONS: list[Any] = [*COMPUTE, *IDENTITY, *IMAGE, *NETWORK]
KINDS: list[Any] = sorted(
    {
        kind
        for collection in COLLECTIONS
        for kind in (collection.message, collection.want, collection.status)
        if kind is not None
    }
    | {Life, Quota},
    key=lambda kind: kind.DESCRIPTOR.full_name,
)
_INTEGERS = {
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
}


def one(draw: st.DrawFn, field: FieldDescriptor, depth: int) -> Any:
    if field.message_type is not None:
        return a_message(draw, field.message_type, depth)
    if field.enum_type is not None:
        return draw(st.sampled_from([value.number for value in field.enum_type.values]))
    if field.type in _INTEGERS:
        return draw(_INTEGERS[field.type])
    if field.type == FieldDescriptor.TYPE_BOOL:
        return draw(st.booleans())
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return draw(st.floats(allow_nan=False, allow_infinity=False)) + 0.0  # no negative zero
    return draw(st.binary(max_size=4) if field.type == FieldDescriptor.TYPE_BYTES else st.text(max_size=4))


def a_message(draw: st.DrawFn, kind: Descriptor, depth: int) -> Any:
    if kind.full_name == "google.protobuf.Timestamp":
        seconds, nanos = draw(st.integers(-(10**9), 10**10)), draw(st.sampled_from([0, 5, 10**6, 123456000]))
        return timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)
    if kind.full_name == "google.protobuf.Struct":
        found = Struct()
        found.update(draw(st.dictionaries(st.text(max_size=3), st.sampled_from([1, "x", None, [True], {}]))))
        return found
    values: dict[str, Any] = {}
    for field in kind.fields:
        if draw(st.booleans()) or (field.message_type is not None and depth == 0):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
            values[field.name] = {one(draw, key, 0): one(draw, value, depth - 1)}
        elif field.is_repeated:
            values[field.name] = [one(draw, field, depth - 1) for _ in range(draw(st.integers(0, 2)))]
        else:
            values[field.name] = one(draw, field, depth - 1)
    return GetMessageClass(kind)(**values)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    message: Message = a_message(draw, draw(st.sampled_from(KINDS)).DESCRIPTOR, 3)
    return message


@settings(max_examples=50)
@given(messages())
def test_it_says_what_json_format_says_and_reads_it_back(message: Message) -> None:
    said = json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert to_dict(message) == said
    assert from_dict(said, type(message)) == message
    assert from_dict(json_format.MessageToDict(message), type(message)) == message  # camelCase is read too


@pytest.mark.parametrize(
    "raw",
    [
        [],
        "text",
        None,
        {"meta": {"name": 7}},
        {"meta": []},
        {"meta": {"create_time": "yesterday"}},
        {"meta": {"create_time": 5}},
        {"meta": {"generation": float("inf")}},
    ],
)
def test_what_is_no_message_is_an_error(raw: Any) -> None:
    with pytest.raises(ValueError, match=r"not a Server|timestamp"):
        from_dict(raw, Server)
