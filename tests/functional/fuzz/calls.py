"""Whole requests: who calls what, with which token, path, parameters and body."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from hypothesis import strategies as st

from gateway.core.dialect import Api
from gateway.core.route import Route
from tests.functional.fuzz.bodies import WORDS, bodies, table_of

_ABSENT = "00000000-0000-4000-8000-000000000000"
_PARAMETERS = [
    "limit",
    "marker",
    "sort_key",
    "sort_dir",
    "sort",
    "fields",
    "name",
    "status",
    "all_tenants",
    "id",
    "changes-since",
    "page_reverse",
    "tags",
    "not-tags-any",
    "domain_id",
    "nocatalog",
    "member_status",
    "resources",
    "required",
    "member_of",
]
_WITH_BODY = ("POST", "PUT", "PATCH")


@dataclass(frozen=True)
class Call:
    """What is sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True)
class World:
    """Ids that paths can be filled with, by collection."""

    own: Mapping[str, list[str]]
    foreign: Mapping[str, list[str]]
    vital: Mapping[str, list[str]]  # may only be looked at
    tokens: Mapping[str, str]  # "own", and what else there is


@st.composite
def calls(draw: st.DrawFn, api: Api, route: Route, world: World) -> Call:
    """One request of the route."""
    path = f"/{api.name}" + "".join(f"/{part}" for part in _segments(draw, route, world))
    table = table_of(route)
    known = _PARAMETERS + (sorted(table.filters) if table else [])
    if draw(st.integers(0, 2)) == 0:
        pairs = draw(st.lists(st.tuples(st.sampled_from(known), WORDS), max_size=2))
        path += "?" + "&".join(f"{quote(key)}={quote(value[:400])}" for key, value in pairs)
    headers = _headers(draw, api, world)
    body = draw(bodies(route, world.own)) if route.method in _WITH_BODY else None
    if body is not None:
        headers["Content-Type"] = draw(st.sampled_from(["application/json"] * 9 + ["text/plain"]))
    return Call(route.method, path, headers, body)


def _segments(draw: st.DrawFn, route: Route, world: World) -> list[str]:
    found: list[str] = []
    before = ""
    for part in route.path.strip("/").split("/"):
        if part.startswith("{"):
            found.append(quote(draw(_filling(part, before, route, world))[:500], safe=""))
        else:
            found.append(part)
            before = part
    return found


def _filling(part: str, before: str, route: Route, world: World) -> st.SearchStrategy[str]:
    name = re.sub(r"(_id)?(\.\.\.)?}", "", part[1:])
    names = (before, f"{name}s", f"{name.replace('_', '-')}s", f"os-{name}s")
    own = next((world.own[n] for n in names if n in world.own), [])
    foreign = next((world.foreign[n] for n in names if n in world.foreign), [])
    vital = (
        next((world.vital[n] for n in names if n in world.vital), [])
        if route.method in ("GET", "HEAD")
        else []
    )
    garbage = WORDS.filter(lambda text: text not in ("", "..", "../..")) | st.text(min_size=1, max_size=8)
    choices = [st.sampled_from(ids) for ids in (own, own, foreign, vital) if ids]
    return st.one_of(*choices, st.just(_ABSENT), garbage)


def _headers(draw: st.DrawFn, api: Api, world: World) -> dict[str, str]:
    headers = {"X-Auth-Token": world.tokens["own"]}
    if draw(st.integers(0, 7)) == 0:
        headers["X-Auth-Token"] = draw(st.sampled_from([*sorted(world.tokens.values()), "x", "gAAAAA" * 30]))
    if draw(st.integers(0, 7)) == 0:
        headers["X-Subject-Token"] = draw(st.sampled_from([world.tokens.get("throwaway", "x"), "x"]))
    if api.microversions is not None:
        low = api.microversions.minimum
        version = draw(st.sampled_from(["latest"] * 6 + [str(low), "9.9", "x", "2.1", "2.37"]))
        headers["OpenStack-API-Version"] = f"{api.microversions.service} {version}"
    return headers
