"""A node and its guests on one machine: each in its own network namespace, each guest behind a real tap."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

from pyroute2 import IPRoute

from agents.network import host, netns
from agents.network.agent import NetworkAgent, NetworkStores
from agents.network.metadata_http import Documents
from agents.network.name import tap
from agents.network.real import real_drivers
from agents.network.settings import NetworkSettings
from fabric.network.v1 import (
    log_pb2,
    metering_pb2,
    neighbor_pb2,
    network_pb2,
    port_pb2,
    qos_pb2,
    router_pb2,
    security_group_pb2,
    trunk_pb2,
)
from fabric.runtime.errors import Conflict
from tests.unit.agents.node_store import MemoryNodeStore

Result = TypeVar("Result")
State = port_pb2.PortStatus

HERE = "/proc/thread-self/ns/net"  # the namespace of the node
PASSWORD = "/openstack/latest/password"
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_SIOCSIFFLAGS = 0x8914
_DO_NOT_FRAGMENT = {  # IP_MTU_DISCOVER, IPV6_MTU_DISCOVER: PMTUDISC_DO
    socket.AF_INET: (socket.IPPROTO_IP, 10, 2),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 23, 2),
}
_namespaces: set[str] = set()  # made by the test that runs
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def own_namespace() -> Iterator[None]:
    """This thread, and threads it starts, are in a new network namespace until the end."""
    home = os.open(HERE, os.O_RDONLY)
    assert _libc.unshare(_CLONE_NEWNET) == 0
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", 1))
        yield
    finally:
        assert _libc.setns(home, _CLONE_NEWNET) == 0
        os.close(home)


async def until(condition: Callable[[], bool], within_s: float = 30.0) -> float:
    """Seconds until the condition holds."""
    start = time.perf_counter()
    while not condition():
        assert time.perf_counter() - start < within_s, "the condition did not come true"
        await asyncio.sleep(0.002)
    return time.perf_counter() - start


def clean(state_dir: Path) -> None:
    """Remove what a failed test left: its namespaces, and its servers by their pid files."""
    for pid_file in state_dir.glob("**/dhcp/*/pid"):
        with contextlib.suppress(ValueError, OSError):  # it has ended by itself
            pid = int(pid_file.read_text())
            if str(pid_file) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
    for kind in ("namespaces", "routers"):
        _namespaces.update(path.name for path in state_dir.glob(f"**/{kind}/*"))
    while _namespaces:
        netns.remove(_namespaces.pop())


class Text(dict[str, bytes]):
    """Documents by path."""

    def lookup(self, path: str) -> bytes | list[str] | None:
        return self.get(path)

    def takes(self, path: str) -> bool:
        return path == PASSWORD

    async def leave(self, body: bytes) -> None:
        if PASSWORD in self:
            raise Conflict("a password was left already")
        self[PASSWORD] = body


class Cloud:
    """What the controller would write for one node."""

    def __init__(self) -> None:
        self.networks: MemoryNodeStore[network_pb2.NetworkWant, network_pb2.NetworkStatus] = MemoryNodeStore()
        self.ports: MemoryNodeStore[port_pb2.Port, port_pb2.PortStatus] = MemoryNodeStore()
        self.groups: MemoryNodeStore[
            security_group_pb2.SecurityGroupWant, security_group_pb2.SecurityGroup
        ] = MemoryNodeStore()
        self.members: MemoryNodeStore[security_group_pb2.GroupMember, security_group_pb2.GroupMember] = (
            MemoryNodeStore()
        )
        self.neighbors: MemoryNodeStore[neighbor_pb2.Neighbor, neighbor_pb2.Neighbor] = MemoryNodeStore()
        self.qos: MemoryNodeStore[qos_pb2.QosPolicyWant, qos_pb2.QosPolicy] = MemoryNodeStore()
        self.trunks: MemoryNodeStore[trunk_pb2.Trunk, trunk_pb2.TrunkStatus] = MemoryNodeStore()
        self.logs: MemoryNodeStore[log_pb2.Log, log_pb2.Log] = MemoryNodeStore()
        self.labels: MemoryNodeStore[metering_pb2.MeteringLabelWant, metering_pb2.MeteringLabelStatus] = (
            MemoryNodeStore()
        )
        self.routers: MemoryNodeStore[router_pb2.RouterWant, router_pb2.RouterStatus] = MemoryNodeStore()
        self.documents: dict[str, Documents] = {}

    def stores(self) -> NetworkStores:
        return cast(NetworkStores, self)

    def state(self, port_id: str) -> "port_pb2.PortStatus.State.ValueType":
        status = self.ports.status(port_id)
        return State.STATE_UNSPECIFIED if status is None else status.state

    async def active(self, *port_ids: str, within_s: float = 30.0) -> float:
        """Seconds until all the ports are ACTIVE."""
        return await until(lambda: all(self.state(p) == State.STATE_ACTIVE for p in port_ids), within_s)


@contextlib.asynccontextmanager
async def running(
    cloud: Cloud, state_dir: Path, settings: NetworkSettings | None = None
) -> AsyncIterator[NetworkAgent]:
    """An agent at work; at the end it is cancelled, as by a restart."""
    settings = settings or NetworkSettings(grace=timedelta(seconds=1), packet_log=state_dir / "packets.jsonl")
    host.prepare()
    drivers = real_drivers(settings, state_dir)
    agent = NetworkAgent(cloud.stores(), drivers, settings, cloud.documents.get)
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await drivers.close()


class Host:
    """A namespace in which something runs."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def call(self, function: Callable[[], Result]) -> Result:
        """Run inside; blocking."""
        return netns.call(self.namespace, function)

    async def run(self, function: Callable[[], Result]) -> Result:
        """Run inside."""
        return await netns.run(self.namespace, function)


class Guest(Host):
    """A namespace with an eth0 that is the other side of a port's tap, as a virtual machine would be."""

    def __init__(self, port: port_pb2.Port, node: str = HERE) -> None:
        """node: the network namespace that has the tap."""
        super().__init__(f"guest-{uuid.uuid4()}")
        self.mac = port.spec.mac_address
        _namespaces.add(self.namespace)
        netns.create(self.namespace)
        self._outside = netns.call(node, lambda: _open_tap(tap(port.meta.id)))
        self._inside = netns.call(self.namespace, lambda: _open_tap("eth0"))
        self._stop_read, self._stop_write = os.pipe()
        self._pump = threading.Thread(target=self._run, daemon=True)
        self._pump.start()
        self.call(self._link_up)

    async def address(self, *addresses: str, routes: Mapping[str, str] | None = None) -> None:
        """Give eth0 addresses (with prefix length), and routes by gateway."""

        def add() -> None:
            with contextlib.closing(IPRoute()) as netlink:
                index = netlink.link_lookup(ifname="eth0")[0]
                for address in addresses:
                    ip, _, length = address.partition("/")
                    netlink.addr("add", index=index, address=ip, prefixlen=int(length), flags=2)
                for destination, gateway in (routes or {}).items():
                    netlink.route("add", dst=destination, gateway=gateway)

        await self.run(add)

    def send(self, frame: bytes) -> None:
        """Send a raw frame as the guest."""
        os.write(self._outside, frame)

    def close(self) -> None:
        os.write(self._stop_write, b".")
        self._pump.join()
        for handle in (self._outside, self._inside, self._stop_read, self._stop_write):
            os.close(handle)
        netns.remove(self.namespace)

    def _link_up(self) -> None:
        with contextlib.closing(IPRoute()) as netlink:
            netlink.link("set", index=1, state="up")
            index = netlink.link_lookup(ifname="eth0")[0]
            netlink.link("set", index=index, address=self.mac, mtu=1450)
            Path("/proc/sys/net/ipv6/conf/eth0/accept_dad").write_text("0")
            Path("/proc/sys/net/ipv6/conf/eth0/router_solicitation_delay").write_text("0")
            netlink.link("set", index=index, state="up")

    def _run(self) -> None:
        other = {self._outside: self._inside, self._inside: self._outside}
        while True:
            ready, _, _ = select.select([*other, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            for handle in ready:
                with contextlib.suppress(OSError):
                    os.write(other[handle], os.read(handle, 65536))


def _open_tap(device: str) -> int:
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", device.encode(), 0x1002))
    return handle


async def reaches(
    sender: Host,
    address: str,
    port: int,
    *,
    tries: int = 3,
    wait_s: float = 0.3,
    size: int = 5,
    source: str = "",
) -> bool:
    """Whether a datagram to the address is answered by its echo server; it is not fragmented."""
    message = b"." * size
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def ask() -> bool:
        with socket.socket(family, socket.SOCK_DGRAM) as handle:
            handle.settimeout(wait_s)
            handle.setsockopt(*_DO_NOT_FRAGMENT[family])
            handle.bind((source, 0))
            for _ in range(tries):
                with contextlib.suppress(OSError):
                    handle.sendto(message, (address, port))
                    return handle.recv(2000) == message
        return False

    return await sender.run(ask)


@contextlib.asynccontextmanager
async def echo(guest: Host, port: int, family: int = socket.AF_INET) -> AsyncIterator[None]:
    """A UDP echo server there."""

    def make() -> socket.socket:
        handle = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        handle.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
        return handle

    handle = await guest.run(make)
    loop = asyncio.get_running_loop()

    def answer() -> None:
        data, peer = handle.recvfrom(2000)
        with contextlib.suppress(OSError):
            handle.sendto(data, peer)

    loop.add_reader(handle, answer)
    try:
        yield
    finally:
        loop.remove_reader(handle)
        handle.close()


async def eventually(probe: Callable[[], Awaitable[bool]], within_s: float = 20.0) -> bool:
    """Whether the probe says yes before the time is over."""
    end = time.perf_counter() + within_s
    while time.perf_counter() < end:
        if await probe():
            return True
    return False
