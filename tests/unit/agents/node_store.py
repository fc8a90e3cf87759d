"""fabric.runtime.node.NodeStore in memory, for the tests of agents."""

from collections.abc import Callable
from typing import Generic, TypeVar

from google.protobuf.message import Message

from fabric.runtime.errors import StaleRevision

WantT = TypeVar("WantT", bound=Message)
StatusT = TypeVar("StatusT", bound=Message)


class MemoryNodeStore(Generic[WantT, StatusT]):
    """What a controller would write is written with bind() and unbind()."""

    def __init__(self) -> None:
        self._wants: dict[str, WantT] = {}
        self._seen: dict[str, StatusT] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self.reports: list[tuple[str, StatusT]] = []  # every write, in order
        self.failure: Exception | None = None  # raised by the next report

    def get(self, id_: str) -> WantT | None:
        return self._wants.get(id_)

    def ids(self) -> list[str]:
        return list(self._wants)

    def status(self, id_: str) -> StatusT | None:
        return self._seen.get(id_)

    def reported_ids(self) -> list[str]:
        return list(self._seen)

    async def report(self, id_: str, status: StatusT) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        if self._seen.get(id_) == status:
            return
        if id_ not in self._wants:
            raise StaleRevision("It is not wanted any more.")
        self._seen[id_] = _copy(status)
        self.reports.append((id_, self._seen[id_]))

    async def forget(self, id_: str) -> None:
        if id_ not in self._wants:
            self._seen.pop(id_, None)

    def on_change(self, callback: Callable[[str], None]) -> None:
        self._callbacks.append(callback)
        for id_ in self._wants:
            callback(id_)

    def bind(self, id_: str, want: WantT) -> None:
        """Want it on this node, as a copy."""
        self._wants[id_] = _copy(want)
        self._tell(id_)

    def unbind(self, id_: str) -> None:
        """Want it no more, and forget the report: what a controller does with a released one."""
        self._wants.pop(id_, None)
        self._seen.pop(id_, None)
        self._tell(id_)

    def lose_report(self, id_: str) -> None:
        """What was said of it must be said again."""
        self._seen.pop(id_, None)

    def _tell(self, id_: str) -> None:
        for callback in self._callbacks:
            callback(id_)


M = TypeVar("M", bound=Message)


def _copy(message: M) -> M:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
