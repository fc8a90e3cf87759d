"""Bodies near to what a route takes: valid ones from its table's schema or by example, then made wrong."""

from collections.abc import Mapping
from typing import Any

import orjson
from hypothesis import strategies as st

from gateway.core.crud import Crud
from gateway.core.route import Route
from gateway.core.table import Table

HUGE = 10**30
WORDS = st.sampled_from(
    [
        "",
        "x",
        "-1",
        "latest",
        "2026-01-01T00:00:00Z",
        "\U0001f600",
        "a" * 300,
        "a" * 70_000,
        "../..",
        "null",
        "10.0.0.1",
        "10.0.0.0/33",
        "fe80::1",
        "fa:16:3e:00:00:01",
        "\x00",
        "a\nb",
        "%s%n",
        "{}",
        "'; --",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.sampled_from([HUGE, -HUGE, 0, -1, 2**31, 2**63, 1e308, 0.5])
    | WORDS
    | st.text(max_size=20)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
NOT_JSON = st.sampled_from(
    [
        b"",
        b"{",
        b"[" * 5000,
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'"\xff"',
        b"null",
        b"[]",
        b"{}",
        b'{"a":"\\ud800"}',
    ]
)
_VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(["a", "b", "10.1.0.9", "2026-01-01T00:00:00Z", "ingress", "public"]),
    "integer": st.integers(0, 5000),
    "number": st.floats(0, 100),
    "boolean": st.booleans(),
    "null": st.none(),
}
_ACTIONS: list[Mapping[str, Any]] = [
    *(
        {name: None}
        for name in ("pause", "unpause", "suspend", "resume", "os-start", "os-stop", "lock", "unlock")
    ),
    {"reboot": {"type": "HARD"}},
    {"reboot": {"type": "SOFT"}},
    {"os-getConsoleOutput": {"length": 5}},
    {"addSecurityGroup": {"name": "default"}},
    {"removeSecurityGroup": {"name": "default"}},
    {"os-resetState": {"state": "active"}},
    {"rebuild": {"imageRef": "a"}},
    {"resize": {"flavorRef": "a"}},
    {"createImage": {"name": "a"}},
    {"changePassword": {"adminPass": "a"}},
    {"forceDelete": None},
    {"os-migrateLive": {"host": None}},
]


def table_of(route: Route) -> Table | None:
    """The table that the route's handler reads bodies with, where that can be seen."""
    crud = getattr(route.handler, "__self__", None)
    return crud.table if isinstance(crud, Crud) else None


@st.composite
def bodies(draw: st.DrawFn, route: Route, ids: Mapping[str, list[str]]) -> bytes:
    """JSON as bytes, mostly; near to valid half of the time."""
    if draw(st.integers(0, 9)) == 0:
        return draw(NOT_JSON)
    near = _near(route, ids)
    value = draw(JSON) if near is None or draw(st.integers(0, 3)) == 0 else draw(near)
    return encoded(value)


def encoded(value: Any) -> bytes:
    """As JSON, also what orjson does not write."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return repr(value).replace("'", '"').encode(errors="replace")


def _near(route: Route, ids: Mapping[str, list[str]]) -> st.SearchStrategy[Any] | None:
    if route.path.endswith("/action"):
        return _broken(st.sampled_from(_ACTIONS))
    if (parts := _parts(route.path.rpartition("/")[2], ids)) is not None:
        return _broken(parts)
    table = table_of(route)
    if table is None:
        words = [part for part in route.path.split("/") if part and not part.startswith("{")]
        return st.fixed_dictionaries({words[-1].rstrip("s").replace("-", "_"): JSON}) if words else None
    schema = table.schema("create" if route.method == "POST" else "update")
    inner = _broken(_object(schema, ids))
    return inner if not table.body_key else st.builds(lambda value: {table.body_key: value}, inner)


def _parts(word: str, ids: Mapping[str, list[str]]) -> st.SearchStrategy[Any] | None:
    """What is put into a router, or taken out of it."""
    route = st.fixed_dictionaries({"destination": st.just("10.9.0.0/24"), "nexthop": st.just("10.1.0.9")})
    match word:
        case "add_router_interface" | "remove_router_interface":
            return st.fixed_dictionaries(
                {},
                optional={
                    f"{name}_id": st.sampled_from(ids.get(f"{name}s", ["x"])) for name in ("subnet", "port")
                },
            )
        case "add_extraroutes" | "remove_extraroutes":
            return st.fixed_dictionaries(
                {"router": st.fixed_dictionaries({"routes": st.lists(route, max_size=2)})}
            )
        case "add_external_gateways" | "update_external_gateways" | "remove_external_gateways":
            gateway = st.fixed_dictionaries({"network_id": st.sampled_from(ids["networks"])})
            several = st.fixed_dictionaries({"external_gateways": st.lists(gateway, max_size=2)})
            return st.fixed_dictionaries({"router": several})
        case "l3-routers":
            return st.fixed_dictionaries({"router_id": st.sampled_from(ids["routers"])})
    return None


def _object(schema: Any, ids: Mapping[str, list[str]]) -> st.SearchStrategy[dict[str, Any]]:
    wanted = {name: _valid(name, part, ids) for name, part in schema["properties"].items()}
    required = {name: wanted.pop(name) for name in schema["required"] if name in wanted}
    return st.fixed_dictionaries(required, optional=wanted)


def _valid(name: str, schema: Any, ids: Mapping[str, list[str]]) -> st.SearchStrategy[Any]:
    """A value that the schema allows, as far as it goes; an existing id where the name tells of one."""
    kinds = schema.get("type", "string")
    kind = next((k for k in kinds if k != "null"), "null") if isinstance(kinds, list) else kinds
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    pool = ids.get(name.removesuffix("_id").replace("_", "-") + "s") if name.endswith("_id") else None
    if pool:
        return st.sampled_from(pool)
    if kind == "object":
        inner = schema.get("properties")
        return _object(schema | {"required": schema.get("required", [])}, ids) if inner else JSON
    if kind == "array":
        return st.lists(_valid(name.removesuffix("s"), schema.get("items", {}), ids), max_size=2)
    return _VALUES.get(kind, SCALARS)


@st.composite
def _broken(draw: st.DrawFn, valid: st.SearchStrategy[Any]) -> Any:
    """As it is, or with one thing wrong somewhere."""
    value = draw(valid)
    if not isinstance(value, dict) or draw(st.integers(0, 3)) == 0:
        return value
    value = dict(value)
    for _ in range(draw(st.integers(1, 2))):
        match draw(st.sampled_from(["other", "unknown", "less"])):
            case "other" if value:
                value[draw(st.sampled_from(sorted(value)))] = draw(JSON)
            case "unknown":
                value[draw(WORDS | st.text(max_size=10))] = draw(SCALARS)
            case "less" if value:
                del value[draw(st.sampled_from(sorted(value)))]
    return value
