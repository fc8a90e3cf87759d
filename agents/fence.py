"""Highly available servers and routers end when their node is cut off: elsewhere they are made again then.

The agent writes down which those are and when its lease was last renewed. A guard, a small process of its own, reads
that and ends them when it is too old, also when the agent is killed, hangs or cannot reach etcd; not while most of
the panel (fabric/runtime/panel.py) tells it that etcd is gone for them, too.

    python -m agents.fence DIRECTORY libvirt|fake|routers WHERE
"""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from fabric.runtime.config import Config, Tls
from fabric.runtime.panel import is_etcd_gone

_EVERY_S = 0.25
_GUARD_EVERY_S = 0.25
End = Callable[[Collection[str]], set[str]]  # returns those that were not ended yet
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Manifest:
    """What the guard goes by. renewed: of the clock that counts since the machine was switched on, in seconds."""

    boot_id: str = ""
    renewed: float = 0.0
    silent_s: float = 0.0  # a lease that was not renewed for so long is one that cannot be
    fence_after_s: float = 0.0
    held: list[str] = field(default_factory=list)  # servers, or routers
    node: str = ""
    agent: str = ""
    panel: dict[str, str] = field(default_factory=dict)  # node -> its agent's address
    tls: dict[str, str] = field(default_factory=dict)  # the files that are shown to the panel


def terms(config: Config, agent: str, *, silent_s: float, fence_after_s: float) -> Manifest:
    """What does not change while the process lives."""
    boot_id = _BOOT_ID.read_text().strip()
    return Manifest(
        boot_id,
        silent_s=silent_s,
        fence_after_s=fence_after_s,
        node=config.node.name,
        agent=agent,
        tls=asdict(config.tls),
    )


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
        return found if found.held else None

    def write(self, manifest: Manifest) -> None:
        """As a whole."""
        self.directory.mkdir(parents=True, exist_ok=True)
        _put(self.manifest, json.dumps(asdict(manifest)))

    def ended_ids(self) -> set[str]:
        """Those that the guard has ended and that have not been started since."""
        try:
            return set(json.loads(self.ended.read_text()))
        except (OSError, ValueError):
            return set()

    def note_ended(self, ids: set[str]) -> None:
        """Write them down."""
        _put(self.ended, json.dumps(sorted(ids)))


class Fence:
    """The agent's side."""

    def __init__(self, directory: Path, terms: Manifest, guarded: tuple[str, str]) -> None:
        """terms: all but what changes; guarded: of which kind that is and where, for the guard."""
        self._paths = Paths(directory)
        self._terms = terms
        self._guarded = guarded
        self._guard: subprocess.Popen[bytes] | None = None
        self._may_guard = True  # an earlier process may have written something down

    def begin(self) -> None:
        """Have a guard for what an earlier process has written down, before there is a lease."""
        if self._paths.read() is not None:
            self._ensure_guard()

    async def keep(
        self,
        renewed: Callable[[], float],
        held: Callable[[], list[str]],
        panel: Callable[[], Mapping[str, str]],
        wake: Callable[[str], None],
    ) -> None:
        """Write down what is held and the lease until cancelled; wake what was ended while we had it."""
        while True:
            manifest = replace(self._terms, renewed=renewed(), held=sorted(held()), panel=dict(panel()))
            if manifest.held or self._may_guard:
                self._may_guard = True
                await asyncio.to_thread(self._write, manifest)
                self._may_guard = bool(manifest.held)
                for id_ in self._paths.ended_ids().intersection(manifest.held):
                    wake(id_)
            await asyncio.sleep(_EVERY_S)

    def was_ended(self, id_: str) -> bool:
        """Whether the guard has ended it, so that it is not off by its own will."""
        return id_ in self._paths.ended_ids()

    def started(self, id_: str) -> None:
        """It runs again."""
        ended = self._paths.ended_ids()
        if id_ in ended:
            self._paths.note_ended(ended - {id_})

    def _write(self, manifest: Manifest) -> None:
        if not manifest.held and self._paths.read() is None:
            return
        self._paths.write(manifest)
        if manifest.held:
            self._ensure_guard()

    def _ensure_guard(self) -> None:
        if self._guard is not None and self._guard.poll() is None:
            return
        with _locked(self._paths.lock) as won:
            if not won:  # it outlived an earlier agent
                return
        words = [sys.executable, "-m", __spec__.name, str(self._paths.directory), *self._guarded]
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


def is_due(manifest: Manifest, boot_id: str, now: float, excused: float) -> bool:
    """Whether the lease is too old; what ran before the machine was switched off runs no more.

    excused: when the panel was last asked with the answer that etcd is gone for it, too.
    """
    since = max(manifest.renewed, excused)
    return manifest.boot_id == boot_id and now - since > manifest.fence_after_s


class Asks(Protocol):
    """What a guard needs of agents.inquiry.Inquiry."""

    def silences_s(self, nodes: Iterable[str], /) -> list[float | None]: ...
    def close(self) -> None: ...


class Guard:
    """The other side: the process."""

    def __init__(
        self, paths: Paths, boot_id: str, end: End, inquire: Callable[[Manifest], Asks] | None = None
    ) -> None:
        """inquire: how the panel is asked, if not by its agents."""
        self._paths = paths
        self._boot_id = boot_id
        self._end = end
        self._inquire = inquire or _inquire
        self._inquiry: Asks | None = None
        self._excused = 0.0

    def run(self) -> None:
        """Watch until there is nothing to guard any more.

        What was being started when the lease ended may come after its end: while that is too old it ends again.
        """
        with _locked(self._paths.lock) as won:
            while won and (manifest := self._paths.read()) is not None:
                self._ask(manifest)
                now = time.monotonic()
                latest = self._paths.read()  # to ask takes its time, in which the lease may have been renewed
                if latest is not None and is_due(latest, self._boot_id, now, self._excused):
                    self._end_all(latest)
                time.sleep(_GUARD_EVERY_S)
        self._hang_up()

    def _ask(self, manifest: Manifest) -> None:
        now = time.monotonic()
        if manifest.boot_id != self._boot_id or now - manifest.renewed <= manifest.silent_s:
            self._hang_up()
            return
        if self._inquiry is None:
            self._inquiry = self._inquire(manifest)
        if is_etcd_gone(self._silences(manifest, now), manifest.silent_s):
            self._excused = now

    def _silences(self, manifest: Manifest, now: float) -> list[float | None]:
        assert self._inquiry is not None
        silences = self._inquiry.silences_s(set(manifest.panel) - {manifest.node})
        if manifest.node in manifest.panel:
            silences.append(now - manifest.renewed)
        return silences

    def _hang_up(self) -> None:
        if self._inquiry is not None:
            self._inquiry.close()
            self._inquiry = None

    def _end_all(self, manifest: Manifest) -> None:
        self._note(manifest.held)
        if ended := self._end(manifest.held):
            self._note(ended)  # again: an agent that has its lease back may have taken them for running
            print(f"lease lost: ended {', '.join(sorted(ended))}", file=sys.stderr, flush=True)

    def _note(self, ids: Collection[str]) -> None:
        noted = self._paths.ended_ids()
        if not noted.issuperset(ids):
            self._paths.note_ended(noted.union(ids))


def _inquire(manifest: Manifest) -> Asks:
    from agents.inquiry import Inquiry  # what it needs is large, and hardly ever needed

    return Inquiry(manifest.agent, manifest.panel, Tls(**manifest.tls))


def _end_qemu(where: str) -> End:
    from agents.compute import stray

    return lambda server_ids: stray.end(server_ids, Path(where))


def _end_fake(where: str) -> End:
    from agents.compute.fake import power_off

    return lambda server_ids: {id_ for id_ in server_ids if power_off(Path(where), id_)}


def _end_router(_: str) -> End:
    from agents.network.router_fence import take_down

    return lambda router_ids: {id_ for id_ in router_ids if take_down(id_)}


def _put(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.replace(path)


def main(argv: list[str]) -> None:
    """Of the guard's process."""
    directory, kind, where = argv
    boot_id = _BOOT_ID.read_text().strip()
    ends = {"libvirt": _end_qemu, "fake": _end_fake, "routers": _end_router}
    Guard(Paths(Path(directory)), boot_id, ends[kind](where)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
