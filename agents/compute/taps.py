"""Which network devices exist, in the network namespace of this process, and when one appears."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable

_RTMGRP_LINK = 1


def existing(names: Iterable[str]) -> frozenset[str]:
    """Those of the devices that exist."""
    return frozenset(name for name in names if name and _exists(name))


async def changes() -> AsyncIterator[None]:
    """Whenever a device appears, changes or goes; changes that come together are told once."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
    ) as link:
        link.bind((0, _RTMGRP_LINK))
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        loop.add_reader(link.fileno(), _drain, link, changed)
        try:
            while True:
                await changed.wait()
                changed.clear()
                yield
        finally:
            loop.remove_reader(link.fileno())


def _drain(link: socket.socket, changed: asyncio.Event) -> None:
    changed.set()
    try:
        while link.recv(65536):
            pass
    except BlockingIOError:
        pass
    except OSError:  # ENOBUFS: some messages were lost, which is one more reason to look
        pass


def _exists(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True
