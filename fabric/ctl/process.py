"""A process known by its pid and start time, so that a reused pid is never mistaken for it."""

import asyncio
import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Self

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@cache
def boot_id() -> str:
    """Start times count from the boot, so they mean nothing after the next."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Process:
    pid: int
    start_ticks: int  # /proc/<pid>/stat, field 22
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this pid now; None: there is none, or only its corpse."""
        try:
            stat = _stat(pid)
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if stat[0] in "ZX" else cls(pid, int(stat[19]), boot_id())

    @staticmethod
    def start_ticks_of(pid: int) -> int:
        """When the process started, also of one that has ended and was not waited for."""
        return int(_stat(pid)[19])

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """The process that the pid file tells of, if that very process still runs."""
        try:
            process = cls(**json.loads(path.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None  # none was started, or the machine stopped in the middle of the write
        return process if process.alive() else None

    def save(self, path: Path) -> None:
        new = path.with_suffix(".new")
        new.write_text(json.dumps(asdict(self)))
        new.replace(path)

    def alive(self) -> bool:
        return self == Process.of(self.pid)

    def uptime_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_ticks / TICKS_PER_SECOND

    def rss_bytes(self) -> int:
        """Resident memory; 0 once the process is gone."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES
        except OSError:
            return 0

    def send(self, number: signal.Signals) -> None:
        """Signal this very process; nothing when it is gone."""
        with contextlib.suppress(ProcessLookupError), self._opened() as fd:
            signal.pidfd_send_signal(fd, number)

    async def gone(self) -> None:
        """Return when the process has ended, be it a child of ours or not."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        try:
            with self._opened() as fd:
                loop.add_reader(fd, ended.set)
                try:
                    await ended.wait()
                finally:
                    loop.remove_reader(fd)
        except ProcessLookupError:
            return

    def wait(self, timeout_s: float) -> bool:
        """Whether the process ended within the time."""
        try:
            with self._opened() as fd:
                return bool(select.select([fd], [], [], timeout_s)[0])
        except ProcessLookupError:
            return True

    def stop(self, timeout_s: float, number: signal.Signals = signal.SIGTERM) -> bool:
        """Ask the process to end, and make it; False: it had to be killed."""
        self.send(number)
        if self.wait(timeout_s):
            return True
        self.send(signal.SIGKILL)
        self.wait(timeout_s)
        return False

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """A pidfd; ProcessLookupError when the pid is no longer this process (checked after opening)."""
        fd = os.pidfd_open(self.pid)
        try:
            if not self.alive():
                raise ProcessLookupError(self.pid)
            yield fd
        finally:
            os.close(fd)


def _stat(pid: int) -> list[str]:
    """/proc/<pid>/stat from field 3 (state) on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
