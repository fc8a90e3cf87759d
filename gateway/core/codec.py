"""How one attribute's JSON value becomes a protobuf value and back.

from_json gives a value that the field can hold, or raises Invalid which names the field; it never sees null
(the table turns null into an unset field where the codec is nullable). filter_values gives the JSON forms of
Filter.values for the text of a query parameter.
"""

import base64
import binascii
import ipaddress
import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, Protocol

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage

from gateway.core.fault import Invalid

JsonValue = Any  # what orjson reads and writes
MAX_DEPTH = 20  # of free-form JSON: protobuf parsers stop at 100 levels and each JSON level costs up to three


class Codec(Protocol):
    """plain: to_json would change nothing. nullable: null is the unset field, and the unset field is null."""

    plain: bool
    nullable: bool

    @property
    def schema(self) -> dict[str, JsonValue]: ...
    def to_json(self, value: Any) -> JsonValue: ...
    def from_json(self, value: JsonValue, field: str) -> Any: ...
    def filter_values(self, text: str, field: str) -> list[str]: ...


class Scalar:
    """What codecs of single values share."""

    plain: bool = False
    nullable: bool = False
    json_type: ClassVar[str] = "string"

    def __init__(self, *, nullable: bool = False) -> None:
        self.nullable = nullable

    @property
    def schema(self) -> dict[str, JsonValue]:
        return {"type": [self.json_type, "null"] if self.nullable else self.json_type} | self._facets()

    def _facets(self) -> dict[str, JsonValue]:
        return {}

    def to_json(self, value: Any) -> JsonValue:
        return value

    def from_json(self, value: JsonValue, field: str) -> Any:
        raise NotImplementedError

    def filter_value(self, text: str, field: str) -> str:
        return text

    def filter_values(self, text: str, field: str) -> list[str]:
        return [self.filter_value(text, field)]


class Text(Scalar):
    """A string of min to max characters. nullable: the empty string is null in answers."""

    def __init__(
        self,
        max: int = 255,
        *,
        min: int = 0,
        pattern: str | None = None,
        nullable: bool = False,
        strip: bool = False,
    ) -> None:
        super().__init__(nullable=nullable)
        self.plain = not nullable
        self._max, self._min, self._strip = max, min, strip
        self._pattern = pattern and re.compile(pattern)

    def _facets(self) -> dict[str, JsonValue]:
        facets: dict[str, JsonValue] = {"maxLength": self._max}
        if self._min:
            facets["minLength"] = self._min
        return facets | ({"pattern": self._pattern.pattern} if self._pattern else {})

    def to_json(self, value: str) -> JsonValue:
        return value or None

    def from_json(self, value: JsonValue, field: str) -> str:
        if not isinstance(value, str):
            raise Invalid(f"'{field}' must be a string.", field=field)
        if self._strip:
            value = value.strip()
        text: str = value
        if len(text) > self._max:
            raise Invalid(f"'{field}' is longer than {self._max} characters.", field=field)
        if len(text) < self._min:
            raise Invalid(f"'{field}' is shorter than {self._min} characters.", field=field)
        if self._pattern and not self._pattern.fullmatch(text):
            raise Invalid(f"'{field}' has a form that is not allowed: {_shown(text)}.", field=field)
        return text


class Integer(Scalar):
    """A whole number. lenient: also as a string of digits. nullable: 0 is null in answers."""

    json_type = "integer"

    def __init__(
        self, min: int = -(2**31), max: int = 2**31 - 1, *, nullable: bool = False, lenient: bool = False
    ) -> None:
        super().__init__(nullable=nullable)
        self.plain = not nullable
        self._min, self._max, self._lenient = min, max, lenient

    def _facets(self) -> dict[str, JsonValue]:
        return {"minimum": self._min, "maximum": self._max}

    def to_json(self, value: int) -> JsonValue:
        return value or None

    def from_json(self, value: JsonValue, field: str) -> int:
        if self._lenient and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
            value = int(value)
        if type(value) is not int:
            raise Invalid(f"'{field}' must be an integer, not {_shown(value)}.", field=field)
        if not self._min <= value <= self._max:
            raise Invalid(f"'{field}' must be from {self._min} to {self._max}, not {value}.", field=field)
        return value

    def filter_value(self, text: str, field: str) -> str:
        if not re.fullmatch(r"-?[0-9]{1,19}", text):
            raise Invalid(f"'{field}' must be an integer, not {_shown(text)}.", field=field)
        return str(int(text))


class Scaled(Integer):
    """A whole number of units in the API, of single bytes (or the like) in the message."""

    def __init__(self, unit: int, *, min: int = 0, max: int = 2**31 - 1, lenient: bool = False) -> None:
        super().__init__(min, max, lenient=lenient)
        self.plain = False
        self._unit = unit

    def to_json(self, value: int) -> JsonValue:
        return -(-value // self._unit)

    def from_json(self, value: JsonValue, field: str) -> int:
        return super().from_json(value, field) * self._unit

    def filter_value(self, text: str, field: str) -> str:
        return str(int(super().filter_value(text, field)) * self._unit)


class GiB(Scaled):
    """Bytes inside, GiB outside."""

    def __init__(self, *, min: int = 1, max: int = 2**31 - 1, lenient: bool = False) -> None:
        super().__init__(2**30, min=min, max=max, lenient=lenient)


class Number(Scalar):
    """A number with a fraction."""

    plain = True
    json_type = "number"

    def from_json(self, value: JsonValue, field: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Invalid(f"'{field}' must be a number, not {_shown(value)}.", field=field)
        return float(value)


_TRUE, _FALSE = {"true", "1", "t", "on", "y", "yes"}, {"false", "0", "f", "off", "n", "no"}


class Bool(Scalar):
    """lenient: also 0, 1 and the words that oslo.utils takes for a boolean."""

    plain = True
    json_type = "boolean"

    def __init__(self, *, nullable: bool = False, lenient: bool = False) -> None:
        super().__init__(nullable=nullable)
        self._lenient = lenient

    def from_json(self, value: JsonValue, field: str) -> bool:
        if isinstance(value, bool):
            return value
        if self._lenient and isinstance(value, str | int):
            word = str(value).strip().lower()
            if word in _TRUE or word in _FALSE:
                return word in _TRUE
        raise Invalid(f"'{field}' must be a boolean, not {_shown(value)}.", field=field)

    def filter_value(self, text: str, field: str) -> str:
        word = text.strip().lower()
        if word not in _TRUE and word not in _FALSE:
            raise Invalid(f"'{field}' must be a boolean, not {_shown(text)}.", field=field)
        return "true" if word in _TRUE else "false"


class Enum(Scalar):
    """One of a few words: a list of them (a string field) or a protobuf enum.

    Of a protobuf enum the words are its names without their common prefix (that of ..._UNSPECIFIED); lower
    turns them to lower case, names maps some of the protobuf names to other words (several may share one),
    and unset is what UNSPECIFIED is in answers.
    """

    def __init__(
        self,
        values: type[Any] | Iterable[str],  # of a message: pb.PortStatus.State
        *,
        lower: bool = False,
        names: Mapping[str, str] | None = None,
        unset: str | None = None,
        nullable: bool = False,
    ) -> None:
        super().__init__(nullable=nullable)
        self._unset = unset
        self._value: dict[str, Any] = {}  # word -> field value
        self._word: dict[Any, str | None] = {}  # field value -> word
        self._filter: dict[str, list[str]] = {}  # word -> names in Filter.values
        if hasattr(values, "DESCRIPTOR"):
            self._read_enum(values, lower, names or {})
        else:
            self._value = {word: word for word in values}
            self._word = {"": unset, **self._value} if unset or nullable else {**self._value}
            self._filter = {word: [word] for word in self._value}

    def _read_enum(self, enum: Any, lower: bool, names: Mapping[str, str]) -> None:
        zero = enum.Name(0)
        prefix = zero.removesuffix("UNSPECIFIED") if zero.endswith("UNSPECIFIED") else ""
        for name, number in enum.items():
            if number == 0 and prefix:
                if self._unset is not None:
                    self._filter.setdefault(self._unset, []).append(name)
                continue
            bare = name.removeprefix(prefix)
            word = names.get(name, bare.lower() if lower else bare)
            self._value.setdefault(word, number)
            self._word[number] = word
            self._filter.setdefault(word, []).append(name)

    def _facets(self) -> dict[str, JsonValue]:
        return {"enum": [*self._value, *([None] if self.nullable else [])]}

    def to_json(self, value: Any) -> JsonValue:
        return self._word.get(value, self._unset)

    def from_json(self, value: JsonValue, field: str) -> Any:
        found = self._value.get(value) if isinstance(value, str) else None
        if found is None:
            words = ", ".join(self._value)
            raise Invalid(f"'{field}' must be one of {words}, not {_shown(value)}.", field=field)
        return found

    def filter_values(self, text: str, field: str) -> list[str]:
        return self._filter.get(text, [text])  # an unknown word matches nothing


_FORMATS = {"iso_z": "Z", "neutron": "Z", "micro": ".%06dZ", "nova": ".%06d"}


class Timestamp(Scalar):
    """iso_z and neutron: 2026-01-01T00:00:00Z; micro: ...00.000000Z; nova: ...00.000000. Unset is null."""

    def __init__(self, fmt: str = "iso_z", *, nullable: bool = True) -> None:
        super().__init__(nullable=nullable)
        self._tail = _FORMATS[fmt]
        self._fraction = "%" in self._tail

    def _facets(self) -> dict[str, JsonValue]:
        return {"format": "date-time"}

    def to_json(self, value: TimestampMessage) -> JsonValue:
        seconds, nanos = value.seconds, value.nanos
        if not seconds and not nanos:
            return None
        return _date(seconds) + (self._tail % (nanos // 1000) if self._fraction else self._tail)

    def from_json(self, value: JsonValue, field: str) -> TimestampMessage:
        message = TimestampMessage()
        try:
            instant = datetime.fromisoformat(value.strip())
            message.FromDatetime(instant.astimezone(UTC) if instant.tzinfo else instant)
        except (ValueError, OverflowError, AttributeError) as error:
            raise Invalid(f"'{field}' must be an ISO 8601 time, not {_shown(value)}.", field=field) from error
        return message

    def filter_value(self, text: str, field: str) -> str:
        return str(
            self.from_json(text.replace(" ", "+"), field).ToJsonString()
        )  # "+" of an offset, unescaped


@lru_cache(maxsize=8192)
def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class _Checked(Text):
    """Text of a form that a function knows: it gives the canonical form or raises ValueError."""

    form: ClassVar[str]

    def __init__(self, check: Callable[[str], str], *, nullable: bool = False) -> None:
        super().__init__(nullable=nullable)
        self._check = check

    def _facets(self) -> dict[str, JsonValue]:
        return {"format": self.form}

    def from_json(self, value: JsonValue, field: str) -> str:
        try:
            return self._check(super().from_json(value, field))
        except ValueError as error:
            raise Invalid(f"'{field}' must be {self.form}, not {_shown(value)}.", field=field) from error

    def filter_value(self, text: str, field: str) -> str:
        try:
            return self._check(text)
        except ValueError:
            return text  # matches nothing


class Uuid(_Checked):
    """A UUID with or without dashes, kept as it was written but in lower case."""

    form = "a UUID"

    def __init__(self, *, nullable: bool = False) -> None:
        super().__init__(_uuid, nullable=nullable)


class Cidr(_Checked):
    """An IP network; without strict, host bits are cleared."""

    form = "an IP network in CIDR notation"

    def __init__(self, *, strict: bool = False, nullable: bool = False) -> None:
        super().__init__(lambda text: str(ipaddress.ip_network(text, strict=strict)), nullable=nullable)


class IpAddress(_Checked):
    """An IPv4 or IPv6 address in canonical form, without a scope."""

    form = "an IP address"

    def __init__(self, *, nullable: bool = False) -> None:
        super().__init__(_ip_address, nullable=nullable)


class MacAddress(_Checked):
    """A MAC address, lower case with colons inside, colons or dashes outside."""

    form = "a MAC address"

    def __init__(self, *, nullable: bool = False) -> None:
        super().__init__(_mac_address, nullable=nullable)


def _uuid(text: str) -> str:
    uuid.UUID(text)
    if len(text) not in (32, 36):
        raise ValueError(text)
    return text.lower()


def _ip_address(text: str) -> str:
    if "%" in text:
        raise ValueError(text)
    return str(ipaddress.ip_address(text))


def _mac_address(text: str) -> str:
    mac = text.lower().replace("-", ":")
    if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac):
        raise ValueError(text)
    return mac


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
        if self._item.plain:
            return list(value)
        item = self._item.to_json
        return [item(entry) for entry in value]

    def from_json(self, value: JsonValue, field: str) -> list[Any]:
        if not isinstance(value, list):
            raise Invalid(f"'{field}' must be a list, not {_shown(value)}.", field=field)
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
            raise Invalid(f"'{field}' must be an object, not {_shown(value)}.", field=field)
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
            raise Invalid(f"'{field}' must be an object, not {_shown(value)}.", field=field)
        struct = Struct()
        for key, entry in value.items():
            struct.fields[key].CopyFrom(to_value(entry, field))
        return struct

    def filter_values(self, text: str, field: str) -> list[str]:
        return [text]


Json_ = Json


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
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _integers(entry) for key, entry in value.items()}
        case list():
            return [_integers(entry) for entry in value]
    return value


class Base64(Text):
    """Bytes, as base64 text; max counts the text's characters."""

    def __init__(self, max: int = 65535, *, nullable: bool = False) -> None:
        super().__init__(max, nullable=nullable)
        self.plain = False

    def to_json(self, value: Any) -> JsonValue:
        return base64.b64encode(value).decode() or (None if self.nullable else "")

    def from_json(self, value: JsonValue, field: str) -> Any:
        try:
            return base64.b64decode("".join(super().from_json(value, field).split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise Invalid(f"'{field}' must be base64.", field=field) from error


def _shown(value: JsonValue) -> str:
    """The value as an error message may repeat it: short, and never a secret's full length."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
