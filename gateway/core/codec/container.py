"""Lists, maps and free-form JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from gateway.core.codec.base import Codec, JsonValue, shown
from gateway.core.codec.scalar import Text
from gateway.core.fault import Invalid

_EXACT = 2.0**53  # up to here a float is one integer
MAX_DEPTH = 20  # of free-form JSON: protobuf parsers stop at 100 levels and each JSON level costs up to three


class List:
    """A JSON array of what item says; nullable: null empties it."""

    plain = False

    def __init__(
        self, item: Codec | None = None, *, max: int = 1000, unique: bool = False, nullable: bool = False
    ) -> None:
        self._item = item or Text()
        self._max, self._unique, self.nullable = max, unique, nullable

    @property
    def schema(self) -> dict[str, JsonValue]:
        kind: JsonValue = ["array", "null"] if self.nullable else "array"
        return {"type": kind, "items": self._item.schema, "maxItems": self._max, "uniqueItems": self._unique}

    def to_json(self, value: Sequence[Any]) -> JsonValue:
        if self._item.plain or not value:
            return list(value)
        item = self._item.to_json
        return [item(entry) for entry in value]

    def from_json(self, value: JsonValue, field: str) -> list[Any]:
        if not isinstance(value, list):
            raise Invalid(f"'{field}' must be a list, not {shown(value)}.", field=field)
        if len(value) > self._max:
            raise Invalid(f"'{field}' has more than {self._max} items.", field=field)
        if any(entry is None for entry in value):
            raise Invalid(f"'{field}' must not hold null.", field=field)
        items = [self._item.from_json(entry, f"{field}[{index}]") for index, entry in enumerate(value)]
        if self._unique and any(item in items[:index] for index, item in enumerate(items)):
            raise Invalid(f"'{field}' has an item more than once.", field=field)
        return items

    def filter_values(self, text: str, field: str) -> list[str]:
        return self._item.filter_values(text, field)


class Map:
    """A JSON object of strings; lenient: numbers and booleans are written as strings."""

    plain = False

    def __init__(
        self,
        *,
        key: Text | None = None,
        value: Text | None = None,
        max: int = 1000,
        nullable: bool = False,
        lenient: bool = False,
    ) -> None:
        self._key, self._value = key or Text(min=1), value or Text()
        self._max, self.nullable, self._lenient = max, nullable, lenient

    @property
    def schema(self) -> dict[str, JsonValue]:
        return {"type": "object", "additionalProperties": self._value.schema, "maxProperties": self._max}

    def to_json(self, value: Mapping[str, str]) -> JsonValue:
        return dict(value)

    def from_json(self, value: JsonValue, field: str) -> dict[str, str]:
        if not isinstance(value, dict):
            raise Invalid(f"'{field}' must be an object, not {shown(value)}.", field=field)
        if len(value) > self._max:
            raise Invalid(f"'{field}' has more than {self._max} items.", field=field)
        result = {}
        for key, entry in value.items():
            if self._lenient and isinstance(entry, int | float):
                entry = str(entry)
            inner = f"{field}.{key[:64]}"
            result[self._key.from_json(key, inner)] = self._value.from_json(entry, inner)
        return result

    def filter_values(self, text: str, field: str) -> list[str]:
        return [text]


class Json:
    """Any JSON object, in a google.protobuf.Struct; whole numbers come back as integers."""

    plain = False

    def __init__(self, *, nullable: bool = False) -> None:
        self.nullable = nullable

    @property
    def schema(self) -> dict[str, JsonValue]:
        return {"type": ["object", "null"] if self.nullable else "object"}

    def to_json(self, value: Struct) -> JsonValue:
        return _integers(MessageToDict(value)) if value.fields else {}

    def from_json(self, value: JsonValue, field: str) -> Struct:
        if not isinstance(value, dict):
            raise Invalid(f"'{field}' must be an object, not {shown(value)}.", field=field)
        struct = Struct()
        for key, entry in value.items():
            struct.fields[key].CopyFrom(to_value(entry, field))
        return struct

    def filter_values(self, text: str, field: str) -> list[str]:
        return [text]


def to_value(value: JsonValue, field: str, depth: int = 0) -> Value:
    """A google.protobuf.Value of any JSON value that is not nested absurdly deep."""
    if depth > MAX_DEPTH:
        raise Invalid(f"'{field}' is nested more than {MAX_DEPTH} levels deep.", field=field)
    match value:
        case None:
            return Value(null_value=0)  # type: ignore[arg-type]
        case bool():
            return Value(bool_value=value)
        case int() | float() if math.isfinite(value):
            return Value(number_value=value)
        case str():
            return Value(string_value=value)
        case list():
            return Value(list_value=ListValue(values=[to_value(entry, field, depth + 1) for entry in value]))
        case dict():
            fields = {key: to_value(entry, field, depth + 1) for key, entry in value.items()}
            return Value(struct_value=Struct(fields=fields))
    raise Invalid(f"'{field}' holds what JSON cannot.", field=field)


def _integers(value: JsonValue) -> JsonValue:
    match value:
        case float() if value.is_integer() and abs(value) <= _EXACT:
            return int(value)
        case dict():
            return {key: _integers(entry) for key, entry in value.items()}
        case list():
            return [_integers(entry) for entry in value]
    return value
