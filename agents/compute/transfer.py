"""Servers that come from other nodes and go to them: the work that takes longer than a step may."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import structlog

from agents.compute.driver import ChangedMeanwhile, ComputeDriver, HypervisorRefused, Piece
from agents.compute.work import Work
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import FabricError

log = structlog.get_logger(__name__)

FetchFiles = Callable[[str, pb.Transfer], AsyncIterator[Piece]]


class Transfers:
    """What it only remembers is which migration could not be sent; after a restart it is tried once more."""

    def __init__(self, driver: ComputeDriver, work: Work, fetch: FetchFiles) -> None:
        """fetch: the files that a server has on the node that it leaves."""
        self._driver = driver
        self._work = work
        self._fetch = fetch
        self._failed: dict[str, tuple[str, str]] = {}  # server -> migration, why

    def receive(self, want: pb.ServerWant, base: Path | None) -> None:
        """Make the files here; raises what went wrong with that last time."""
        server_id = want.server.meta.id
        key = f"receive {server_id}"
        self._work.raise_failure(key)
        pieces = self._fetch(server_id, want.transfer)
        self._work.start(key, server_id, lambda: self._driver.ensure_received(want, base, pieces))

    def send(self, want: pb.ServerWant) -> None:
        """Send the running domain; sending() and failed() tell how it goes."""
        server_id = want.server.meta.id
        self._work.start(_sending(server_id), server_id, lambda: self._send(want))

    def sending(self, server_id: str) -> bool:
        return self._work.running(_sending(server_id))

    def failed(self, want: pb.ServerWant) -> str:
        """Why this migration could not be sent; empty: it has not failed."""
        migration_id, message = self._failed.get(want.server.meta.id, ("", ""))
        return message if migration_id == want.transfer.migration_id else ""

    def forget(self, server_id: str) -> None:
        self._failed.pop(server_id, None)

    async def _send(self, want: pb.ServerWant) -> None:
        server_id, transfer = want.server.meta.id, want.transfer
        try:
            await self._driver.send(server_id, transfer)
        except (HypervisorRefused, ChangedMeanwhile) as error:
            self._failed[server_id] = (transfer.migration_id, error.message)
            log.error("server not sent", server=server_id, cause=error.message)
        except FabricError as error:  # cut off from the hypervisor: what is found there tells how it went on
            log.warning("sending is not watched any more", server=server_id, cause=error.message)
        else:
            log.info("server sent", server=server_id, migration=transfer.migration_id)


def _sending(server_id: str) -> str:
    return f"send {server_id}"
