"""QEMU processes that libvirt does not know of: libvirtd was killed between starting one and noting it."""

import os
import signal
import time
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)
_PATIENCE_S = 5.0


def end(server_id: str, lib: Path) -> bool:
    """End the server's QEMU; only for a server whose domain libvirt says is off. True: there was one.

    lib: libvirt's /var/lib/libvirt, seen from here. A server that migrates may run below another one's.
    """
    pids = [pid for pid in _pids() if _is_qemu_of(pid, server_id) and _runs_below(pid, lib)]
    for pid in pids:
        log.warning("stray QEMU ended", server=server_id, pid=pid)
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE_S
    while any(_is_qemu_of(pid, server_id) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)  # there is no file descriptor to wait on for somebody else's child
    return bool(pids)


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


def _is_qemu_of(pid: int, server_id: str) -> bool:
    arguments = _arguments(pid)
    if b"qemu-system" not in arguments[0] or b"-uuid" not in arguments:
        return False
    return arguments[arguments.index(b"-uuid") + 1] == server_id.encode()
