"""Servers that are found on the node and that nobody wants there: after a time of grace they go."""

from collections.abc import Callable
from datetime import timedelta

import structlog

from agents.compute.driver import ComputeDriver

log = structlog.get_logger(__name__)


class Orphans:
    """What a controller that was restored from an old backup does not know is not lost at once."""

    def __init__(self, driver: ComputeDriver, clock: Callable[[], float], grace: timedelta) -> None:
        self._driver = driver
        self._clock = clock
        self._grace_s = grace.total_seconds()
        self._since: dict[str, float] = {}

    def ids(self) -> list[str]:
        return list(self._since)

    def forget(self, server_id: str) -> None:
        """It is wanted, or it is gone."""
        self._since.pop(server_id, None)

    async def leave(self, server_id: str) -> timedelta | None:
        """Remove it when its time is over. Returns when to look again; None: it is gone."""
        if await self._driver.find(server_id) is None:
            return None
        now = self._clock()
        left_s = self._since.setdefault(server_id, now) + self._grace_s - now
        if left_s > 0:
            log.warning("a server that nobody wants is here", server=server_id, removed_in_s=round(left_s))
            return timedelta(seconds=left_s)
        log.warning("a server that nobody wants is removed", server=server_id)
        await self._driver.remove(server_id)
        return timedelta(0)
