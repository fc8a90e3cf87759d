"""Keeps programs running: starts what is missing, adopts what still runs, restarts what dies.

Its end, also by SIGKILL, leaves them running; the next supervisor adopts them by their pid files.
"""

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import structlog

from fabric.ctl.process import Process
from fabric.ctl.program import Desk, Program

log = structlog.get_logger(__name__)

LIVED_WELL_S = 10.0  # who lived that long is restarted at once
DELAYS_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
NEEDS_INTERVAL_S = 0.05
LOG_BYTES = 32 * 1024 * 1024
LOGS_KEPT = 3
EXITS_KEPT = 1000
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def become_subreaper() -> None:
    """Be the parent of orphans below: libvirtd waits for its QEMUs to be reaped, and init may be slow."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@dataclass
class Backoff:
    """How long to wait before a restart: not at all the first time, longer while the program keeps dying."""

    deaths: int = 0

    def delay_s(self, lived_s: float) -> float:
        self.deaths = 0 if lived_s >= LIVED_WELL_S else self.deaths
        self.deaths += 1
        return DELAYS_S[min(self.deaths, len(DELAYS_S)) - 1]


class Supervisor:
    def __init__(self, desk: Desk, programs: list[Program]) -> None:
        self._desk = desk
        self._programs = programs
        self._exits: dict[int, int] = {}  # wait statuses of programs that the orphanage met first

    async def run(self) -> None:
        """Forever; cancel to stop supervising. The programs run on."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._bury)
        async with asyncio.TaskGroup() as group:
            for program in self._programs:
                group.create_task(self._keep(program), name=program.name)
            group.create_task(self._rotate_logs(), name="rotate logs")

    async def _keep(self, program: Program) -> None:
        backoff = Backoff()
        process = self._desk.find(program.name)
        if process:
            log.info("program adopted", program=program.name, pid=process.pid)
        while True:
            if process is None:
                await self._needs(program)
                try:
                    process = self._desk.start(program)
                except OSError as error:  # a full disk, no more processes: others go on
                    log.error("program cannot be started", program=program.name, cause=str(error))
                    await asyncio.sleep(backoff.delay_s(0))
                    continue
                log.info("program started", program=program.name, pid=process.pid)
            await process.gone()
            lived_s = process.uptime_s()
            delay_s = backoff.delay_s(lived_s)
            log.warning(
                "program ended",
                program=program.name,
                status=self._reap(process),
                lived_s=round(lived_s, 2),
                restart_in_s=delay_s,
            )
            await asyncio.sleep(delay_s)
            process = None

    async def _needs(self, program: Program) -> None:
        waited = False
        while not all(ready() for ready in program.needs):
            if not waited:
                log.info("program waits for what it needs", program=program.name)
            waited = True
            await asyncio.sleep(NEEDS_INTERVAL_S)

    def _bury(self) -> None:
        """Reap whoever has ended: also the orphans of what we run, which come to us (become_subreaper)."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._exits[ended[0]] = ended[1]
                if len(self._exits) > EXITS_KEPT:
                    del self._exits[next(iter(self._exits))]

    def _reap(self, child: Process) -> int | None:
        """Exit status, negative for a signal; None for an adopted process: only init learns it."""
        self._bury()
        status = self._exits.pop(child.pid, None)
        return None if status is None else os.waitstatus_to_exitcode(status)

    async def _rotate_logs(self) -> None:
        while True:
            for path in self._desk.logs.glob("*.log"):
                try:
                    rotate(path, LOG_BYTES, LOGS_KEPT)
                except OSError as error:
                    log.error("log cannot be rotated", path=str(path), cause=str(error))
            await asyncio.sleep(60)


def rotate(path: Path, limit_bytes: int, kept: int) -> None:
    """Copy and truncate: the writer holds the file open for appending. Lines written in between are lost."""
    if path.stat().st_size < limit_bytes:
        return
    for number in range(kept, 1, -1):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}.{number - 1}").replace(path.with_name(f"{path.name}.{number}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    with path.open("r+b") as file:
        file.truncate(0)
