"""Networks on a real kernel: throughput over VXLAN, and what a member of a large security group costs.

Two nodes with real agents, each in a namespace; the guests' ends are veths, which the agents take for taps. Needs
root, and works in network namespaces of its own.
"""

import asyncio
import contextlib
import functools
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import IPRoute

from agents.network import netns
from agents.network.name import tap
from fabric.network.v1 import port_pb2, security_group_pb2
from tests.system.network.lab import own_namespace
from tests.system.network.node import Node, nodes
from tests.system.network.test_span import spread
from tests.unit.agents.network.wants import a_group, a_network, a_port, a_subnet

SPAN_S = 3.0
MEMBERS = 2000
_PORT = 5001


def measure() -> dict[str, float]:
    """bare, vxlan: Gbit/s of one TCP connection; member_s: until the 2,001st member is let in."""
    with tempfile.TemporaryDirectory(prefix="fabric-bench-") as directory, own_namespace():
        return asyncio.run(_measure(Path(directory)))


async def _measure(directory: Path) -> dict[str, float]:
    network_id, group_id, remote_id = (str(uuid.uuid4()) for _ in range(3))
    subnet = a_subnet(network_id, enable_dhcp=False)
    want = a_network(subnet, network_id=network_id, dhcp=())
    want.network.spec.network_type, want.network.spec.segmentation_id = "vxlan", 77
    ports = [a_port(network_id, [(subnet, f"10.0.0.{i}")], groups=[group_id]) for i in (5, 6)]
    out: dict[str, object] = {"direction": "egress", "ethertype": "IPv4"}
    from_group: dict[str, object] = {
        "direction": "ingress",
        "ethertype": "IPv4",
        "remote_group_id": remote_id,
    }
    async with contextlib.AsyncExitStack() as stack:
        one, two = await stack.enter_async_context(nodes(directory))
        for at in range(MEMBERS):
            two.want("members", f"{remote_id}.{at}", _member(remote_id, f"10.1.{at // 250}.{at % 250 + 1}"))
        for node in (one, two):
            node.want("groups", group_id, a_group(out, from_group, group_id=group_id))
        guests = [
            stack.enter_context(_guest(port, node)) for port, node in zip(ports, (one, two), strict=True)
        ]
        spread([one, two], want, ports)
        await one.settled("ports", ports[0].meta.id, within_s=60)
        await two.settled("ports", ports[1].meta.id, within_s=60)
        heard = asyncio.create_task(asyncio.to_thread(_hear, guests))
        started = time.perf_counter()
        two.want("members", f"{remote_id}.new", _member(remote_id, "10.0.0.5"))
        member_s = await heard - started
        vxlan = await asyncio.to_thread(_throughput, guests, "10.0.0.6")
        netns.call("/proc/thread-self/ns/net", lambda: _join(guests))
        bare = await asyncio.to_thread(_throughput, guests, "192.168.0.6")
    return {"bare": bare, "vxlan": vxlan, "member_s": member_s}


def _member(group_id: str, address: str) -> security_group_pb2.GroupMember:
    return security_group_pb2.GroupMember(security_group_id=group_id, port_id=address, addresses=[address])


@contextlib.contextmanager
def _guest(port: port_pb2.Port, node: Node) -> Iterator[str]:
    """A namespace whose eth0 is the port's."""
    namespace = f"guest-{uuid.uuid4()}"
    netns.create(namespace)

    def outside() -> None:
        with contextlib.closing(IPRoute()) as netlink, open(netns.RUN / namespace) as there:
            peer = {"ifname": "eth0", "net_ns_fd": there.fileno(), "address": port.spec.mac_address}
            netlink.link("add", ifname=tap(port.meta.id), kind="veth", peer=peer)

    try:
        netns.call(node.namespace, outside)
        netns.call(namespace, lambda: _configure("eth0", port.spec.fixed_ips[0].ip_address, 1450))
        yield namespace
    finally:
        netns.remove(namespace)


def _join(guests: list[str]) -> None:
    """A second link between the guests, with nothing in between."""
    with contextlib.closing(IPRoute()) as netlink, contextlib.ExitStack() as files:
        near, far = (files.enter_context(open(netns.RUN / guest)).fileno() for guest in guests)
        peer = {"ifname": "bare", "net_ns_fd": far}
        netlink.link("add", ifname="bare", kind="veth", net_ns_fd=near, peer=peer)
    for last, guest in zip((5, 6), guests, strict=True):
        netns.call(guest, functools.partial(_configure, "bare", f"192.168.0.{last}", 1450))


def _configure(device: str, address: str, mtu: int) -> None:
    with contextlib.closing(IPRoute()) as netlink:
        index = netlink.link_lookup(ifname=device)[0]
        netlink.addr("add", index=index, address=address, prefixlen=24)
        netlink.link("set", index=index, mtu=mtu, state="up")


def _socket(guest: str, kind: socket.SocketKind) -> socket.socket:
    return netns.call(guest, lambda: socket.socket(socket.AF_INET, kind))


def _hear(guests: list[str]) -> float:
    """The first guest calls without end; when the second hears it."""
    with _socket(guests[0], socket.SOCK_DGRAM) as caller, _socket(guests[1], socket.SOCK_DGRAM) as listener:
        listener.bind(("0.0.0.0", _PORT))
        listener.settimeout(0.002)
        while True:
            with contextlib.suppress(OSError):
                caller.sendto(b".", ("10.0.0.6", _PORT))
                listener.recv(10)
                return time.perf_counter()


def _throughput(guests: list[str], address: str) -> float:
    """Gbit/s from the first to the second."""
    with _socket(guests[1], socket.SOCK_STREAM) as server, _socket(guests[0], socket.SOCK_STREAM) as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, _PORT))
        server.listen(1)
        sender = threading.Thread(target=_send, args=(client, address))
        sender.start()
        connection, _ = server.accept()
        with connection:
            count, buffer, started = 0, bytearray(1 << 20), time.perf_counter()
            while (got := connection.recv_into(buffer)) > 0:
                count += got
            seconds = time.perf_counter() - started
        sender.join()
        return count * 8 / seconds / 1e9


def _send(client: socket.socket, address: str) -> None:
    client.connect((address, _PORT))
    end, data = time.perf_counter() + SPAN_S, bytes(1 << 20)
    while time.perf_counter() < end:
        client.sendall(data)
    client.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    print(measure())
