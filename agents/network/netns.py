"""Network namespaces: make them, and run a function inside one.

A thread belongs to one namespace, so each function gets a thread of its own that ends with it. Nothing is
forked.
"""

import asyncio
import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")

RUN = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def exists(name: str) -> bool:
    """Whether the name is a namespace, and not a file that a crash left before the mount."""
    try:
        return (RUN / name).stat().st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


def create(name: str) -> None:
    """Make the namespace if it is not there; blocking."""
    if exists(name):
        return
    RUN.mkdir(parents=True, exist_ok=True)
    path = RUN / name
    path.touch()

    def unshare_and_keep() -> None:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        source = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        _check(_libc.mount(source.encode(), str(path).encode(), None, _MS_BIND, None), "mount")

    _in_thread(unshare_and_keep)


def remove(name: str) -> None:
    """Unname the namespace; it goes when the last process and socket in it is gone. Blocking."""
    path = RUN / name
    while exists(name):
        _check(_libc.umount2(str(path).encode(), _MNT_DETACH), "umount")
    path.unlink(missing_ok=True)


def call(name: str, function: Callable[[], Result]) -> Result:
    """Run the function inside the namespace and wait for it. Raises FileNotFoundError: there is none."""
    handle = os.open(RUN / name, os.O_RDONLY | os.O_CLOEXEC)

    def inside() -> Result:
        _check(_libc.setns(handle, _CLONE_NEWNET), "setns")
        return function()

    try:
        return _in_thread(inside)
    finally:
        os.close(handle)


async def run(name: str, function: Callable[[], Result]) -> Result:
    """As call, without blocking the event loop."""
    return await asyncio.to_thread(call, name, function)


def scratch(function: Callable[[], Result]) -> Result:
    """Run the function in a new namespace that goes with it; blocking."""

    def inside() -> Result:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        return function()

    return _in_thread(inside)


def _in_thread(function: Callable[[], Result]) -> Result:
    results: list[Result] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=body, name="netns")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
