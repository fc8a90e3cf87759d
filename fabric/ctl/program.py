"""What the supervisor keeps running: a command line, what it waits for before the start, where it logs."""

import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from fabric.ctl.process import Process, boot_id

Ready = Callable[[], bool]


@dataclass(frozen=True)
class Program:
    name: str
    argv: tuple[str, ...]
    # looked at before each start; the program still has to cope with a later loss
    needs: tuple[Ready, ...] = ()
    stop_timeout_s: float = 10
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Desk:
    """Where the supervisor finds its programs again: run/<name>.pid and logs/<name>.log."""

    run: Path
    logs: Path

    def pid_file(self, name: str) -> Path:
        return self.run / f"{name}.pid"

    def log_file(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def find(self, name: str) -> Process | None:
        return Process.load(self.pid_file(name))

    def start(self, program: Program) -> Process:
        """Start in a session of its own: neither our death nor a terminal's reaches it.

        The child writes its pid file itself, before it becomes the program: there is no moment at which
        our death leaves a program that nobody knows of. (For callers with one thread: it forks.)
        """
        with self.log_file(program.name).open("ab") as log:
            until_exec, closed_by_exec = os.pipe()
            pid = os.fork()
            if pid == 0:
                _become(program, self.pid_file(program.name), log.fileno())
        os.close(closed_by_exec)
        os.read(until_exec, 1)
        os.close(until_exec)
        return Process(pid, Process.start_ticks_of(pid), boot_id())

    def stop(self, name: str, timeout_s: float) -> bool | None:
        """None: it did not run; False: it had to be killed."""
        process = self.find(name)
        ended = process.stop(timeout_s, signal.SIGTERM) if process else None
        self.pid_file(name).unlink(missing_ok=True)
        return ended


def environment() -> dict[str, str]:
    """What every program gets, whoever started the cloud: no proxies, tokens or locale of a user's shell."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": f"{path}:/usr/sbin:/sbin", "HOME": str(Path.home()), "LANG": "C.UTF-8"}


def _become(program: Program, pid_file: Path, log: int) -> NoReturn:
    """In the forked child: never returns, and never unwinds into the parent's code."""
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir("/")
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would pass that on
            signal.signal(ignored, signal.SIG_DFL)
        Process(os.getpid(), Process.start_ticks_of(os.getpid()), boot_id()).save(pid_file)
        os.execvpe(program.argv[0], program.argv, {**environment(), **program.environment})
    except BaseException as error:
        os.write(2, f"{program.argv[0]} cannot be started: {error}\n".encode())
    finally:
        os._exit(127)


def answers_tcp(address: str) -> Ready:
    """Whether something listens at host:port."""
    host, _, port = address.rpartition(":")

    def ready() -> bool:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
        except OSError:
            return False
        return True

    return ready


def any_answers(addresses: Sequence[str]) -> Ready:
    """Whether something listens at any host:port of these."""
    found = [answers_tcp(address) for address in addresses]
    return lambda: any(ready() for ready in found)


def answers_unix(path: Path) -> Ready:
    """Whether something listens at the socket file."""

    def ready() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            return probe.connect_ex(str(path)) == 0

    return ready
