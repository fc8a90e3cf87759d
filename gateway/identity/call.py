"""Handlers for RPCs that answer with one resource, or with nothing that is shown."""

from typing import Any

from gateway.core.http import Request, Response
from gateway.core.route import Handler


def act(stub: Any, rpc: str, message: Any, status: int = 204) -> Handler:
    """A handler that calls an RPC with the path's parameters as its fields and answers without a body."""

    async def handler(request: Request) -> Response:
        await request.call(getattr(request.stub(stub), rpc), message(**request.params))
        return Response(status)

    return handler
