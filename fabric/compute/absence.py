"""How long nodes have been without a live compute agent, as this controller has seen it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from fabric.compute.node import NODES, lives
from fabric.runtime.store import Store


class Absences:
    """A controller that begins to look gives every node the whole time."""

    def __init__(
        self, store: Store, patience: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """patience: after so long what may run only under a lease does not run there."""
        self._store = store
        self._patience_s = patience.total_seconds()
        self._clock = clock
        self._began = clock()
        self._since: dict[str, float] = {}

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow the life signs meanwhile."""
        stop = self._store.on_life(self._changed)
        try:
            yield
        finally:
            stop()

    def is_lost(self, node: str) -> bool:
        """Whether it has been away for the whole time."""
        return self.left(node) == timedelta(0)

    def left(self, node: str) -> timedelta | None:
        """When it is lost if it does not come back before; None: it is alive."""
        if node in lives(self._store):
            return None
        gone_s = self._clock() - self._since.get(node, self._began)
        return timedelta(seconds=max(0.0, self._patience_s - gone_s))

    def lost(self) -> list[str]:
        """The nodes that are lost now."""
        return [node.meta.name for node in self._store.table(NODES) if self.is_lost(node.meta.name)]

    def _changed(self, node: str) -> None:
        if node in lives(self._store):
            self._since.pop(node, None)
        else:
            self._since.setdefault(node, self._clock())
