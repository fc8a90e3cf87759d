"""QEMU processes that libvirt does not know of: libvirtd was killed between starting one and noting it."""

import os
import signal
import time
from collections.abc import Collection
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)
_PATIENCE_S = 5.0


def end(server_ids: Collection[str], lib: Path) -> set[str]:
    """End the QEMUs of servers; only of those whose domains libvirt says are off. Returns which had one.

    lib: libvirt's /var/lib/libvirt, seen from here. A server that migrates may run below another one's.
    """
    running = {
        pid: id_ for pid in _pids() if (id_ := _server_of(pid)) in server_ids and _runs_below(pid, lib)
    }
    for pid, id_ in running.items():
        log.warning("stray QEMU ended", server=id_, pid=pid)
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE_S
    while any(_server_of(pid) == id_ for pid, id_ in running.items()) and time.monotonic() < deadline:
        time.sleep(0.02)  # there is no file descriptor to wait on for somebody else's child
    return set(running.values())


def qemus_of(server_id: str) -> list[int]:
    """The QEMU processes of the server, whosever libvirtd they are of."""
    return [pid for pid in _pids() if _server_of(pid) == server_id]


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def qemus_below(directory: Path) -> list[int]:
    """The QEMU processes of the libvirtd that keeps its state in this directory."""
    return [pid for pid in _pids() if _is_qemu(pid) and _runs_below(pid, directory / "lib")]


def _is_qemu(pid: int) -> bool:
    return b"qemu-system" in _arguments(pid)[0]


def _runs_below(pid: int, lib: Path) -> bool:
    """Whether /var/lib/libvirt is, for this process, this directory."""
    try:
        return Path(f"/proc/{pid}/root/var/lib/libvirt").samefile(lib)
    except OSError:
        return False


def _arguments(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def _server_of(pid: int) -> str:
    """Whose QEMU the process is; empty: nobody's."""
    arguments = _arguments(pid)
    if b"qemu-system" not in arguments[0] or b"-uuid" not in arguments:
        return ""
    return arguments[arguments.index(b"-uuid") + 1].decode()
