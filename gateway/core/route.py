"""Which handler answers which method and path: a tree of path segments."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from gateway.core import microversion
from gateway.core.fault import Statuses

if TYPE_CHECKING:
    from gateway.core.dialect import Api
    from gateway.core.http import Request, Response

    Handler = Callable[[Request], Awaitable[Response]]
else:
    Handler = Callable[[Any], Awaitable[Any]]


@dataclasses.dataclass(frozen=True)
class Route:
    """One method of one path such as /v2.1/servers/{server_id}; a last segment {name...} takes all the rest.

    public: needs no token. stream: the handler reads request.body() itself. statuses: HTTP statuses of
    upstream errors that differ here from the API's.
    """

    method: str
    path: str
    handler: Handler
    _: dataclasses.KW_ONLY
    since: str = ""
    until: str = ""
    public: bool = False
    stream: bool = False
    statuses: Statuses = dataclasses.field(default_factory=dict)


class _Entry:
    """A route where it hangs in the tree."""

    def __init__(self, api: "Api", route: Route) -> None:
        self.api, self.route = api, route
        self.versions = microversion.Range(route.since, route.until)
        self.names = [s[1:-1].removesuffix("...") for s in _segments(route.path) if s.startswith("{")]


class _Node:
    __slots__ = ("any", "children", "entries", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.rest: _Node | None = None
        self.entries: dict[str, list[_Entry]] = {}  # by method


@dataclasses.dataclass(frozen=True)
class Match:
    """A path that is known; entries: by method."""

    entries: Mapping[str, list[_Entry]]
    values: list[str]

    @property
    def methods(self) -> list[str]:
        return sorted({*self.entries, *(["HEAD"] if "GET" in self.entries else [])})

    def route(self, method: str, version: microversion.Version) -> tuple[Route, dict[str, str]] | None:
        """The route of the method at that microversion, with its path parameters."""
        entries = self.entries.get(method) or (self.entries.get("GET") if method == "HEAD" else None) or ()
        for entry in entries:
            if version in entry.versions:
                return entry.route, dict(zip(entry.names, self.values, strict=True))
        return None


class Router:
    """The routes of all mounted APIs."""

    def __init__(self) -> None:
        self._root = _Node()
        self._mounts: list[tuple[list[str], Api]] = []

    def mount(self, api: "Api", prefix: str) -> None:
        """Add the API's routes below the prefix ("" or "/compute")."""
        self._mounts.append((_segments(prefix), api))
        self._mounts.sort(key=lambda mount: -len(mount[0]))
        for route in api.routes:
            node = self._root
            for segment in _segments(prefix) + _segments(route.path):
                if segment.startswith("{") and segment.endswith("...}"):
                    node.rest = node = node.rest or _Node()
                elif segment.startswith("{"):
                    node.any = node = node.any or _Node()
                else:
                    node = node.children.setdefault(segment, _Node())
            node.entries.setdefault(route.method, []).append(_Entry(api, route))

    def api(self, segments: list[str]) -> "Api | None":
        """The API below whose prefix the path is, also when it has no such route."""
        return next((api for prefix, api in self._mounts if segments[: len(prefix)] == prefix), None)

    def find(self, segments: list[str]) -> Match | None:
        """The routes of a path, given as its decoded segments. Fixed segments win over parameters."""
        values: list[str] = []
        node = _descend(self._root, segments, 0, values)
        return None if node is None else Match(node.entries, values)


def _descend(node: _Node, segments: list[str], index: int, values: list[str]) -> _Node | None:
    if index == len(segments):
        return node if node.entries else None
    segment = segments[index]
    child = node.children.get(segment)
    if child is not None and (found := _descend(child, segments, index + 1, values)) is not None:
        return found
    if node.any is not None and segment:
        values.append(segment)
        if (found := _descend(node.any, segments, index + 1, values)) is not None:
            return found
        values.pop()
    if node.rest is not None:
        values.append("/".join(segments[index:]))
        return node.rest
    return None


def _segments(path: str) -> list[str]:
    return path.strip("/").split("/") if path.strip("/") else []
