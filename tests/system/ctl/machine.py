"""A machine for one cloud: its own network and mounts, so that several fit on this one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from fabric.ctl.process import Process
from fabric.ctl.program import Desk

ROOT = Path(__file__).resolve().parents[3]
_SETUP = """
set -e
mkdir -p /run/netns
mount -t tmpfs none /run/netns
ip link set lo up
echo ready
exec sleep infinity
"""


class Machine:
    """Holds a network and a mount namespace, in which fabricctl runs with a state directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.desk = Desk(directory / "run", directory / "log")
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", _SETUP], stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        """A process whose namespaces are the machine's."""
        return self._holder.pid

    def run(self, *argv: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine to its end."""
        inside = ["nsenter", "--target", str(self._holder.pid), "--net", "--mount", *argv]
        return subprocess.run(
            inside,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
        )

    def fabricctl(self, *arguments: str, timeout_s: float = 180) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "fabric.ctl", "--state-dir", str(self.directory), *arguments)
        return self.run(*command, timeout_s=timeout_s)

    def process(self, name: str) -> Process:
        found = self.desk.find(name)
        assert found is not None, f"{name} does not run"
        return found

    def kill(self, name: str) -> Process:
        """kill -9; the process that was."""
        process = self.process(name)
        process.send(signal.SIGKILL)
        assert process.wait(5)
        return process

    def links(self) -> list[str]:
        """The network devices, without the loopback."""
        lines = self.run("ip", "-o", "link").stdout.splitlines()
        return [line.split(": ")[1] for line in lines if ": lo: " not in line]

    def close(self) -> None:
        self.fabricctl("down", "--wipe", "--guest-timeout", "0")
        self._holder.kill()
        self._holder.wait()
        if self._holder.stdout is not None:
            self._holder.stdout.close()


def processes_below(directory: Path) -> list[str]:
    """Command lines that name the directory: what of a cloud still runs."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            try:
                line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"{directory}/" in line:
                found.append(line)
    return found
