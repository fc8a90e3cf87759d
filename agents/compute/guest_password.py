"""Passwords that guests leave: each is in the report of its server before the guest is told so."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fabric.compute.guest_password import MOST_BYTES, left
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import Conflict, InvalidArgument, NotFound, Unavailable

_REPORTED_S = 10.0


class Servers(Protocol):
    """What is needed of fabric.runtime.node.NodeStore."""

    def get(self, id_: str, /) -> pb.ServerWant | None: ...
    def status(self, id_: str, /) -> pb.ServerStatus | None: ...


@dataclass
class _Left:
    password: str
    clears: int
    reported: asyncio.Event = field(default_factory=asyncio.Event)


class GuestPasswords:
    """Reports are the agent's: what was left here goes into each of them."""

    def __init__(self, servers: Servers, wake: Callable[[str], None]) -> None:
        """wake: have the server looked at, and reported."""
        self._servers = servers
        self._wake = wake
        self._new: dict[str, _Left] = {}  # not yet in a report

    def of(self, server_id: str) -> str:
        """What the guest has left; empty: nothing."""
        want = self._servers.get(server_id)
        status = self._servers.status(server_id) or pb.ServerStatus()
        return "" if want is None else left(want.server, status)

    async def leave(self, server_id: str, password: bytes) -> None:
        """Raises Conflict: it has left one; InvalidArgument: not a password; Unavailable: it cannot be kept now."""
        want = self._servers.get(server_id)
        if want is None:
            raise NotFound("no such server on this node", server=server_id)
        if len(password) > MOST_BYTES or not password.isascii():
            raise InvalidArgument("Request is too large.")
        if self.of(server_id):
            raise Conflict("a password was left already", server=server_id)
        new = self._new.setdefault(server_id, _Left(password.decode(), want.server.spec.password_clears))
        if new.password != password.decode():
            raise Conflict("another password is being left", server=server_id)
        self._wake(server_id)
        try:
            async with asyncio.timeout(_REPORTED_S):
                await new.reported.wait()
        except TimeoutError as error:
            raise Unavailable("the password cannot be kept now", server=server_id) from error

    def put_into(self, server_id: str, status: pb.ServerStatus) -> None:
        """Have it in the report, as it was in the one before."""
        before = self._servers.status(server_id)
        if before is not None:
            status.guest_password, status.password_clears = before.guest_password, before.password_clears
        if (new := self._new.get(server_id)) is not None:
            status.guest_password, status.password_clears = new.password, new.clears

    def reported(self, server_id: str, status: pb.ServerStatus) -> None:
        """The report has been written."""
        new = self._new.get(server_id)
        if new is not None and new.password == status.guest_password:
            new.reported.set()
            del self._new[server_id]

    def forget(self, server_id: str) -> None:
        """The server is gone."""
        self._new.pop(server_id, None)
