"""How long nodes have been without a live compute agent, as this controller has seen it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from fabric.compute.node import life, lives
from fabric.runtime.panel import steady_since
from fabric.runtime.store import Store
from fabric.runtime.witness import PANEL

_SOON = timedelta(seconds=1)


class Absences:
    """A controller that begins to look, or that etcd answers again, gives every node the whole time."""

    def __init__(
        self, store: Store, patience: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """patience: after so long what may run only under a lease does not run there."""
        self._store = store
        self._patience_s = patience.total_seconds()
        self._clock = clock
        self._began = clock()
        self._since: dict[str, float] = {}
        self._lives: dict[str, tuple[str, float]] = {}  # of the nodes that live: epoch, and since when

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow the life signs meanwhile."""
        stop = self._store.on_life(self._changed)
        try:
            yield
        finally:
            stop()

    def is_lost(self, node: str) -> bool:
        """Whether it has been away for the whole time, and the panel was there all the while."""
        return self.left(node) == timedelta(0)

    def left(self, node: str) -> timedelta | None:
        """When it is lost if it does not come back before; None: it is alive."""
        if node in lives(self._store):
            return None
        steady = steady_since([self._alive_since(member) for member in self._store.table(PANEL).ids()])
        if steady is None:
            return _SOON
        gone = max(self._since.get(node, self._began), steady, self._store.cache.following_since)
        return timedelta(seconds=max(0.0, self._patience_s - (self._clock() - gone)))

    def _alive_since(self, node: str) -> float | None:
        return self._lives[node][1] if node in self._lives else None

    def _changed(self, node: str) -> None:
        alive = life(self._store, node)
        if alive is None:
            self._lives.pop(node, None)
            self._since.setdefault(node, self._clock())
            return
        self._since.pop(node, None)
        if node not in self._lives or self._lives[node][0] != alive.epoch:
            self._lives[node] = (alive.epoch, self._clock())
