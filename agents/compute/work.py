"""Work that takes longer than a reconcile step may: it runs beside the loop, one task a key."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Work:
    """A step starts it and returns; when it ends, those that wait for it are woken and read how it ended."""

    def __init__(self, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._waiting: dict[str, set[str]] = {}

    def running(self, key: str) -> bool:
        return key in self._tasks and not self._tasks[key].done()

    def start(self, key: str, waiting: str, make: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run it unless it runs already; `waiting` is woken at its end."""
        self._waiting.setdefault(key, set()).add(waiting)
        if key not in self._tasks:
            task = asyncio.create_task(make(), name=key)
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))

    def raise_failure(self, key: str) -> None:
        """Forget a task that is done; raise what it raised."""
        task = self._tasks.get(key)
        if task is not None and task.done():
            del self._tasks[key]
            task.result()

    async def stop(self, key: str) -> None:
        """Cancel it, and forget how it ended."""
        task = self._tasks.pop(key, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Cancel all of it."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    def _ended(self, key: str, task: asyncio.Task[Any]) -> None:
        if (task.cancelled() or task.exception() is None) and self._tasks.get(key) is task:
            del self._tasks[key]
        for waiting in self._waiting.pop(key, ()):
            self._wake(waiting)
