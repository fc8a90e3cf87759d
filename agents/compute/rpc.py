"""What controllers and gateways may ask a node's compute agent directly."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from agents.compute.driver import ComputeDriver
from fabric.compute.v1 import node_pb2, node_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
CheckTicket = Callable[[Context, str, str], Awaitable[None]]


class ComputeNode(node_pb2_grpc.ComputeNodeServiceServicer):
    """check_ticket(context, server_id, ticket) raises PermissionDenied; an interceptor tells the caller."""

    def __init__(self, driver: ComputeDriver, check_ticket: CheckTicket) -> None:
        self._driver = driver
        self._check_ticket = check_ticket

    async def ReadConsoleLog(
        self, request: node_pb2.ReadConsoleLogRequest, context: Context
    ) -> node_pb2.ReadConsoleLogResponse:
        await self._check_ticket(context, request.server_id, request.ticket)
        output = await self._driver.console_log(request.server_id, max(0, request.max_bytes))
        return node_pb2.ReadConsoleLogResponse(output=output)
