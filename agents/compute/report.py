"""What the agent says of its servers: each report carries on what only an earlier one knew."""

from typing import Protocol

import structlog

from agents.compute.driver import Found
from agents.compute.guest_password import GuestPasswords
from agents.compute.snapshot import Snapshots
from fabric.compute.v1 import server_pb2 as pb

log = structlog.get_logger(__name__)


class Servers(Protocol):
    """What is needed of fabric.runtime.node.NodeStore."""

    def status(self, id_: str, /) -> pb.ServerStatus | None: ...
    async def report(self, id_: str, status: pb.ServerStatus, /) -> None: ...


class Reports:
    """Nothing is said twice: a write is a watch event, and rewriting the same status would never end."""

    def __init__(self, store: Servers, passwords: GuestPasswords, snapshots: Snapshots) -> None:
        self._store = store
        self._passwords = passwords
        self._snapshots = snapshots

    async def say(self, want: pb.ServerWant, found: Found | None, status: pb.ServerStatus) -> None:
        """Raises what NodeStore.report raises."""
        server_id = want.server.meta.id
        if (snapshot := self._snapshots.status(want, found)) is not None:
            status.snapshot.CopyFrom(snapshot)
        before = self._store.status(server_id)
        self._passwords.put_into(server_id, status)
        if before is not None:
            if not status.observed_generation and not status.released:
                status.observed_generation = before.observed_generation
            status.observe_time.CopyFrom(before.observe_time)
        if status != before:
            status.observe_time.GetCurrentTime()
            await self._store.report(server_id, status)
            log.info(
                "server reported",
                server=server_id,
                state=pb.ServerStatus.State.Name(status.state),
                reason=status.reason,
                released=status.released,
                generation=status.observed_generation,
            )
        self._passwords.reported(server_id, status)
