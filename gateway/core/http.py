"""A request as handlers see it, and their response."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

import grpc
import orjson

from gateway.core import microversion
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid, from_rpc
from gateway.core.route import Route
from gateway.core.upstream import Upstream

if TYPE_CHECKING:
    from gateway.core.dialect import Api

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")
StubT = TypeVar("StubT")

MAX_BODY_BYTES = 2**20
MAX_QUERY_BYTES = 32 * 1024
MAX_TOKEN_BYTES = 6000
TIMEOUT_S = 30.0
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})

_MAX_ASKED = 2048  # what is longer is said to nobody, and no access rule allows it
_HOST = re.compile(r"[A-Za-z0-9.\-_]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_TOKEN = re.compile(r"[!-~]+")


class Disconnected(Exception):
    """The client went away while its body was read."""


class Request:
    """One call. headers: by lower-case name; params: from the path; roles: as the last RPC reported them."""

    api: "Api"
    route: Route
    params: Mapping[str, str]

    def __init__(
        self,
        scope: Mapping[str, Any],
        receive: Any,
        upstream: Upstream,
        request_id: str,
        public_url: str = "",
        catalog_url: str = "",
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["raw_path"].decode("latin-1")  # percent-encoded, as it came
        self.headers: dict[str, str] = _headers(scope["headers"])
        self.request_id = request_id
        self.global_request_id = ""
        self.microversion: microversion.Version = microversion.NONE
        self.mount = ""
        self.roles: frozenset[str] = frozenset()
        self.user_id = ""
        self.project_id = ""
        self.raw = b""
        self.refusal = ""  # why it failed, for the log
        self.cause = ""  # what lies behind a failure of ours, for the log
        self._scope, self._receive = scope, receive
        self._upstream = upstream
        self._public_url, self._catalog_url = public_url, catalog_url

    @property
    def token(self) -> str:
        """The caller's token, empty when there is none that could be one."""
        token = self.headers.get("x-auth-token", "")
        return token if len(token) <= MAX_TOKEN_BYTES and _TOKEN.fullmatch(token) else ""

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The query parameters in their order. Raises Invalid, Fault 414."""
        raw: bytes = self._scope["query_string"]
        if not raw:
            return []
        if len(raw) > MAX_QUERY_BYTES:
            raise Fault(414, "The query string is too long.")
        try:
            if _BAD_ESCAPE.search(raw):
                raise ValueError(raw)
            pairs = parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000
            )
        except ValueError as error:  # UnicodeDecodeError is one
            raise Invalid("The query string is malformed.") from error
        if b"%00" in raw:
            raise Invalid("The query string must not hold NUL characters.")
        return pairs

    def args(self, name: str) -> list[str]:
        """All values of a query parameter."""
        return [value for key, value in self.query if key == name]

    def arg(self, name: str, default: str = "") -> str:
        """The last value of a query parameter."""
        values = self.args(name)
        return values[-1] if values else default

    def shown_here(self, document: bytes) -> bytes:
        """JSON with the catalog: who came to this gateway stays with it."""
        if not self._catalog_url:
            return document
        return document.replace(f'"{self._catalog_url}/'.encode(), f'"{self.base_url}/'.encode())

    @cached_property
    def base_url(self) -> str:
        """Where the caller reaches this gateway, without a slash at the end."""
        if self._public_url:
            return self._public_url.rstrip("/")
        headers = self.headers
        scheme = headers.get("x-forwarded-proto", self._scope.get("scheme", "http")).split(",")[0].strip()
        host = (headers.get("x-forwarded-host") or headers.get("host", "")).split(",")[0].strip()
        if not _HOST.fullmatch(host):
            host = "{}:{}".format(*(self._scope.get("server") or ("localhost", 80)))
        return f"{scheme if scheme in ('http', 'https') else 'http'}://{host}"

    @property
    def api_url(self) -> str:
        """base_url with the path where the API is mounted."""
        return self.base_url + self.mount

    def json(self) -> dict[str, JsonValue]:
        """The body, which must be a JSON object. Raises Invalid."""
        body = self.json_value
        if not isinstance(body, dict):
            raise Invalid("The request body must be a JSON object.")
        return body

    @cached_property
    def json_value(self) -> JsonValue:
        """The body as any JSON value. Raises Invalid, Fault 415."""
        kind = self.headers.get("content-type", "")
        if kind and "json" not in kind.lower() and self.raw:
            raise Fault(415, f"Unsupported Content-Type {kind[:80]}: the body must be JSON.")
        try:
            value = orjson.loads(self.raw)
        except orjson.JSONDecodeError as error:
            raise Invalid(f"The request body is not valid JSON: {error}.", reason="MALFORMED_BODY") from error
        if b"\\u0000" in self.raw and _has_nul(value):
            raise Invalid("The request body must not hold NUL characters.", reason="MALFORMED_BODY")
        return value

    async def body(self) -> AsyncIterator[bytes]:
        """The body of a streamed route, in pieces as they arrive. Raises Disconnected."""
        more = True
        while more:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise Disconnected
            more = event.get("more_body", False)
            if event.get("body"):
                yield event["body"]

    async def read(self) -> None:
        """Take the whole body into raw. Raises Fault 413, Disconnected."""
        length = self.headers.get("content-length", "")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise Fault(413, f"The request body is larger than {MAX_BODY_BYTES} bytes.")
        pieces, size = [], 0
        async for piece in self.body():
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise Fault(413, f"The request body is larger than {MAX_BODY_BYTES} bytes.")
            pieces.append(piece)
        self.raw = b"".join(pieces)

    @property
    def upstream(self) -> Upstream:
        """The channels, for calls in nobody's name."""
        return self._upstream

    def stub(self, kind: type[StubT], address: str = "") -> StubT:
        """The stub of a service of the controllers, or of the agent at host:port."""
        return self._upstream.stub(kind, address)

    async def call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[RequestT, ReplyT]",
        message: RequestT,
        *,
        timeout: float = TIMEOUT_S,
        retry: bool | None = None,
    ) -> ReplyT:
        """Call a unary method (or a client-streaming one, with an async iterator) as the caller.

        Raises Fault. timeout: seconds. retry: ask again after a lost reply; None: when the request's method
        is idempotent (RFC 9110, 9.2.2). A removal that the try before has done replies None.
        """
        again = self.method in IDEMPOTENT if retry is None else retry
        removes = type(message).__name__.startswith("Delete")
        if hasattr(message, "__aiter__"):  # what was read of it is gone
            again = False
        try:
            reply, trailing = await self._upstream.call(
                method, message, self._metadata(), timeout=timeout, retry=again, removes=removes
            )
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.route.statuses, self.api.dialect.statuses) from error
        if "fabric-roles" in trailing:
            self.roles = frozenset(trailing["fabric-roles"].split(","))
            self.project_id = trailing.get("fabric-project", "")
            self.user_id = trailing.get("fabric-user", "")
        return reply  # type: ignore[no-any-return]

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        said = [("x-request-id", self.request_id)]
        if self.token:
            said.append(("x-auth-token", self.token))
        asked = f"{self.api.name} {self.method} {self.mount} {self.path}"
        if len(asked) <= _MAX_ASKED and asked.isascii():
            said.append(("fabric-asked", asked))
        return tuple(said)


class Response:
    """body: JSON (rendered with orjson), bytes, an async generator of bytes, or None for no body.

    A generator that fails before its first piece makes an ordinary error answer.
    """

    __slots__ = ("_first", "body", "headers", "status", "streamed")

    def __init__(
        self,
        status: int = 200,
        body: JsonValue | bytes | AsyncGenerator[bytes, None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.body: Any = body
        self.headers = dict(headers or {})
        self.streamed = hasattr(body, "__anext__")
        self._first = b""

    async def prefetch(self) -> None:
        """Start a streamed body."""
        self._first = await anext(self.body, b"")

    async def pieces(self) -> AsyncIterator[bytes]:
        """The whole of a streamed body, after prefetch."""
        if self._first:
            yield self._first
            async for piece in self.body:
                yield piece

    async def close(self) -> None:
        """Let go of a streamed body."""
        await self.body.aclose()


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for key, value in raw:
        name, text = key.decode("latin-1"), value.decode("latin-1")
        headers[name] = f"{headers[name]},{text}" if name in headers else text
    return headers


def _has_nul(value: JsonValue) -> bool:
    match value:
        case str():
            return "\0" in value
        case dict():
            return any("\0" in key or _has_nul(entry) for key, entry in value.items())
        case list():
            return any(_has_nul(entry) for entry in value)
    return False
