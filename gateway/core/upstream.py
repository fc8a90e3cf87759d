"""The gateway's gRPC channel to the controllers: balanced, patient with restarts, reading its own writes."""

import asyncio
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import grpc

from fabric.runtime.channel import KEEPALIVE, WINDOW, Channel
from fabric.runtime.tls import CONTROLLER, Identity

StubT = TypeVar("StubT")
Metadata = tuple[tuple[str, str], ...]

MAX_MESSAGE_BYTES = 256 * 2**20
RETRIES = 2  # of calls whose reply was lost and that may be repeated
_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    *KEEPALIVE,
    ("grpc.enable_retries", 0),  # ours: only what may be repeated
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
)


class Upstream:
    """Connects at the first use, in the event loop that serves."""

    def __init__(self, controllers: Sequence[str] = (), identity: Identity | None = None) -> None:
        self._identity = identity
        self._channels: dict[str, Channel] = {}  # by address; "": the controllers
        self._stubs: dict[tuple[type[Any], str], Any] = {}
        self._revision = 0
        self._known = asyncio.Event()
        self._target = ""
        self.use(controllers)

    def use(self, controllers: Sequence[str]) -> None:
        """Call these from now on; what is under way ends where it is. None: calls wait for some."""
        if controllers:
            self._target = _target(controllers)
            self._known.set()
        else:
            self._known.clear()

    @property
    def knows_any(self) -> bool:
        """Whether there is any controller to call."""
        return self._known.is_set()

    def stub(self, kind: type[StubT], address: str = "") -> StubT:
        """The stub of a service of the controllers, or of the agent at host:port; the same one each time."""
        stub = self._stubs.get((kind, address))
        if stub is None:
            make: Any = kind
            stub = self._stubs[kind, address] = make(self._channel(address))
        return stub  # type: ignore[no-any-return]

    def _channel(self, address: str) -> Channel:
        channel = self._channels.get(address)
        if channel is None:
            identity = self._identity
            channel = self._channels[address] = Channel(
                lambda: self._open(address), lambda: (address or self._target, identity and identity.version)
            )
        return channel

    def _open(self, address: str) -> grpc.aio.Channel:
        target = address or self._target
        options = (*_OPTIONS, *(WINDOW if address else ()))  # agents send bulk bytes
        if self._identity is None:
            return grpc.aio.insecure_channel(target, options=options)
        peer = () if address else (("grpc.ssl_target_name_override", CONTROLLER),)
        return grpc.aio.secure_channel(target, self._identity.credentials(), options=(*options, *peer))

    async def _somebody(self, timeout_s: float) -> None:
        """Return when any controller is known. Raises AioRpcError."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._known.wait()
        except TimeoutError as error:
            nothing = grpc.aio.Metadata()
            code = grpc.StatusCode.UNAVAILABLE
            raise grpc.aio.AioRpcError(code, nothing, nothing, "no controller is known", "") from error

    async def call(
        self,
        method: Any,
        message: Any,
        metadata: Metadata,
        *,
        timeout: float,
        retry: bool,
        removes: bool = False,
    ) -> tuple[Any, Mapping[str, str]]:
        """The reply and its trailing metadata. retry: ask again after a lost reply: to do it twice is to do
        it once. removes: what is not found when asked again was removed before: the reply is None.

        A call waits up to its deadline (seconds) for a controller to be there. Raises AioRpcError.
        """
        await self._somebody(timeout)
        tries = left = RETRIES if retry else 0
        while True:
            call = method(message, metadata=self._stamped(metadata), timeout=timeout, wait_for_ready=True)
            try:
                reply = await call
                return reply, self._seen(await call.trailing_metadata())
            except grpc.aio.AioRpcError as error:
                if removes and left < tries and error.code() is grpc.StatusCode.NOT_FOUND:
                    return None, self._seen(error.trailing_metadata())
                if error.code() is not grpc.StatusCode.UNAVAILABLE or not left:
                    raise
                left -= 1
                await asyncio.sleep(0.1)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    def _stamped(self, metadata: Metadata) -> Metadata:
        return (*metadata, ("fabric-revision", str(self._revision))) if self._revision else metadata

    def _seen(self, trailing: Any) -> dict[str, str]:
        seen = dict(trailing or ())
        revision = seen.get("fabric-revision", "")
        if revision.isdigit():
            self._revision = max(self._revision, int(revision))
        return seen


def _target(controllers: Sequence[str]) -> str:
    """One name is left to gRPC's resolver; of several, the addresses are listed (names are resolved once)."""
    if len(controllers) == 1:
        return controllers[0]
    addresses = []
    for controller in controllers:
        host, _, port = controller.rpartition(":")
        found = socket.getaddrinfo(host.strip("[]"), int(port), socket.AF_INET, socket.SOCK_STREAM)
        addresses += ["{}:{}".format(*entry[4][:2]) for entry in found]
    return "ipv4:" + ",".join(addresses)
