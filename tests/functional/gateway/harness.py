"""The gateway in this process, in front of a controller in this process that keeps networks in a dict."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import orjson

from fabric.network.v1 import network_pb2 as pb
from fabric.network.v1 import network_pb2_grpc as rpc
from fabric.runtime import errors
from gateway.core.app import Application, application
from gateway.core.upstream import Upstream
from gateway.network.api import API


class Networks(rpc.NetworkServiceServicer):
    """Tokens are role names; each write is one revision."""

    def __init__(self) -> None:
        self.networks: dict[str, pb.Network] = {}
        self.revision = 0
        self.metadata: dict[str, str] = {}

    def _caller(self, context: Any, *, write: bool = False) -> None:
        self.metadata = dict(context.invocation_metadata())
        self.revision += write
        token = self.metadata.get("x-auth-token", "")
        context.set_trailing_metadata(
            (("fabric-roles", token), ("fabric-project", "p1"), ("fabric-revision", str(self.revision)))
        )

    async def _found(self, network_id: str, context: Any) -> pb.Network:
        if network_id not in self.networks:
            error = errors.NotFound(f"Network {network_id} could not be found.", reason="NETWORK_NOT_FOUND")
            await errors.abort(context, error)
        return self.networks[network_id]

    async def CreateNetwork(self, request: pb.CreateNetworkRequest, context: Any) -> pb.Network:
        self._caller(context, write=True)
        network = request.network
        if network.meta.name == "over":
            await errors.abort(
                context, errors.QuotaExceeded("Quota exceeded for resources: ['network'].", limit=1)
            )
        if network.meta.name == "bug":
            raise RuntimeError("a secret")
        if network.meta.name == "slow":
            await asyncio.sleep(1)
        network.meta.id = str(uuid.uuid4())
        network.meta.create_time.GetCurrentTime()
        self.networks[network.meta.id] = network
        return network

    async def BatchCreateNetworks(
        self, request: pb.BatchCreateNetworksRequest, context: Any
    ) -> pb.BatchCreateNetworksResponse:
        made = [await self.CreateNetwork(one, context) for one in request.requests]
        return pb.BatchCreateNetworksResponse(networks=made)

    async def GetNetwork(self, request: pb.GetNetworkRequest, context: Any) -> pb.Network:
        self._caller(context)
        return await self._found(request.id, context)

    async def ListNetworks(self, request: pb.ListNetworksRequest, context: Any) -> pb.ListNetworksResponse:
        self._caller(context)
        query = request.query
        networks = list(self.networks.values())
        for condition in query.filters:
            if condition.path == "meta.name":
                networks = [network for network in networks if network.meta.name in condition.values]
        start = 1 + [network.meta.id for network in networks].index(query.marker) if query.marker else 0
        page = networks[start : start + query.limit] if query.limit else networks[start:]
        more = len(networks) > start + len(page)
        return pb.ListNetworksResponse(networks=page, next_marker=page[-1].meta.id if more else "")

    async def UpdateNetwork(self, request: pb.UpdateNetworkRequest, context: Any) -> pb.Network:
        self._caller(context, write=True)
        network = await self._found(request.network.meta.id, context)
        request.update_mask.MergeMessage(request.network, network, True, True)
        return network

    async def DeleteNetwork(self, request: pb.DeleteNetworkRequest, context: Any) -> pb.Network:
        self._caller(context, write=True)
        network = await self._found(request.id, context)
        del self.networks[request.id]
        return network


class Settings:
    public_url = ""
    catalog_url = ""
    cors_origins = ("https://dashboard.example.org",)
    network_path = "/network"


class Answer:
    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], raw: bytes) -> None:
        self.status, self.raw = status, raw
        self.headers = {key.decode(): value.decode() for key, value in headers}

    @property
    def json(self) -> Any:
        return orjson.loads(self.raw)


class Client:
    """Calls the ASGI application as uvicorn would."""

    def __init__(self, app: Application, token: str = "admin") -> None:
        self.app, self.token = app, token

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        token: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        content = raw if raw is not None else b"" if body is None else orjson.dumps(body)
        token = self.token if token is None else token
        given = (
            {"host": "cloud:8080", "content-length": str(len(content))}
            | ({"x-auth-token": token} if token else {})
            | (headers or {})
        )
        raw_path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": raw_path,
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "headers": [(key.lower().encode(), value.encode("latin-1")) for key, value in given.items()],
            "scheme": "http",
            "server": ("127.0.0.1", 8080),
        }
        events: list[dict[str, Any]] = []

        bodies = [content]

        async def receive() -> dict[str, Any]:
            if not bodies:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}

        async def send(event: dict[str, Any]) -> None:
            events.append(event)

        await self.app(scope, receive, send)
        received = b"".join(event["body"] for event in events[1:])
        return Answer(events[0]["status"], events[0]["headers"], received)


@contextlib.asynccontextmanager
async def controller(networks: Networks) -> AsyncIterator[int]:
    """Its gRPC server; gives the port."""
    server = grpc.aio.server()
    rpc.add_NetworkServiceServicer_to_server(networks, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield port
    await server.stop(None)


@contextlib.asynccontextmanager
async def serving(networks: Networks) -> AsyncIterator[Client]:
    """The gateway in front of that controller."""
    async with controller(networks) as port:
        upstream = Upstream([f"127.0.0.1:{port}"])
        yield Client(application([API], upstream, Settings()))
        await upstream.close()
