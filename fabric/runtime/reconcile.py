"""The reconcile loops: look at each thing again until it is as it should be."""

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable
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
    looked at is left alone for so long as rest says of it, so that what changes often is done once for many changes.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[str], Awaitable[timedelta | None]],
        ids: Callable[[], Iterable[str]],
        *,
        resync: timedelta = timedelta(minutes=5),
        concurrency: int = 8,
        rest: Callable[[str], timedelta] | None = None,
    ) -> None:
        self._name = name
        self._reconcile = reconcile
        self._ids = ids
        self._resync_s = resync.total_seconds()
        self._rest = rest
        # woken, in order; a dict looks for its first behind all that were
        self._due = OrderedDict[str, None]()
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
                    id_, _ = self._due.popitem(last=False)
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
            if self._rest is None:
                self._busy.discard(id_)
        if self._rest is not None:
            await asyncio.sleep(self._rest(id_).total_seconds())
            self._busy.discard(id_)
        if id_ in self._again or again == timedelta(0):
            self._again.discard(id_)
            self.wake(id_)
        elif again is not None:
            later = asyncio.get_running_loop().call_later(again.total_seconds(), self.wake, id_)
            self._timers[id_] = later

    def _failed(self, id_: str, error: Exception) -> timedelta:
        count = self._failures[id_] = self._failures.get(id_, 0) + 1
        if isinstance(error, Conflict) and count <= 3:
            return timedelta(milliseconds=5 * count)
        pause_s = _pause_s(count)
        _log_failure(error, self._name, count, pause_s, id=id_)
        return timedelta(seconds=pause_s)


class Together:
    """Calls reconcile with all ids that were woken meanwhile, and with all there are now and then.

    For many small things that are made true by one act. When reconcile raises, the same ids are looked at
    again after a pause that doubles each time. LeaseLost ends it.
    """

    def __init__(
        self,
        name: str,
        reconcile: Callable[[Collection[str]], Awaitable[None]],
        ids: Callable[[], Iterable[str]],
        *,
        resync: timedelta = timedelta(minutes=5),
    ) -> None:
        self._name = name
        self._reconcile = reconcile
        self._ids = ids
        self._resync_s = resync.total_seconds()
        self._due: dict[str, None] = {}
        self._wake = asyncio.Event()

    def wake(self, id_: str) -> None:
        """Look at the id soon."""
        self._due[id_] = None
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled, or until LeaseLost, which is raised."""
        failures, resync_at = 0, 0.0
        while True:
            now = time.monotonic()
            if now >= resync_at:
                self._due.update(dict.fromkeys(self._ids()))
                resync_at = now + self._resync_s * random.uniform(0.9, 1.1)
            self._wake.clear()
            due, self._due = self._due, {}
            try:
                if due:
                    await self._reconcile(due.keys())
                failures = 0
            except LeaseLost:
                raise
            except Exception as error:
                failures += 1
                self._due = due | self._due
                pause_s = _pause_s(failures)
                _log_failure(error, self._name, failures, pause_s, ids=len(due))
                await asyncio.sleep(pause_s)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(resync_at - time.monotonic()):
                    await self._wake.wait()


def _pause_s(failures: int) -> float:
    longest_s: float = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (failures - 1))
    return longest_s * random.uniform(0.8, 1.2)


def _log_failure(error: Exception, loop: str, failures: int, pause_s: float, **what: str | int) -> None:
    if not isinstance(error, FabricError):
        log.error("reconcile broke", loop=loop, failures=failures, exc_info=error, **what)
        return
    facts = {"cause": error.message, "reason": error.reason, "pause_s": round(pause_s, 2)}
    log.warning("reconcile failed", loop=loop, failures=failures, **what, **facts)
