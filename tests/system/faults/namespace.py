"""A thread in the network of another process."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def entered(pid: int) -> Iterator[None]:
    """This thread, and threads and processes that it starts, are in the network namespace of the process."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        assert _libc.setns(there, _CLONE_NEWNET) == 0
        yield
    finally:
        assert _libc.setns(home, _CLONE_NEWNET) == 0
        os.close(there)
        os.close(home)
