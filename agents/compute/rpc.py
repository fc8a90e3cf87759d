"""What controllers and gateways may ask a node's compute agent directly."""

from collections.abc import Awaitable, Callable

from agents.compute.driver import ComputeDriver
from fabric.compute.v1 import node_pb2
from fabric.runtime.caller import Caller

CheckTicket = Callable[[Caller, str, str], Awaitable[None]]


class ComputeNode:
    """ComputeNodeService. check_ticket(caller, server_id, ticket) raises PermissionDenied."""

    def __init__(self, driver: ComputeDriver, check_ticket: CheckTicket) -> None:
        self._driver = driver
        self._check_ticket = check_ticket

    async def ReadConsoleLog(
        self, request: node_pb2.ReadConsoleLogRequest, caller: Caller
    ) -> node_pb2.ReadConsoleLogResponse:
        await self._check_ticket(caller, request.server_id, request.ticket)
        output = await self._driver.console_log(request.server_id, max(0, request.max_bytes))
        return node_pb2.ReadConsoleLogResponse(output=output)
