"""A machine made of namespaces: processes, mounts, network and host name of its own on this machine."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from fabric.ctl.process import Process

_START_S = 10.0
# Its init. It says which process it is before it has a /proc of its own, and then buries whoever ends below it.
_INIT = """
set -e
read -r pid rest < /proc/self/stat
mount -t proc proc /proc
mkdir -p /run/netns
mount -t tmpfs none /run/netns
ip link set lo up
echo "$2" > /proc/sys/kernel/hostname
echo "$pid" > "$1.new"
mv "$1.new" "$1"
while :; do sleep 3600 & wait; done
"""


class Machine:
    """Lives in a directory; who makes another object of the same directory finds it running.

    All its processes end with its init, as with a power cut; the directory is what its disk is.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name
        self._init = directory / "init"

    @property
    def process(self) -> Process | None:
        """Its init, in whose namespaces everything of it is; None: it is off."""
        return Process.load(self.directory / "init.pid")

    def start(self) -> None:
        """Switch it on. Raises RuntimeError."""
        if self.process is not None:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self._init.unlink(missing_ok=True)
        unshare = ("unshare", "--net", "--mount", "--pid", "--uts", "--fork")
        with (self.directory / "init.log").open("wb") as log:
            subprocess.run(
                ["setsid", "--fork", *unshare, "sh", "-c", _INIT, "init", str(self._init), self.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
            )
        deadline = time.monotonic() + _START_S
        while not self._init.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start: {(self.directory / 'init.log').read_text()}")
            time.sleep(0.01)
        process = Process.of(int(self._init.read_text()))
        if process is None:
            raise RuntimeError(f"{self.name} ended at once: {(self.directory / 'init.log').read_text()}")
        process.save(self.directory / "init.pid")

    def kill(self) -> None:
        """Cut its power: all its processes are gone when this returns."""
        process = self.process
        if process is not None:
            process.send(signal.SIGKILL)
            process.wait(_START_S)

    def wipe(self) -> None:
        """Nothing is left of it."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs another one on the machine. Raises RuntimeError: it is off."""
        process = self.process
        if process is None:
            raise RuntimeError(f"{self.name} is off")
        return ["nsenter", f"--target={process.pid}", "--net", "--mount", "--pid", "--uts", "--", *argv]

    def run(self, *argv: str, timeout_s: float = 60, check: bool = True) -> str:
        """What a command prints. Raises RuntimeError with its errors when it fails."""
        done = subprocess.run(
            self.inside(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(argv)}: {done.stdout}{done.stderr}")
        return done.stdout

    def replace(self, argv: Sequence[str]) -> None:
        """Become the command on the machine; does not return."""
        command = self.inside(argv)
        os.execvp(command[0], command)
