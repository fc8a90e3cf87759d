"""The reconcile loop: look at each thing again until it is as it should be."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

import structlog

from fabric.runtime.errors import Conflict, FabricError, LeaseLost

log = structlog.get_logger(__name__)

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 15.0


class Loop:
    """Calls reconcile for each id that was woken, and for all now and then; never twice at once for one id.

    reconcile returns when to look again (None: at the next change). When it raises, it is called again
    after a pause that doubles each time; a Conflict (somebody was faster) is looked at again at once.
    LeaseLost ends the loop, since whoever lost the lease must not write. With a rest, an id that has just been
    looked at is left alone for so long, so that what changes often is done once for many changes.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[str], Awaitable[timedelta | None]],
        ids: Callable[[], Iterable[str]],
        *,
        resync: timedelta = timedelta(minutes=5),
        concurrency: int = 8,
        rest: timedelta = timedelta(0),
    ) -> None:
        self._name = name
        self._reconcile = reconcile
        self._ids = ids
        self._resync_s = resync.total_seconds()
        self._rest_s = rest.total_seconds()
        self._due: dict[str, None] = {}  # woken, in order
        self._busy: set[str] = set()
        self._again: set[str] = set()  # woken while busy
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._slots = asyncio.Semaphore(concurrency)
        self._wake = asyncio.Event()

    def wake(self, id_: str) -> None:
        """Look at the id soon."""
        if timer := self._timers.pop(id_, None):
            timer.cancel()
        if id_ in self._busy:
            self._again.add(id_)
            return
        self._due[id_] = None
        self._wake.set()

    def wake_all(self) -> None:
        """Look at everything soon."""
        for id_ in self._ids():
            self.wake(id_)

    async def run(self) -> None:
        """Work until cancelled, or until LeaseLost, which is raised."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._resync())
                while True:
                    await self._wake.wait()
                    await self._slots.acquire()
                    if not self._due:
                        self._slots.release()
                        self._wake.clear()
                        continue
                    id_ = next(iter(self._due))
                    del self._due[id_]
                    self._busy.add(id_)
                    tasks.create_task(self._step(id_))
        except* LeaseLost as lost:
            raise lost.exceptions[0] from None
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()
            self._busy.clear()

    async def _resync(self) -> None:
        while True:
            self.wake_all()
            await asyncio.sleep(self._resync_s * random.uniform(0.9, 1.1))

    async def _step(self, id_: str) -> None:
        again: timedelta | None = None
        try:
            again = await self._reconcile(id_)
            self._failures.pop(id_, None)
        except LeaseLost:
            raise
        except Exception as error:
            again = self._failed(id_, error)
        finally:
            self._slots.release()
            if not self._rest_s:
                self._busy.discard(id_)
        if self._rest_s:
            await asyncio.sleep(self._rest_s)
            self._busy.discard(id_)
        if id_ in self._again or again == timedelta(0):
            self._again.discard(id_)
            self.wake(id_)
        elif again is not None:
            later = asyncio.get_running_loop().call_later(again.total_seconds(), self.wake, id_)
            self._timers[id_] = later

    def _failed(self, id_: str, error: Exception) -> timedelta:
        count = self._failures[id_] = self._failures.get(id_, 0) + 1
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (count - 1))
        if isinstance(error, Conflict) and count <= 3:
            return timedelta(milliseconds=5 * count)
        if isinstance(error, FabricError):
            log.warning(
                "reconcile failed",
                loop=self._name,
                id=id_,
                failures=count,
                cause=error.message,
                reason=error.reason,
                pause_s=round(pause_s, 2),
            )
        else:
            log.error("reconcile broke", loop=self._name, id=id_, failures=count, exc_info=error)
        return timedelta(seconds=pause_s * random.uniform(0.8, 1.2))
