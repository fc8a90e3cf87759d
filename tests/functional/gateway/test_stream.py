"""Bodies that are streamed in and out."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from gateway.core.app import Application, application
from gateway.core.dialect import Api
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.microversion import Microversions
from gateway.core.route import Route
from gateway.core.upstream import Upstream
from tests.functional.gateway.harness import Client, Settings

closed: list[str] = []


async def endless(pieces: int, fail_at: int = -1) -> AsyncGenerator[bytes, None]:
    try:
        for index in range(pieces):
            if index == fail_at:
                raise Fault(404, "The image has no data.")
            await asyncio.sleep(0)
            yield b"x" * 10
    finally:
        closed.append("closed")


async def download(request: Request) -> Response:
    pieces = int(request.params["pieces"])
    headers = {"content-type": "application/octet-stream"}
    return Response(200, endless(pieces, int(request.arg("fail", "-1"))), headers)


async def upload(request: Request) -> Response:
    sizes = [len(piece) async for piece in request.body()]
    return Response(200, {"sizes": sizes})


async def newer(request: Request) -> Response:
    return Response(200, {"version": list(request.microversion)})


@pytest.fixture
async def app() -> Application:
    closed.clear()
    routes = [
        Route("GET", "/down/{pieces}", download),
        Route("PUT", "/up", upload, stream=True),
        Route("GET", "/new", newer, since="2.5"),
    ]
    api = Api("image", routes, microversions=Microversions("image", "2.1", "2.9"))
    return application([api], Upstream([]), Settings())


async def test_a_body_goes_out_in_pieces(app: Application) -> None:
    answer = await Client(app)("GET", "/image/down/3")
    assert (answer.status, answer.raw, closed) == (200, b"x" * 30, ["closed"])
    assert "content-length" not in answer.headers


async def test_an_empty_stream_is_an_empty_body(app: Application) -> None:
    answer = await Client(app)("GET", "/image/down/0")
    assert (answer.status, answer.raw, closed) == (200, b"", ["closed"])


async def test_a_failure_before_the_first_piece_is_an_ordinary_error(app: Application) -> None:
    answer = await Client(app)("GET", "/image/down/3?fail=0")
    assert (answer.status, closed) == (404, ["closed"])
    assert "no data" in answer.json["error"]["message"]


async def test_a_later_failure_breaks_the_connection(app: Application) -> None:
    with pytest.raises(Fault):
        await Client(app)("GET", "/image/down/3?fail=2")
    assert closed == ["closed"]


async def test_the_source_is_closed_when_the_client_goes_away(app: Application) -> None:
    sent: list[dict[str, Any]] = []
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(event: dict[str, Any]) -> None:
        sent.append(event)
        if len(sent) == 5:
            gone.set()
        await asyncio.sleep(0)

    scope = {
        "type": "http",
        "method": "GET",
        "raw_path": b"/image/down/1000000",
        "query_string": b"",
        "headers": [(b"x-auth-token", b"t")],
    }
    await asyncio.wait_for(app(scope, receive, send), 30)
    assert len(sent) < 100
    assert closed == ["closed"]


async def test_an_upload_is_read_by_its_handler_and_may_be_large(app: Application) -> None:
    answer = await Client(app)("PUT", "/image/up", raw=b"y" * 3_000_000)
    assert answer.json == {"sizes": [3_000_000]}


async def test_an_upload_that_breaks_off_ends_quietly(app: Application) -> None:
    events: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return events.pop(0)

    async def send(event: dict[str, Any]) -> None:
        raise AssertionError(event)

    scope = {
        "type": "http",
        "method": "PUT",
        "raw_path": b"/image/up",
        "query_string": b"",
        "headers": [(b"x-auth-token", b"t")],
    }
    await app(scope, receive, send)


async def test_routes_come_and_go_with_the_microversion(app: Application) -> None:
    client = Client(app)
    assert (await client("GET", "/image/new")).status == 404
    answer = await client("GET", "/image/new", headers={"OpenStack-API-Version": "image 2.7"})
    assert answer.json == {"version": [2, 7]}
    assert answer.headers["openstack-api-version"] == "image 2.7"
    refused = await client("GET", "/image/new", headers={"OpenStack-API-Version": "image 2.10"})
    assert (refused.status, refused.headers["openstack-api-version"]) == (406, "image 2.1")
