"""The WebSocket of a console: between whoever shows its ticket and the agent of the server's node."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import grpc
import structlog

from fabric.compute.v1 import console_pb2, node_pb2
from fabric.compute.v1.console_pb2_grpc import ConsoleServiceStub
from fabric.compute.v1.node_pb2_grpc import ComputeNodeServiceStub
from gateway.core.dialect import Receive, Send
from gateway.core.upstream import Upstream

log = structlog.get_logger(__name__)

PATH = "/console/socket"
_TIMEOUT_S = 10.0
_REFUSED, _OVER, _BROKEN = 1008, 1000, 1011  # RFC 6455, 7.4.1


async def serve(scope: Mapping[str, Any], receive: Receive, send: Send, upstream: Upstream) -> None:
    """Until either side ends it. Without a valid ticket it is refused with 403."""
    await receive()
    ticket = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
    try:
        asked = console_pb2.FindConsoleRequest(ticket=ticket)
        find = upstream.stub(ConsoleServiceStub).FindConsole
        found, _ = await upstream.call(find, asked, (), timeout=_TIMEOUT_S, retry=True)
    except grpc.aio.AioRpcError as error:
        log.info("console refused", cause=error.details())
        return await send({"type": "websocket.close", "code": _REFUSED})
    offered = scope.get("subprotocols", ())
    chosen = "binary" if "binary" in offered else None
    await send({"type": "websocket.accept", "subprotocol": chosen})
    log.info("console opened", server=found.server_id, address=found.address)
    use: Any = upstream.stub(ComputeNodeServiceStub, found.address).UseConsole
    call = use(_typed(found, receive))
    code = _OVER
    try:
        async for shown in call:
            await send({"type": "websocket.send", "bytes": shown.data})
    except grpc.aio.AioRpcError as error:
        code = _BROKEN
        log.info("console broke", server=found.server_id, cause=error.details())
    finally:
        call.cancel()
    log.info("console closed", server=found.server_id)
    return await send({"type": "websocket.close", "code": code})


async def _typed(
    found: console_pb2.FindConsoleResponse, receive: Receive
) -> AsyncIterator[node_pb2.UseConsoleRequest]:
    """What the agent is sent."""
    yield node_pb2.UseConsoleRequest(server_id=found.server_id, kind=found.kind, ticket=found.ticket)
    while (event := await receive())["type"] == "websocket.receive":
        data = event.get("bytes") or (event.get("text") or "").encode()
        yield node_pb2.UseConsoleRequest(data=data)
