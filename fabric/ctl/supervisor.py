"""Keeps programs running: starts what is missing, adopts what still runs, restarts what dies.

Its end, also by SIGKILL, leaves them running; the next supervisor adopts them by their pid files.
"""

import asyncio
import contextlib
import os
import shutil
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

    async def run(self) -> None:
        """Forever; cancel to stop supervising. The programs run on."""
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
                process = self._desk.start(program)
                log.info("program started", program=program.name, pid=process.pid)
            await process.gone()
            lived_s = process.uptime_s()
            delay_s = backoff.delay_s(lived_s)
            log.warning(
                "program ended",
                program=program.name,
                status=reap(process),
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

    async def _rotate_logs(self) -> None:
        while True:
            for path in self._desk.logs.glob("*.log"):
                rotate(path, LOG_BYTES, LOGS_KEPT)
            await asyncio.sleep(60)


def reap(child: Process) -> int | None:
    """Exit status, negative for a signal; None for an adopted process: only init learns it."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    except ChildProcessError:
        return None


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
