"""What the agent only remembers: whom it asked to power off, who failed. Losing it costs time, never truth."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from fabric.compute.v1 import server_pb2 as pb
from fabric.type.v1 import meta_pb2

PRESS_EVERY_S = 5.0  # a guest that is still booting does not hear it the first time
_TELL_AFTER_S = 1.0  # a reason that all may see, not worth a write for guests that are quick


@dataclass
class _Pressed:
    generation: int
    first: float
    last: float


class Buttons:
    """The power buttons that were pressed, by server."""

    def __init__(self, clock: Callable[[], float], remember: timedelta) -> None:
        """remember: longer than any guest takes that has heard it."""
        self._clock = clock
        self._remember_s = remember.total_seconds()
        self._pressed: dict[str, _Pressed] = {}

    def due(self, server: pb.Server) -> bool:
        """Note that it is pressed, if it is time to press it (again)."""
        now = self._clock()
        pressed = self._pressed.get(server.meta.id)
        if pressed is None or pressed.generation != server.meta.generation:
            self._pressed[server.meta.id] = _Pressed(server.meta.generation, now, now)
            return True
        if now - pressed.last < PRESS_EVERY_S:
            return False
        pressed.last = now
        return True

    def note(self, server: pb.Server) -> None:
        """Remember, as if it had been pressed, that the guest is turned off by us."""
        now = self._clock()
        self._pressed.setdefault(server.meta.id, _Pressed(server.meta.generation, now, now))

    def pressed(self, server_id: str) -> bool:
        """Whether we turned it off lately: it is then not off by its own will."""
        pressed = self._pressed.get(server_id)
        if pressed is not None and self._clock() - pressed.first > self._remember_s:
            del self._pressed[server_id]
            return False
        return pressed is not None

    def ignored(self, server: pb.Server, limit: timedelta) -> bool:
        """Whether the guest had its time."""
        pressed = self._pressed.get(server.meta.id)
        if pressed is None or pressed.generation != server.meta.generation:
            return False
        return self._clock() - pressed.first >= limit.total_seconds()

    def worth_telling(self, server_id: str) -> bool:
        """Whether it takes long enough to be reported."""
        return self._clock() - self._pressed[server_id].first >= _TELL_AFTER_S

    def forget(self, server_id: str) -> None:
        self._pressed.pop(server_id, None)


@dataclass
class _Failed:
    generation: int
    until: float
    times: int


class Failures:
    """Servers that failed: tried again only after a while, or when they are changed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: dict[str, _Failed] = {}

    def times(self, meta: meta_pb2.Meta) -> int:
        """How often the present generation failed."""
        failed = self._failed.get(meta.id)
        return failed.times if failed is not None and failed.generation == meta.generation else 0

    def note(self, meta: meta_pb2.Meta, pause: timedelta) -> None:
        """It failed once more; leave it alone for so long."""
        until = self._clock() + pause.total_seconds()
        self._failed[meta.id] = _Failed(meta.generation, until, self.times(meta) + 1)

    def pause_left(self, meta: meta_pb2.Meta) -> timedelta | None:
        """How long it is left alone; None: not at all."""
        failed = self._failed.get(meta.id)
        if failed is None:
            return None
        if failed.generation != meta.generation or meta.HasField("delete_time"):
            self.forget(meta.id)
            return None
        left = failed.until - self._clock()
        return timedelta(seconds=left) if left > 0 else None

    def forget(self, server_id: str) -> None:
        self._failed.pop(server_id, None)
