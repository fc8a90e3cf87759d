"""Bodies and query strings of requests: what a value may be, by microversion, refused in Nova's words.

A rule is called with (value, name, microversion) and returns the value as handlers want it, or raises Invalid.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.core import microversion
from gateway.core.codec import JsonValue
from gateway.core.codec.base import shown
from gateway.core.fault import Invalid

Version = microversion.Version
Rule = Callable[[JsonValue, str, Version], Any]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_TRUE, _FALSE = {"true", "1", "on", "yes", "t", "y"}, {"false", "0", "off", "no", "f", "n"}


def refuse(name: str, value: JsonValue, why: str) -> Invalid:
    """The error of a value that is not allowed; of an object only the names are repeated, not what may be secret."""
    told = "{" + ", ".join(map(shown, list(value)[:5])) + "}" if isinstance(value, dict) else shown(value)
    return Invalid(f"Invalid input for field/attribute {name[:64]}. Value: {told}. {why}", field=name[:64])


def text(most: int = 255, least: int = 0, pattern: str | None = None) -> Rule:
    """A string."""
    form = re.compile(pattern) if pattern else None

    def rule(value: JsonValue, name: str, version: Version) -> str:
        if not isinstance(value, str):
            raise refuse(name, value, f"{shown(value)} is not of type 'string'")
        if len(value) < least:
            raise refuse(name, value, f"{shown(value)} is too short")
        if len(value) > most:
            raise refuse(name, value, f"{shown(value)} is too long")
        if form and not form.fullmatch(value):
            raise refuse(name, value, f"{shown(value)} does not match {pattern!r}")
        return value

    return rule


def label(most: int = 255) -> Rule:
    """A name: printable, without white space around it."""
    plain = text(most, 1)

    def rule(value: JsonValue, name: str, version: Version) -> str:
        found: str = plain(value, name, version)
        if found != found.strip() or not found.isprintable():
            why = "Can not start or end with whitespace, nor hold characters that cannot be printed."
            raise refuse(name, value, why)
        return found

    return rule


def integer(least: int = -(2**31), most: int = 2**31 - 1) -> Rule:
    """A whole number, also as a string."""

    def rule(value: JsonValue, name: str, version: Version) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
            value = int(value)
        if type(value) is not int:
            raise refuse(name, value, f"{shown(value)} is not of type 'integer'")
        if not least <= value <= most:
            bound = (
                f"less than the minimum of {least}"
                if value < least
                else f"greater than the maximum of {most}"
            )
            raise refuse(name, value, f"{value} is {bound}")
        return value

    return rule


def number(least: float = 0.0, most: float = 3.4e38) -> Rule:
    """A number, also as a string."""

    def rule(value: JsonValue, name: str, version: Version) -> float:
        try:
            found = float(value) if isinstance(value, str | int | float) and value is not True else -1.0
        except (ValueError, OverflowError):
            found = -1.0
        if not least <= found <= most:
            raise refuse(name, value, f"{shown(value)} is not a number from {least} to {most}")
        return found

    return rule


def boolean(value: JsonValue, name: str, version: Version) -> bool:
    """true or false, also as words."""
    word = value.lower() if isinstance(value, str) else value
    if word is True or (isinstance(word, str) and word in _TRUE):
        return True
    if word is False or (isinstance(word, str) and word in _FALSE):
        return False
    raise refuse(name, value, f"{shown(value)} is not of type 'boolean'")


def uuid(value: JsonValue, name: str, version: Version) -> str:
    """A UUID."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise refuse(name, value, f"{shown(value)} is not a 'uuid'")
    return value


def address(family: int = 0, *, empty: bool = False) -> Rule:
    """An IP address of the family (0: any)."""

    def rule(value: JsonValue, name: str, version: Version) -> str:
        if value == "" and empty:
            return ""
        try:
            found = ipaddress.ip_address(value) if isinstance(value, str) else None
        except ValueError:
            found = None
        if found is None or (family and found.version != family):
            raise refuse(name, value, f"{shown(value)} is not a 'ipv{family or 4}'")
        return str(found)

    return rule


def word(*words: str) -> Rule:
    """One of these."""

    def rule(value: JsonValue, name: str, version: Version) -> str:
        if not isinstance(value, str) or value not in words:
            raise refuse(name, value, f"{shown(value)} is not one of {list(words)}")
        return value

    return rule


def maybe(inner: Rule) -> Rule:
    """Or null."""
    return lambda value, name, version: None if value is None else inner(value, name, version)


def either(*rules: Rule) -> Rule:
    """What the first rule that does not refuse makes of it; the last one says why not."""

    def rule(value: JsonValue, name: str, version: Version) -> Any:
        for inner in rules[:-1]:
            try:
                return inner(value, name, version)
            except Invalid:
                continue
        return rules[-1](value, name, version)

    return rule


def anything(value: JsonValue, name: str, version: Version) -> JsonValue:
    """Not looked at."""
    return value


def null(value: JsonValue, name: str, version: Version) -> None:
    """Nothing: null, or what old clients send for it."""


def items(inner: Rule, *, least: int = 0, most: int = 1000, unique: bool = False) -> Rule:
    """A list."""

    def rule(value: JsonValue, name: str, version: Version) -> list[Any]:
        if not isinstance(value, list):
            raise refuse(name, value, f"{shown(value)} is not of type 'array'")
        if len(value) < least:
            raise refuse(name, value, f"{shown(value)} is too short")
        if len(value) > most:
            raise refuse(name, value, f"{shown(value)} is too long")
        found = [inner(entry, f"{name}.{at}", version) for at, entry in enumerate(value)]
        if unique and any(entry in found[:at] for at, entry in enumerate(found)):
            raise refuse(name, value, f"{shown(value)} has non-unique elements")
        return found

    return rule


def mapping(inner: Rule, *, key: str = r"[^\x00]{1,255}", least: int = 0, most: int = 1000) -> Rule:
    """An object with any keys of that form."""
    form = re.compile(key)

    def rule(value: JsonValue, name: str, version: Version) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise refuse(name, value, f"{shown(value)} is not of type 'object'")
        if len(value) < least:
            raise refuse(name, value, "it does not have enough properties")
        if len(value) > most:
            raise refuse(name, value, "it has too many properties")
        for entry in value:
            if not form.fullmatch(entry):
                raise unexpected(name, value, [entry])
        return {entry: inner(inside, entry[:64], version) for entry, inside in value.items()}

    return rule


METADATA = mapping(text(255), key=r"[a-zA-Z0-9\-_:. ]{1,255}")
TAG = text(60, 1, r"[^,/]*")


class Obj:
    """An object with these properties; a property may be a rule or (rule, since, until)."""

    def __init__(
        self,
        properties: Mapping[str, Rule | tuple[Rule, str, str]] | None = None,
        *,
        required: Sequence[str] = (),
        open: bool = False,
        least: int = 0,
    ) -> None:
        self._rules: dict[str, list[tuple[Rule, microversion.Range]]] = {}
        for name, rule in (properties or {}).items():
            inner, since, until = rule if isinstance(rule, tuple) else (rule, "", "")
            self._rules.setdefault(name.rstrip(" "), []).append((inner, microversion.Range(since, until)))
        self._required, self._open, self._least = required, open, least

    def __call__(self, value: JsonValue, name: str, version: Version) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise refuse(name, value, f"{shown(value)} is not of type 'object'")
        found: dict[str, Any] = {}
        unknown = []
        for key, inside in value.items():
            rule = next((rule for rule, versions in self._rules.get(key, ()) if version in versions), None)
            if rule is not None:
                found[key] = rule(inside, key, version)
            elif self._open:
                found[key] = inside
            else:
                unknown.append(key)
        if unknown:
            raise unexpected(name, value, unknown)
        for key in self._required:
            if key not in value:
                raise refuse(name, value, f"'{key}' is a required property")
        if len(value) < self._least:
            raise refuse(name, value, "it does not have enough properties")
        return found


def unexpected(name: str, value: JsonValue, unknown: Sequence[str]) -> Invalid:
    """The error of properties that are not known."""
    told = ", ".join(f"'{key[:64]}'" for key in unknown[:5])
    verb = "was" if len(unknown) == 1 else "were"
    return refuse(name, value, f"Additional properties are not allowed ({told} {verb} unexpected)")
