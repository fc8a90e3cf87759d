"""Router advertisements on the links of the node's routers: now and then, and to who asks.

The sockets live in the routers' namespaces, the agent's event loop serves them; hosts believe a router for half an
hour, so that an agent that starts again is not missed.
"""

import asyncio
import contextlib
import functools
import random
import socket
import struct
from dataclasses import dataclass

from agents.network import name, netns
from agents.network.advertisement import INTERVAL_S, SOLICITATION, advertisement
from fabric.network.v1 import router_pb2

_ALL_NODES, _ALL_ROUTERS = "ff02::1", "ff02::2"
_ICMP6_FILTER = 1


@dataclass
class _Link:
    """One port that advertises."""

    index: int  # of the interface in its namespace: made anew, it is another
    message: bytes
    handle: socket.socket
    timer: asyncio.TimerHandle | None = None


class Advertiser:
    """One socket a port."""

    def __init__(self) -> None:
        self._links: dict[str, dict[tuple[int, str], _Link]] = {}  # by router, namespace and device

    def ensure(self, want: router_pb2.RouterWant) -> None:
        """Advertise what the router's ports should, and nothing else."""
        router_id = want.router.meta.id
        namespace = name.router_namespace(router_id)
        inode = (netns.RUN / namespace).stat().st_ino
        wanted = {
            (inode, name.router_port(port.port.meta.id)): message
            for port in want.ports
            if port.port.spec.admin_state_up and (message := advertisement(port)) is not None
        }
        known = self._links.setdefault(router_id, {})
        for key in known.keys() - wanted.keys():
            self._close(known.pop(key))
        if not wanted:
            return
        for key, message in wanted.items():
            device = key[1]
            link, index = (
                known.get(key),
                netns.call(namespace, functools.partial(socket.if_nametoindex, device)),
            )
            if link is not None and link.index == index and link.message == message:
                continue
            if link is not None:
                self._close(known.pop(key))
            link = known[key] = _Link(index, message, netns.call(namespace, functools.partial(_open, device)))
            asyncio.get_running_loop().add_reader(link.handle, self._asked, link)
            self._send(link)

    def remove(self, router_id: str) -> None:
        """Say nothing more."""
        for link in self._links.pop(router_id, {}).values():
            self._close(link)

    def close(self) -> None:
        for router_id in list(self._links):
            self.remove(router_id)

    def _send(self, link: _Link) -> None:
        """Tell everybody, and again before it is forgotten."""
        with contextlib.suppress(OSError):  # the link may be down
            link.handle.sendto(link.message, (_ALL_NODES, 0, 0, link.index))
        again_s = INTERVAL_S * random.uniform(0.75, 1)
        link.timer = asyncio.get_running_loop().call_later(again_s, self._send, link)

    def _asked(self, link: _Link) -> None:
        """Answer one solicitation, to whom it came from where that is told."""
        with contextlib.suppress(OSError):
            _, (source, *_) = link.handle.recvfrom(1500)
            asker = source.partition("%")[0]
            to = asker if asker.startswith("fe80:") else _ALL_NODES
            link.handle.sendto(link.message, (to, 0, 0, link.index))

    def _close(self, link: _Link) -> None:
        if link.timer is not None:
            link.timer.cancel()
        asyncio.get_running_loop().remove_reader(link.handle)
        link.handle.close()


def _open(device: str) -> socket.socket:
    """Runs inside the namespace."""
    handle = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    words = [0xFFFFFFFF] * 8
    words[SOLICITATION >> 5] &= ~(1 << (SOLICITATION & 31))
    handle.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    for option in (socket.IPV6_MULTICAST_HOPS, socket.IPV6_UNICAST_HOPS):
        handle.setsockopt(socket.IPPROTO_IPV6, option, 255)  # others are not believed
    handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    group = socket.inet_pton(socket.AF_INET6, _ALL_ROUTERS) + struct.pack("=I", socket.if_nametoindex(device))
    handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    return handle
