"""How long nodes have been without their network agent."""

import time
from datetime import timedelta

from fabric.network.agent import life_of
from fabric.runtime.store import Store

PATIENCE = timedelta(seconds=1)  # an agent that is started again comes back within it, and loses nothing


class Absence:
    """As far as this process has watched."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gone: dict[str, float] = {}  # node without a network agent -> since when

    def seconds(self, node: str) -> float | None:
        """None: it has an agent, or there is no node."""
        if not node or life_of(self._store, node) is not None:
            return None
        return time.monotonic() - self._gone.setdefault(node, time.monotonic())

    def look(self, node: str) -> None:
        """The node's agent has come or gone."""
        if life_of(self._store, node) is not None:
            self._gone.pop(node, None)
        else:
            self._gone.setdefault(node, time.monotonic())
