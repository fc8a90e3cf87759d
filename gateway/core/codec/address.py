"""Identifiers and addresses, in their canonical form."""

import ipaddress
import re
import uuid
from collections.abc import Callable
from typing import ClassVar

from gateway.core.codec.base import JsonValue, shown
from gateway.core.codec.scalar import Text
from gateway.core.fault import Invalid


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
            raise Invalid(f"'{field}' must be {self.form}, not {shown(value)}.", field=field) from error

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
