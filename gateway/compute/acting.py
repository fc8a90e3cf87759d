"""What the actions of servers are made of."""

from collections.abc import Awaitable, Callable
from typing import Any

from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.compute.body import Rule
from gateway.core.http import TIMEOUT_S, Request, Response

Act = Callable[[Request, Any], Awaitable[Response]]
Known = tuple[Act, Rule, str, str]  # the handler, its body, since and until which microversion


async def run(request: Request, *, status: int = 202, timeout: float = TIMEOUT_S, **action: Any) -> Response:
    """ActOnServer with this action; it goes on after the answer."""
    asked = pb.ActOnServerRequest(id=request.params["server_id"], **action)
    await request.call(request.stub(ServerServiceStub).ActOnServer, asked, timeout=timeout)
    return Response(status)


def plain(name: str, status: int = 202) -> Act:
    """An action that says nothing but its name."""

    async def act(request: Request, value: Any) -> Response:
        message = pb.ActOnServerRequest(id=request.params["server_id"])
        getattr(message, name).SetInParent()
        await request.call(request.stub(ServerServiceStub).ActOnServer, message)
        return Response(status)

    return act
