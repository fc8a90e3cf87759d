"""Text, numbers, booleans, base64."""

import base64
import binascii
import math
import re
from typing import Any

from gateway.core.codec.base import JsonValue, Scalar, shown
from gateway.core.fault import Invalid


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
            raise Invalid(f"'{field}' has a form that is not allowed: {shown(text)}.", field=field)
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
            raise Invalid(f"'{field}' must be an integer, not {shown(value)}.", field=field)
        if not self._min <= value <= self._max:
            raise Invalid(f"'{field}' must be from {self._min} to {self._max}, not {value}.", field=field)
        return value

    def filter_value(self, text: str, field: str) -> str:
        if not re.fullmatch(r"-?[0-9]{1,19}", text):
            raise Invalid(f"'{field}' must be an integer, not {shown(text)}.", field=field)
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
            raise Invalid(f"'{field}' must be a number, not {shown(value)}.", field=field)
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
        raise Invalid(f"'{field}' must be a boolean, not {shown(value)}.", field=field)

    def filter_value(self, text: str, field: str) -> str:
        word = text.strip().lower()
        if word not in _TRUE and word not in _FALSE:
            raise Invalid(f"'{field}' must be a boolean, not {shown(text)}.", field=field)
        return "true" if word in _TRUE else "false"


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
