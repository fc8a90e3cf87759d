"""One of a few words."""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.core.codec.base import JsonValue, Scalar, shown
from gateway.core.fault import Invalid


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
            raise Invalid(f"'{field}' must be one of {words}, not {shown(value)}.", field=field)
        return found

    def filter_values(self, text: str, field: str) -> list[str]:
        return self._filter.get(text, [text])  # an unknown word matches nothing
