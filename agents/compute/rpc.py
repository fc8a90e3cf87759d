"""What controllers and gateways may ask a node's compute agent directly."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from agents.compute.driver import ComputeDriver, Console, GuestAgentAway
from fabric.compute.v1 import console_pb2, node_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument

CheckTicket = Callable[[str, str, str], None]
_AGENT_STARTS_S, _LOOK_AGAIN_S = 40.0, 0.5


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

    async def UseConsole(
        self, requests: AsyncIterator[node_pb2.UseConsoleRequest], caller: Caller
    ) -> AsyncIterator[node_pb2.UseConsoleResponse]:
        first = await anext(requests, None)
        if first is None:
            raise InvalidArgument("Which console is not said.", field="server_id")
        self._check_ticket(first.ticket, first.server_id, console_pb2.ConsoleKind.Name(first.kind))
        console = await self._driver.console(first.server_id, first.kind)
        typing = asyncio.create_task(_type(requests, console))
        try:
            while data := await console.read():
                yield node_pb2.UseConsoleResponse(data=data)
        finally:
            typing.cancel()
            await asyncio.gather(typing, return_exceptions=True)
            console.close()

    async def SetGuestPassword(
        self, request: node_pb2.SetGuestPasswordRequest, caller: Caller
    ) -> node_pb2.SetGuestPasswordResponse:
        self._check_ticket(request.ticket, request.server_id, "password")
        deadline = time.monotonic() + _AGENT_STARTS_S
        while True:
            try:
                await self._driver.ensure_password(request.server_id, request.user, request.password)
                return node_pb2.SetGuestPasswordResponse()
            except GuestAgentAway:  # perhaps the guest is booting
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_LOOK_AGAIN_S)


async def _type(requests: AsyncIterator[node_pb2.UseConsoleRequest], console: Console) -> None:
    """Until who uses it goes away."""
    try:
        async for request in requests:
            await console.write(request.data)
    finally:
        console.close()
