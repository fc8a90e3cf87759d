"""Any JSON value becomes a field's value or Invalid; what is accepted comes back the same."""

from typing import Any

import orjson
import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage
from hypothesis import given
from hypothesis import strategies as st

from fabric.network.v1 import network_pb2 as pb
from gateway.core import codec
from gateway.core.fault import Invalid

State = pb.NetworkStatus.State
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats().map(lambda number: number + 0.0)
    | st.text(),  # no -0.0
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
CODECS: list[codec.Codec] = [
    codec.Text(),
    codec.Text(10, min=2, pattern="[a-z]+", strip=True),
    codec.Integer(lenient=True),
    codec.Scaled(1024),
    codec.GiB(),
    codec.Number(),
    codec.Bool(lenient=True),
    codec.Enum(["a", "b"]),
    codec.Enum(State, lower=True),
    codec.Timestamp(),
    codec.Uuid(),
    codec.Cidr(),
    codec.IpAddress(),
    codec.MacAddress(),
    codec.List(codec.IpAddress(), max=3, unique=True),
    codec.Map(lenient=True),
    codec.Json(),
    codec.Base64(),
]


def name(of: codec.Codec) -> str:
    return type(of).__name__


@pytest.mark.parametrize("of", CODECS, ids=name)
@given(value=JSON.filter(lambda value: value is not None))
def test_any_json_is_a_value_or_invalid(of: codec.Codec, value: Any) -> None:
    try:
        inner = of.from_json(value, "x")
    except Invalid as error:
        complaint = error.message
    else:
        again = of.from_json(of.to_json(inner) if not of.plain else inner, "x")
        assert again == inner
        return
    assert "x" in complaint
    assert len(complaint) < 300


@pytest.mark.parametrize("of", CODECS, ids=name)
@given(text=st.text())
def test_any_text_is_a_filter_or_invalid(of: codec.Codec, text: str) -> None:
    try:
        forms = of.filter_values(text, "x")
    except Invalid:
        return
    assert all(isinstance(form, str) for form in forms)


@pytest.mark.parametrize(
    ("of", "given_value", "inner", "shown"),
    [
        (codec.GiB(), 2, 2 * 2**30, 2),
        (codec.Cidr(), "10.0.0.7/24", "10.0.0.0/24", "10.0.0.0/24"),
        (codec.IpAddress(), "2001:DB8::0:1", "2001:db8::1", "2001:db8::1"),
        (codec.MacAddress(), "FA-16-3E-00-00-01", "fa:16:3e:00:00:01", "fa:16:3e:00:00:01"),
        (codec.Enum(State, lower=True), "active", State.STATE_ACTIVE, "active"),
        (codec.Enum(State, names={"STATE_BUILDING": "BUILD"}), "BUILD", State.STATE_BUILDING, "BUILD"),
        (codec.Bool(lenient=True), "True", True, True),
        (codec.Integer(lenient=True), "42", 42, 42),
        (codec.Base64(), "aGk=", b"hi", "aGk="),
    ],
)
def test_forms(of: codec.Codec, given_value: Any, inner: Any, shown: Any) -> None:
    assert of.from_json(given_value, "x") == inner
    assert (inner if of.plain else of.to_json(inner)) == shown


def test_several_states_may_share_a_word() -> None:
    of = codec.Enum(State, names={"STATE_BUILDING": "DOWN"}, unset="DOWN")
    assert of.to_json(State.STATE_UNSPECIFIED) == "DOWN"
    assert set(of.filter_values("DOWN", "x")) == {"STATE_UNSPECIFIED", "STATE_DOWN", "STATE_BUILDING"}
    assert of.from_json("DOWN", "x") == State.STATE_DOWN


@pytest.mark.parametrize(
    ("fmt", "shown"),
    [
        ("iso_z", "2026-01-02T03:04:05Z"),
        ("neutron", "2026-01-02T03:04:05Z"),
        ("micro", "2026-01-02T03:04:05.000006Z"),
        ("nova", "2026-01-02T03:04:05.000006"),
    ],
)
def test_timestamps(fmt: str, shown: str) -> None:
    of = codec.Timestamp(fmt)
    instant = of.from_json("2026-01-02T05:04:05.000006+02:00", "x")
    assert of.to_json(instant) == shown
    assert of.to_json(TimestampMessage()) is None
    assert of.filter_values("2026-01-02T03:04:05Z", "x") == ["2026-01-02T03:04:05Z"]


def test_a_struct_keeps_integers_and_refuses_depth() -> None:
    of = codec.Json()
    value = {"a": 1, "b": [1.5, None, {"c": True}], "d": {}, "e": 1e30}
    assert of.to_json(of.from_json(value, "x")) == value
    assert orjson.dumps(of.to_json(of.from_json(value, "x")))
    assert of.to_json(Struct()) == {}
    deep: Any = {}
    for _ in range(50):
        deep = {"a": deep}
    with pytest.raises(Invalid):
        of.from_json(deep, "x")


def test_nullable_text_and_numbers_are_null_when_unset() -> None:
    assert codec.Text(nullable=True).to_json("") is None
    assert codec.Integer(nullable=True).to_json(0) is None
    assert codec.Enum(["a"], nullable=True).to_json("") is None
