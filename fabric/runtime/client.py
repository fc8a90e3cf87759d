"""Calls from one service to another, and to agents, over gRPC."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from fabric.runtime.caller import Caller
from fabric.runtime.channel import KEEPALIVE, Channel
from fabric.runtime.errors import from_rpc
from fabric.runtime.rpc import REQUEST, REVISION, TOKEN, Server
from fabric.runtime.tls import Identity, Stranger

OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    *KEEPALIVE,
]


class Client:
    """Stubs of one address. Errors come back as the FabricError that was raised there."""

    def __init__(
        self,
        address: str,
        *,
        service_token: Callable[[], str] = str,
        revision: Callable[[], int] | None = None,
        identity: Identity | Stranger | None = None,
        peer: str = "",
        here: Server | None = None,
    ) -> None:
        """service_token: used when a call is in nobody's name; revision: what the callee must have seen;
        peer: the name that its certificate must have; empty: its address; here: the server, if it is one
        of this process: unary calls do not take the wire then."""
        options = [*OPTIONS, *([("grpc.ssl_target_name_override", peer)] if identity and peer else [])]

        def open_() -> grpc.aio.Channel:
            if identity is None:
                return grpc.aio.insecure_channel(address, options=options)
            return grpc.aio.secure_channel(address, identity.credentials(), options=options)

        self._channel = Channel(open_, lambda: identity and identity.version)
        self._service_token = service_token
        self._revision = revision
        self._here = here
        self._stubs: dict[type, Any] = {}

    def stub(self, kind: type) -> Any:
        """The stub itself, for streams."""
        found = self._stubs.get(kind)
        if found is None:
            found = self._stubs[kind] = kind(self._channel)
        return found

    def metadata(self, caller: Caller | None, request_id: str = "") -> list[tuple[str, str]]:
        """What a call carries; caller None: the service itself calls."""
        found = [
            (TOKEN, caller.token if caller is not None and caller.token else self._service_token()),
            (REQUEST, caller.request_id if caller is not None else request_id),
        ]
        if self._revision is not None:
            found.append((REVISION, str(self._revision())))
        return found

    async def call(
        self,
        kind: type,
        rpc: str,
        request: Any,
        caller: Caller | None = None,
        *,
        request_id: str = "",
        timeout_s: float = 30.0,
    ) -> Any:
        """One unary call: client.call(PortServiceStub, "CreatePort", request, caller)."""
        metadata = self.metadata(caller, request_id)
        if self._here is not None:
            return await self._here.answer(f"{service_of(kind)}/{rpc}", request, dict(metadata), timeout_s)
        method = getattr(self.stub(kind), rpc)
        try:
            return await method(request, timeout=timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


class Clients:
    """One client an address, for agents whose addresses come from their life signs."""

    def __init__(self, identity: Identity | None = None) -> None:
        self._identity = identity
        self._clients: dict[str, Client] = {}

    def at(self, address: str) -> Client:
        """The client of the address."""
        found = self._clients.get(address)
        if found is None:
            found = self._clients[address] = Client(address, identity=self._identity)
        return found

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))


def service_of(stub: type) -> str:
    """The full name of the service that a generated stub calls."""
    return f"{stub.__module__.rpartition('.')[0]}.{stub.__name__.removesuffix('Stub')}"
