"""The gRPC server of every process: who calls, what they must see, errors, logs, health, reflection."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from fabric.runtime import newer
from fabric.runtime.access import allows
from fabric.runtime.caller import ANONYMOUS, Caller, set_current
from fabric.runtime.channel import MOST_PINGS
from fabric.runtime.collection import copy_of
from fabric.runtime.errors import FabricError, Unauthenticated, Unavailable, abort, as_told
from fabric.runtime.log import REQUEST_ID

log = structlog.get_logger(__name__)

TOKEN = "x-auth-token"
REQUEST = "x-request-id"
REVISION = "fabric-revision"
ASKED = "fabric-asked"  # the public request that a gateway serves
ROLES = "fabric-roles"
PROJECT = "fabric-project"
USER = "fabric-user"

OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    MOST_PINGS,
    ("grpc.max_concurrent_streams", 1000),
]

_NOT_KNOWN = "The request you have made requires authentication."
_BROKEN = "An unexpected error prevented the server from fulfilling your request."

Method = Callable[[Any, Caller], Any]


class Freshness(Protocol):
    """Makes a reader wait until it can see what has happened."""

    async def fresh(self, revision: int | None) -> None:
        """Return when the cache has reached the revision; None: the store's present one."""

    def revision(self) -> int:
        """What has been reached, own writes included."""


class Server:
    """Serves services whose methods are coroutines `method(request, caller)`, found by RPC name."""

    def __init__(
        self,
        authenticate: Callable[[str], Caller] | None = None,
        freshness: Freshness | None = None,
        public: Iterable[str] = (),
        credentials: grpc.ServerCredentials | None = None,
        peer_check: Callable[[Any], None] = lambda _: None,
    ) -> None:
        """authenticate: token -> Caller, raises Unauthenticated. public: what needs no token, as
        "fabric.x.v1.Service/Method"; without authenticate nothing does, and methods look at tickets.
        peer_check: given each call's context, raises Unauthenticated for a peer that is not wanted."""
        self._authenticate = authenticate
        self._freshness = freshness
        self._public = frozenset(public)
        self._credentials = credentials
        self._peer_check = peer_check
        self._names: list[str] = []
        self._unary_methods: dict[str, tuple[Method, bool]] = {}  # by full name; whether it is public
        self._server = aio.server(options=OPTIONS)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self.port = 0

    def add(self, service: ServiceDescriptor, methods: Mapping[str, Method]) -> None:
        """Serve the service; every RPC of it must have a method."""
        missing = {m.name for m in service.methods} - set(methods)
        if missing:
            raise ValueError(f"{service.full_name} has no method for {', '.join(sorted(missing))}")
        handlers = {m.name: self._handler(service, m, methods[m.name]) for m in service.methods}
        generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self._names.append(service.full_name)

    async def start(self, listen: str, *, serving: bool = True) -> None:
        """Listen on host:port (port 0: any; see .port); serving: what the health service says at first."""
        names = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        if self._credentials is None:
            self.port = self._server.add_insecure_port(listen)
        else:
            self.port = self._server.add_secure_port(listen, self._credentials)
        await self._server.start()
        await self.set_serving(serving)
        log.info("gRPC server listens", listen=listen, port=self.port)

    async def set_serving(self, serving: bool) -> None:
        """What the health service says of the process."""
        states = health_pb2.HealthCheckResponse
        await self._health.set("", states.SERVING if serving else states.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let those under way end."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)

    async def answer(
        self, name: str, request: Message, metadata: Mapping[str, str], timeout_s: float
    ) -> Message:
        """A unary call ("fabric.x.v1.Service/Method") from this process, by the same rules and with the same errors.

        Neither side keeps a message of the other's.
        """
        method, public = self._unary_methods[name]

        async def call() -> Message:  # as a task: the caller's context stays what it is
            caller = await self._admit(metadata, public)
            reply: Message = await method(newer.drop(copy_of(request)), caller)
            return newer.drop(copy_of(reply))

        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.create_task(call())
        except FabricError as error:
            raise as_told(error) from error
        except TimeoutError as error:
            raise Unavailable("The call took too long.", rpc=name) from error
        except Exception as error:
            log.error("call broke", rpc=name, exc_info=error)
            raise FabricError(_BROKEN) from error

    def _handler(self, service: ServiceDescriptor, rpc: MethodDescriptor, method: Method) -> Any:
        name = f"{service.full_name}/{rpc.name}"
        public = self._authenticate is None or name in self._public
        kinds = {
            (False, False): (grpc.unary_unary_rpc_method_handler, self._unary),
            (True, False): (grpc.stream_unary_rpc_method_handler, self._unary),
            (False, True): (grpc.unary_stream_rpc_method_handler, self._stream),
            (True, True): (grpc.stream_stream_rpc_method_handler, self._stream),
        }
        if not (rpc.client_streaming or rpc.server_streaming):
            self._unary_methods[name] = method, public
        make, wrap = kinds[rpc.client_streaming, rpc.server_streaming]
        return make(
            wrap(name, method, public),
            request_deserializer=partial(_received, GetMessageClass(rpc.input_type)),
            response_serializer=_sent,
        )

    def _unary(self, name: str, method: Method, public: bool) -> Callable[[Any, Any], Awaitable[Any]]:
        async def handle(request: Any, context: Any) -> Any:
            started = time.perf_counter()
            try:
                caller = await self._enter(context, public)
                reply = await method(request, caller)
                self._leave(context, caller)
                return reply
            except FabricError as error:
                log.info(
                    "call refused", rpc=name, reason=error.reason, cause=error.message, facts=error.facts
                )
                await abort(context, error)
            except Exception as error:
                await _broken(name, context, error)
            finally:
                seconds = time.perf_counter() - started
                if seconds > 1.0:
                    log.warning("call was slow", rpc=name, seconds=round(seconds, 3))

        return handle

    def _stream(self, name: str, method: Method, public: bool) -> Callable[[Any, Any], AsyncIterator[Any]]:
        async def handle(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                caller = await self._enter(context, public)
                async for reply in method(request, caller):
                    yield reply
                self._leave(context, caller)
            except FabricError as error:
                log.info("call refused", rpc=name, reason=error.reason, cause=error.message)
                await abort(context, error)
            except Exception as error:
                await _broken(name, context, error)

        return handle

    async def _enter(self, context: Any, public: bool) -> Caller:
        self._peer_check(context)
        metadata = dict(context.invocation_metadata() or ())
        caller = await self._admit(metadata, public)
        if not public and caller.access is not None and not allows(caller.access, metadata.get(ASKED, "")):
            raise Unauthenticated(_NOT_KNOWN, cause="no access rule allows it")
        return caller

    async def _admit(self, metadata: Mapping[str, str], public: bool) -> Caller:
        request_id = metadata.get(REQUEST, "")
        structlog.contextvars.bind_contextvars(**{REQUEST_ID: request_id})
        if self._freshness is not None:
            wanted = metadata.get(REVISION)
            await self._freshness.fresh(int(wanted) if wanted is not None and wanted.isdigit() else None)
        caller = ANONYMOUS
        token = metadata.get(TOKEN, "")
        if self._authenticate is not None and (token or not public):
            try:
                caller = self._authenticate(token)
            except Unauthenticated:
                if not public:
                    raise
        caller = replace(caller, request_id=request_id)
        set_current(caller)
        return caller

    def _leave(self, context: Any, caller: Caller) -> None:
        roles = ",".join(sorted(caller.roles))
        trailing = [(ROLES, roles), (PROJECT, caller.project_id), (USER, caller.user_id)]
        if self._freshness is not None:
            trailing.append((REVISION, str(self._freshness.revision())))
        context.set_trailing_metadata(trailing)


def _received(kind: type[Message], data: bytes) -> Message:
    return newer.drop(kind.FromString(data))


def _sent(reply: Message) -> bytes:
    return (newer.drop(copy_of(reply)) if newer.KINDS else reply).SerializeToString()


async def _broken(name: str, context: Any, error: Exception) -> None:
    if isinstance(error, aio.AbortError):
        raise error
    log.error("call broke", rpc=name, exc_info=error)
    await abort(context, FabricError(_BROKEN))
