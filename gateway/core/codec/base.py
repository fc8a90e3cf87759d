"""How one attribute's JSON value becomes a protobuf value and back.

from_json gives a value that the field can hold, or raises Invalid which names the field; it never sees null
(the table turns null into an unset field where the codec is nullable). filter_values gives the JSON forms of
Filter.values for the text of a query parameter.
"""

from typing import Any, ClassVar, Protocol

JsonValue = Any  # what orjson reads and writes


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


def shown(value: JsonValue) -> str:
    """The value as an error message may repeat it: short, and never a secret's full length."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
