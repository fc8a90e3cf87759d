"""Any request to any route of any API is answered, and never with a 500, whatever is in it."""

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.__main__ import apis
from gateway.core.app import application
from gateway.core.crud import Crud
from gateway.core.route import Route
from gateway.core.table import Table
from gateway.core.upstream import Upstream
from tests.functional.gateway.harness import Client

ROUTES = [(api, route) for api in apis() for route in api.routes]
WORDS = st.sampled_from(
    ["", "x", "-1", "latest", "2026-01-01T00:00:00Z", "\U0001f600", "a" * 300, "../..", "null"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(), inner, max_size=3),
    max_leaves=6,
)
PARAMETERS = [
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
]


class Refusing(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # only its stub is generic
    """A controller that knows every method and finds nothing."""

    def service(self, handler_call_details: Any) -> Any:
        async def refuse(requests: Any, context: Any) -> Any:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such thing.")

        return grpc.stream_stream_rpc_method_handler(refuse)


class AnyPaths:
    """Settings with every API at its default path."""

    public_url = ""
    catalog_url = ""
    cors_origins = ()


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def client(loop: asyncio.Runner) -> Iterator[Client]:
    async def start() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(handlers=[Refusing()])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = loop.run(start())
    upstream = Upstream([f"127.0.0.1:{port}"])
    yield Client(application(apis(), upstream, AnyPaths()))
    loop.run(upstream.close())
    loop.run(server.stop(None))


def table_of(route: Route) -> Table | None:
    crud = getattr(route.handler, "__self__", None)
    return crud.table if isinstance(crud, Crud) else None


def body_of(data: st.DataObject, route: Route) -> Any:
    """A body near to what the route wants, as far as its table tells, or any JSON."""
    table = table_of(route)
    if table is None or data.draw(st.booleans()):
        return data.draw(JSON | st.dictionaries(WORDS | st.text(), JSON, max_size=2))
    names = sorted(table.shape.by_name)
    inner = data.draw(st.dictionaries(st.sampled_from(names), JSON, max_size=4))
    return {table.body_key: inner} if data.draw(st.booleans()) else inner


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_is_a_500(loop: asyncio.Runner, client: Client, data: st.DataObject) -> None:
    api, route = data.draw(st.sampled_from(ROUTES))
    segments = [
        quote(data.draw(st.text(min_size=1) | WORDS.filter(bool)), safe="") if part.startswith("{") else part
        for part in route.path.strip("/").split("/")
    ]
    known = PARAMETERS + (sorted(table.filters) if (table := table_of(route)) else [])
    query = data.draw(
        st.lists(st.tuples(st.sampled_from(known) | st.text(), st.text() | WORDS), max_size=3).map(
            lambda pairs: "&".join(f"{quote(key)}={quote(value)}" for key, value in pairs)
        )
    )
    body = body_of(data, route) if route.method in ("POST", "PUT", "PATCH", "DELETE") else None
    headers = {}
    if api.microversions is not None:
        version = data.draw(st.sampled_from(["latest", api.microversions.minimum, "9.9", "x"]))
        headers["openstack-api-version"] = f"{api.microversions.service} {version}"
    path = f"/{api.name}/{'/'.join(segments)}" + (f"?{query}" if query else "")
    try:
        answer = loop.run(client(route.method, path, body, headers=headers))
    except (TypeError, UnicodeEncodeError):  # what orjson or the client cannot even write
        return
    assert answer.status != 500, (route.method, path, body)
