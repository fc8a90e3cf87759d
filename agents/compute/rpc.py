"""What controllers and gateways may ask a node's compute agent directly."""

from collections.abc import AsyncIterator, Callable

from agents.compute.driver import ComputeDriver
from fabric.compute.v1 import node_pb2
from fabric.runtime.caller import Caller

CheckTicket = Callable[[str, str, str], None]


class ComputeNode:
    """ComputeNodeService. check_ticket(ticket, server_id, what it is for) raises PermissionDenied."""

    def __init__(self, driver: ComputeDriver, check_ticket: CheckTicket) -> None:
        self._driver = driver
        self._check_ticket = check_ticket

    async def ReadConsoleLog(
        self, request: node_pb2.ReadConsoleLogRequest, caller: Caller
    ) -> node_pb2.ReadConsoleLogResponse:
        self._check_ticket(request.ticket, request.server_id, "console")
        output = await self._driver.console_log(request.server_id, max(0, request.max_bytes))
        return node_pb2.ReadConsoleLogResponse(output=output)

    async def ReadServerFiles(
        self, request: node_pb2.ReadServerFilesRequest, caller: Caller
    ) -> AsyncIterator[node_pb2.ReadServerFilesResponse]:
        self._check_ticket(request.ticket, request.server_id, "fetch")
        async for piece in self._driver.read_files(request.server_id, fixed_only=request.fixed_only):
            yield node_pb2.ReadServerFilesResponse(
                name=piece.name, size_bytes=piece.size_bytes, offset=piece.offset, data=piece.data
            )
