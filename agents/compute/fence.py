"""Highly available servers end when their node has had no lease for a while: elsewhere they are made again then.

The agent writes down which servers those are and when its lease was last renewed. A guard, a small process of its
own, reads that and ends them when it is too old, also when the agent is killed, hangs or cannot reach etcd.

    python -m agents.compute.fence DIRECTORY libvirt|fake WHERE
"""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_EVERY_S = 0.25
_GUARD_EVERY_S = 0.25


@dataclass(frozen=True)
class Manifest:
    """What the guard goes by. renewed: of the clock that counts since the machine was switched on, in seconds."""

    boot_id: str = ""
    renewed: float = 0.0
    fence_after_s: float = 0.0
    servers: list[str] = field(default_factory=list)


class Paths:
    """The files that the agent and its guard share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.manifest = directory / "fence.json"
        self.ended = directory / "fence.ended"
        self.lock = directory / "fence.lock"

    def read(self) -> Manifest | None:
        """None: there is nothing to guard."""
        try:
            found = Manifest(**json.loads(self.manifest.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return found if found.servers else None

    def write(self, manifest: Manifest) -> None:
        """As a whole."""
        self.directory.mkdir(parents=True, exist_ok=True)
        _put(self.manifest, json.dumps(asdict(manifest)))

    def ended_servers(self) -> set[str]:
        """Those that the guard has ended and that have not been started since."""
        try:
            return set(json.loads(self.ended.read_text()))
        except (OSError, ValueError):
            return set()

    def note_ended(self, servers: set[str]) -> None:
        """Write them down."""
        _put(self.ended, json.dumps(sorted(servers)))


class Fence:
    """The agent's side."""

    def __init__(
        self, directory: Path, boot_id: str, fence_after_s: float, hypervisor: tuple[str, str]
    ) -> None:
        """hypervisor: which kind it is and where its guests are, for the guard."""
        self._paths = Paths(directory)
        self._boot_id = boot_id
        self._fence_after_s = fence_after_s
        self._hypervisor = hypervisor
        self._guard: subprocess.Popen[bytes] | None = None
        self._may_guard = True  # an earlier process may have written servers down

    def begin(self) -> None:
        """Have a guard for what an earlier process has written down, before there is a lease."""
        if self._paths.read() is not None:
            self._ensure_guard()

    async def keep(self, renewed: Callable[[], float], servers: Callable[[], list[str]]) -> None:
        """Write down the servers and the lease until cancelled."""
        while True:
            fenced = sorted(servers())
            if fenced or self._may_guard:
                self._may_guard = True
                await asyncio.to_thread(self._write, renewed(), fenced)
                self._may_guard = bool(fenced)
            await asyncio.sleep(_EVERY_S)

    def was_ended(self, server_id: str) -> bool:
        """Whether the guard has ended it, so that it is not off by its own will."""
        return server_id in self._paths.ended_servers()

    def started(self, server_id: str) -> None:
        """It runs again."""
        ended = self._paths.ended_servers()
        if server_id in ended:
            self._paths.note_ended(ended - {server_id})

    def _write(self, renewed: float, servers: list[str]) -> None:
        if not servers and self._paths.read() is None:
            return
        self._paths.write(Manifest(self._boot_id, renewed, self._fence_after_s, servers))
        if servers:
            self._ensure_guard()

    def _ensure_guard(self) -> None:
        if self._guard is not None and self._guard.poll() is None:
            return
        with _locked(self._paths.lock) as won:
            if not won:  # it outlived an earlier agent
                return
        words = [sys.executable, "-m", __spec__.name, str(self._paths.directory), *self._hypervisor]
        self._guard = subprocess.Popen(  # of a session of its own: it outlives us
            words, stdin=subprocess.DEVNULL, start_new_session=True, cwd="/"
        )


class _locked:  # noqa: N801  # a context manager
    """Whether the lock could be had; it is held as long as the block, or the process, lasts."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __exit__(self, *_: Any) -> None:
        os.close(self._descriptor)


def is_due(manifest: Manifest, boot_id: str, now: float) -> bool:
    """Whether the lease is too old; what ran before the machine was switched off runs no more."""
    return manifest.boot_id == boot_id and now - manifest.renewed > manifest.fence_after_s


def guard(paths: Paths, boot_id: str, end: Callable[[str], bool]) -> None:
    """Watch until there is nothing to guard any more, or it has been ended."""
    with _locked(paths.lock) as won:
        while won and (manifest := paths.read()) is not None:
            if is_due(manifest, boot_id, time.monotonic()):
                paths.note_ended(paths.ended_servers() | set(manifest.servers))
                for server_id in manifest.servers:
                    end(server_id)
                print(f"lease lost: ended {', '.join(manifest.servers)}", file=sys.stderr, flush=True)
                return
            time.sleep(_GUARD_EVERY_S)


def _end_qemu(where: str) -> Callable[[str], bool]:
    from agents.compute import stray

    return lambda server_id: stray.end(server_id, Path(where))


def _end_fake(where: str) -> Callable[[str], bool]:
    from agents.compute.fake import power_off

    return lambda server_id: power_off(Path(where), server_id)


def _put(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


def main(argv: list[str]) -> None:
    """Of the guard's process."""
    directory, kind, where = argv
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    guard(Paths(Path(directory)), boot_id, {"libvirt": _end_qemu, "fake": _end_fake}[kind](where))


if __name__ == "__main__":
    main(sys.argv[1:])
