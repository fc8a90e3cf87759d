"""The node's network interfaces over netlink: read first, and write only what differs.

All work is done in one thread, so no two calls interleave.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agents.network import netns, rtnl
from fabric.runtime.errors import NotFound

Result = TypeVar("Result")

_LEAVING = 0xFAB0  # the link group of what is being removed


class Links:
    """Works on the network namespace in which it is made; but for do() and close(), inside do() only."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "netlink")
        self.writer = rtnl.Writer()

    async def do(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Run the function in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def close(self) -> None:
        """Close the netlink socket; everything that was made stays."""
        await self.do(self.writer.close)
        self._thread.shutdown()

    @property
    def ip(self) -> IPRoute:
        """To write with."""
        return self.writer.ip

    def settle(self, device: str, *, mtu: int, up: bool, alias: str, master: str | None = None) -> None:
        """Give the device these properties. Raises NotFound: the device or its master is not there."""
        link = rtnl.find(device)
        if link is None:
            raise NotFound("the interface went away while it was made", device=device)
        wrong: dict[str, Any] = {}
        if link.mtu != mtu:
            wrong["mtu"] = mtu
        if link.up != up:
            wrong["state"] = "up" if up else "down"
        if link.alias != alias:
            wrong["ifalias"] = alias
        if master is not None:
            bridge = index(master)
            if bridge is None:
                raise NotFound("the network has no bridge on this node yet", device=master)
            if link.master != bridge:
                wrong["master"] = bridge
        if wrong:
            self.ip.link("set", index=link.index, **wrong)

    def add_veth(self, device: str, namespace: str, inner: str, mac: str) -> None:
        """Make a pair of which the inner end is in the namespace."""
        handle = os.open(netns.RUN / namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            peer = {"ifname": inner, "net_ns_fd": handle, "address": mac}
            self.ip.link("add", ifname=device, kind="veth", peer=peer)
        finally:
            os.close(handle)

    def remove(self, device: str) -> None:
        """Make the device not exist."""
        link = rtnl.find(device)
        if link is None:
            return
        try:
            self.ip.link("del", index=link.index)
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise

    def remove_all(self, devices: set[str]) -> None:
        """The kernel waits some 20 ms for each removal, and as long for that of a whole group."""
        if len(devices) <= 2:
            for device in devices:
                self.remove(device)
            return
        found = [link for link in map(rtnl.find, devices) if link is not None]
        for link in found:
            self.ip.link("set", index=link.index, group=_LEAVING)
        if found:
            self.ip.link("del", index=0, group=_LEAVING)


def index(device: str) -> int | None:
    """Far cheaper than asking for the whole link."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return None


def hide(device: str) -> None:
    """The node itself has no address on a network and answers for none of its own there."""
    write_once(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6", "1")
    write_once(f"/proc/sys/net/ipv4/conf/{device}/arp_ignore", "8")


def mute(bridge: str) -> None:
    """As hide, but the bridge may answer neighbour solicitations in the name of others."""
    for sysctl, value in (("addr_gen_mode", "1"), ("accept_ra", "0"), ("disable_ipv6", "0")):
        write_once(f"/proc/sys/net/ipv6/conf/{bridge}/{sysctl}", value)
    write_once(f"/proc/sys/net/ipv4/conf/{bridge}/arp_ignore", "8")


def write_once(path: str, value: str) -> None:
    """Set a sysctl that has another value; one that the kernel does not have is left out."""
    try:
        with open(path, "r+") as file:
            if file.read().strip() != value:
                file.seek(0)
                file.write(value)
    except FileNotFoundError:
        return
