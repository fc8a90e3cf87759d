"""What is ours and wanted by nobody, and for how long it has been so."""

import time
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta

from agents.network.driver import Holding


class Orphans:
    """A thing is due for removal when each look since the grace period began found it without a want."""

    def __init__(self, grace: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace_s = grace.total_seconds()
        self._clock = clock
        self._since: dict[Holding, float] = {}
        self._start = clock()

    @property
    def settled(self) -> bool:
        """Whether the grace period after our start is over."""
        return self._clock() - self._start >= self._grace_s

    def due(self, held: Iterable[Holding], wanted: Collection[str]) -> list[Holding]:
        """Those that are now to be removed; wanted: ids of owners."""
        now = self._clock()
        alone = [holding for holding in held if holding.owner_id not in wanted]
        self._since = {holding: self._since.get(holding, now) for holding in alone}
        return [holding for holding in alone if now - self._since[holding] >= self._grace_s]
