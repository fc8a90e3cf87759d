"""The ASGI application: finds the route, runs its handler, and turns every outcome into an answer."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import unquote

import orjson
import structlog

from gateway.core import cors
from gateway.core.codec import JsonValue
from gateway.core.dialect import Api, Dialect
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Disconnected, Request, Response
from gateway.core.route import Route, Router
from gateway.core.upstream import Upstream

log = structlog.get_logger(__name__)

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_HEADER_BYTES = 64 * 1024
MAX_PATH_BYTES = 8 * 1024
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Settings(Protocol):
    """What of [gateway] the application reads; <name>_path is optional for each API."""

    @property
    def public_url(self) -> str: ...

    @property
    def catalog_url(self) -> str: ...

    @property
    def cors_origins(self) -> Sequence[str]: ...


class Application:
    """Holds nothing about callers: any number of them serve side by side."""

    def __init__(self, apis: Sequence[Api], upstream: Upstream, settings: Settings) -> None:
        self.leaving = False  # whether it ends soon: clients do not keep their connections
        self._upstream = upstream
        self._urls = settings.public_url, settings.catalog_url.rstrip("/")
        self._origins = frozenset(settings.cors_origins)
        self._mounts = {
            api.name: getattr(settings, f"{api.name}_path", f"/{api.name}").rstrip("/") for api in apis
        }
        self._router = Router()
        root = Api(
            "", [Route("GET", "/", self._root, public=True), Route("GET", "/healthz", _health, public=True)]
        )
        self._mounts[""] = ""
        self._sockets = {
            f"{self._mounts[api.name]}{path}": socket for api in apis for path, socket in api.sockets.items()
        }
        for api in (*apis, root):
            self._router.mount(api, self._mounts[api.name])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._lifespan(receive, send)
        if scope["type"] == "websocket":
            return await self._socket(scope, receive, send)
        started = time.perf_counter()
        request = Request(scope, receive, self._upstream, f"req-{uuid.uuid4()}", *self._urls)
        try:
            preflight = bool(self._origins) and cors.is_preflight(request.method, request.headers)
            response = _preflight(request) if preflight else await self._respond(request, scope)
            more = cors.granted(self._origins, request.headers, preflight=preflight)
            if self.leaving:
                more["connection"] = "close"
            status = await _send(request, response, more, receive, send)
        except Disconnected:
            status = 499
        log.info(
            "request",
            method=request.method,
            path=request.path,
            status=status,
            seconds=round(time.perf_counter() - started, 6),
            request_id=request.request_id,
            **_known(request),
        )
        return None

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = self._sockets.get(scope["path"])
        if socket is None:
            return await send({"type": "websocket.close", "code": 1000})
        await socket(scope, receive, send, self._upstream)
        return None

    async def _respond(self, request: Request, scope: Scope) -> Response:
        try:
            response = await self._handle(request, scope)
            if response.streamed:
                await response.prefetch()
            return response
        except Disconnected:
            raise
        except Fault as fault:
            return self._failed(request, fault)
        except Exception:
            log.exception("bug", method=request.method, path=request.path, request_id=request.request_id)
            return self._failed(request, Fault(500, "The server has met an unexpected error."))

    async def _handle(self, request: Request, scope: Scope) -> Response:
        headers, segments = request.headers, self._locate(request, scope)
        match = self._router.find(segments)
        if match is None:
            raise Fault(404, "The resource could not be found.", reason="NO_SUCH_PATH")
        versions = request.api.microversions
        if versions is not None:
            request.microversion = versions.negotiate(headers)
        found = match.route(request.method, request.microversion)
        if found is None and request.method in match.methods:
            raise Fault(404, "The resource could not be found.", reason="NO_SUCH_PATH")
        if found is None:
            allow = ", ".join(match.methods)
            raise Fault(405, f"{request.method[:20]} is not allowed here.", headers={"allow": allow})
        request.route, request.params = found
        if not request.route.public and not request.token:
            raise Fault(401, "The request you have made requires authentication.", reason="UNAUTHENTICATED")
        if not request.route.stream and ("content-length" in headers or "transfer-encoding" in headers):
            await request.read()
        return await request.route.handler(request)

    def _locate(self, request: Request, scope: Scope) -> list[str]:
        """Set the request's API and mount; the decoded segments of the path."""
        raw: bytes = scope["raw_path"]
        path, bad = [unquote(part) for part in request.path.split("/")[1:]], not raw.startswith(b"/")
        if b"%" in raw:
            bad = bad or _BAD_ESCAPE.search(raw) is not None or b"%00" in raw or "\ufffd" in "".join(path)
        if len(path) > 1 and not path[-1]:
            path.pop()  # one trailing slash
        if path == [""]:
            path = []
        request.api = self._router.api(path) or _ROOT
        request.mount = self._mounts[request.api.name]
        asked = request.headers.get("x-openstack-request-id", "")
        if asked and _REQUEST_ID.fullmatch(asked):
            request.global_request_id = asked
        if bad or len(raw) > MAX_PATH_BYTES:
            raise Invalid("The path is malformed.", reason="MALFORMED_PATH")
        if sum(len(key) + len(value) for key, value in scope["headers"]) > MAX_HEADER_BYTES:
            raise Fault(431, "The headers are too large.")
        return path

    def _failed(self, request: Request, fault: Fault) -> Response:
        if fault.status == 401:
            url = f"{request.base_url}{self._mounts.get('identity', '/identity')}"
            fault.headers.setdefault("www-authenticate", f'Keystone uri="{url}"')
        if fault.status == 503:
            fault.headers.setdefault("retry-after", "1")
        request.refusal = fault.message
        if fault.status >= 500 and fault.__cause__ is not None:
            request.cause = repr(fault.__cause__)
        return request.api.dialect.fault(request, fault)

    async def _root(self, request: Request) -> Response:
        apis = [
            {"name": name, "href": f"{request.base_url}{path}/"}
            for name, path in self._mounts.items()
            if name
        ]
        return Response(200, {"apis": apis})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._upstream.close()
                return await send({"type": "lifespan.shutdown.complete"})


async def _health(request: Request) -> Response:
    return Response(200, {"status": "ok"})


_ROOT = Api("", [], Dialect())


def _preflight(request: Request) -> Response:
    request.api = _ROOT
    return Response(204)


def application(apis: Sequence[Api], upstream: Upstream, settings: Settings) -> Application:
    """The ASGI application that serves the APIs."""
    return Application(apis, upstream, settings)


def _known(request: Request) -> dict[str, JsonValue]:
    facts = {
        "user": request.user_id,
        "project": request.project_id,
        "global_request_id": request.global_request_id,
        "reason": request.refusal,
        "cause": request.cause,
    }
    return {key: value for key, value in facts.items() if value}


async def _send(
    request: Request, response: Response, more: Mapping[str, str], receive: Receive, send: Send
) -> int:
    """Send the answer with more headers; HEAD gets its headers only. Returns the status; 499: the client went away."""
    status, body = response.status, response.body
    headers = {key.lower(): value for key, value in response.headers.items()}
    for name in request.api.dialect.request_id_headers:
        headers[name] = request.request_id
    if request.api.microversions is not None:
        headers |= request.api.microversions.answer(request.microversion)
    content = b""
    if not response.streamed:
        if body is not None and not isinstance(body, bytes):
            content = orjson.dumps(body)
            headers.setdefault("content-type", "application/json")
        elif body:
            content = body
        if status != 204:
            headers.setdefault("content-length", str(len(content)))
    raw_headers = [
        (key.encode("latin-1"), value.encode("latin-1")) for key, value in (*headers.items(), *more.items())
    ]
    await send({"type": "http.response.start", "status": status, "headers": raw_headers})
    if response.streamed and request.method != "HEAD":
        if not await _send_pieces(request, response, receive, send):
            return 499
    else:
        await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else content})
    return status


async def _send_pieces(request: Request, response: Response, receive: Receive, send: Send) -> bool:
    """Send a streamed body. False: the client went away first."""
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        async for piece in response.pieces():
            if gone.done():
                return False
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except Exception:  # the status is sent: all that can be done is to end the connection early
        log.exception("stream broke", path=request.path, request_id=request.request_id)
        raise
    finally:
        gone.cancel()
        await response.close()
    await send({"type": "http.response.body", "body": b""})
    return True


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
