"""Forms of values that only the Networking API has."""

from typing import ClassVar

from gateway.core.codec import Integer, JsonValue, Text
from gateway.core.fault import Invalid


class IpVersion(Integer):
    """4 or 6, also as text."""

    def __init__(self) -> None:
        super().__init__(4, 6, lenient=True)

    def from_json(self, value: JsonValue, field: str) -> int:
        version = super().from_json(value, field)
        if version == 5:
            raise Invalid(f"'{field}' must be 4 or 6, not 5.", field=field)
        return version


class Protocol(Text):
    """An IP protocol by name or number; null is any."""

    def __init__(self) -> None:
        super().__init__(64, nullable=True)

    def from_json(self, value: JsonValue, field: str) -> str:
        return super().from_json(str(value) if type(value) is int else value, field)


class Mac(Text):
    """A MAC address; the service judges it. Filters take any case."""

    def filter_value(self, text: str, field: str) -> str:
        return text.lower().replace("-", ":")


class PortNumber(Integer):
    """Of a range, or an ICMP type or code; null is none. The service knows what is too large for what."""

    def __init__(self) -> None:
        super().__init__(nullable=True, lenient=True)


class PrefixLength(Integer):
    """Bits of a prefix: a number or its digits, shown as digits."""

    def __init__(self) -> None:
        super().__init__(0, 128, lenient=True)
        self.plain = False

    def to_json(self, value: int) -> JsonValue:
        return str(value)


class AgentRole(Text):
    """What a node's agent is known as. Filters take any case, as clients do."""

    _types: ClassVar = {"": "Fabric agent", "dhcp": "DHCP agent", "l3": "L3 agent"}

    def __init__(self) -> None:
        super().__init__()
        self.plain = False

    def to_json(self, value: str) -> JsonValue:
        return self._types[value]

    def filter_value(self, text: str, field: str) -> str:
        found = (role for role, kind in self._types.items() if kind.lower() == text.lower())
        return next(found, text)
