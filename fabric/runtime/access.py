"""What an application credential may be used for (Identity API v3, section "Access rules"). No I/O."""

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import re2  # type: ignore[import-untyped]


class Rule(NamedTuple):
    """A request that is allowed; in its path a * or {name} is any one segment, and ** is anything."""

    service: str  # type of the catalog
    method: str
    path: str  # below the API's mount, or with it


def allows(rules: Iterable[Rule], asked: str) -> bool:
    """asked: service, method, mount and path of the request that a gateway serves, with a space between them."""
    try:
        service, method, mount, path = asked.split(" ")
    except ValueError:
        return False
    paths = (path, path.removeprefix(mount))
    return any(
        (rule.service, rule.method) == (service, method) and any(map(_pattern(rule.path).fullmatch, paths))
        for rule in rules
    )


@functools.lru_cache(maxsize=4096)
def _pattern(path: str) -> Any:
    """Linear in time, whatever callers write."""
    pieces = re2.split(r"(\*\*|\*|\{[^}]*\})", path)
    return re2.compile("".join(_expression(piece) for piece in pieces))


def _expression(piece: str) -> str:
    if piece == "**":
        return ".*"
    if piece == "*" or (piece.startswith("{") and piece.endswith("}")):
        return "[^/]+"
    return str(re2.escape(piece))
