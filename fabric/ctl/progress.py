"""What a long command says while it works: each stage, what it waits for, how long it took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
HEARTBEAT_S = 5.0
INTERVAL_S = 0.05


class TookTooLong(Exception):
    """A stage did not come to its end; the message says what it waited for."""


class Progress:
    """Lines on standard output, with the time since the command began."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.stages: dict[str, float] = {}

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:5.1f} s] {text}", flush=True)

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Tell of the stage's begin and end, and remember how long it took."""
        began = time.monotonic()
        self.say(f"{title} ...")
        yield
        self.stages[title] = time.monotonic() - began
        self.say(f"{title}: done in {self.stages[title]:.1f} s")

    def wait(
        self,
        what: Callable[[], str],
        look: Callable[[], T | None],
        timeout_s: float,
        *,
        every_s: float = INTERVAL_S,
    ) -> T:
        """Look until there is something, saying every few seconds what it waits for. Raises TookTooLong."""
        began = said = time.monotonic()
        while (found := look()) is None:
            now = time.monotonic()
            if now - began > timeout_s:
                raise TookTooLong(f"{what()} (waited {timeout_s:.0f} s)")
            if now - said > HEARTBEAT_S:
                said = now
                self.say(f"  waiting for {what()}")
            time.sleep(every_s)
        return found

    def summary(self) -> list[str]:
        """One line a stage, and the total."""
        width = max(map(len, self.stages), default=0)
        total = time.monotonic() - self._began
        return [
            f"{title:<{width}} {taken:6.1f} s" for title, taken in {**self.stages, "total": total}.items()
        ]
