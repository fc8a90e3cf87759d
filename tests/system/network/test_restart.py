"""The agent of a full node starts again: nobody on the node notices, nothing is written, and it is soon done.

CLAIMS.md, C12.
"""

import asyncio
import contextlib
import socket
import struct
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from agents.network import name, netns
from fabric.network.v1 import port_pb2, router_pb2
from tests.size import FULL, size
from tests.system.network.lab import HERE, Cloud, Guest, Host, echo, eventually, reaches, running, until
from tests.system.network.test_agent import ANY_IN, ANY_OUT, until_quiet, watched_links
from tests.system.network.test_router import an_internet, an_outside
from tests.unit.agents.network.wants import a_group, a_network, a_port, a_router, a_router_port, a_subnet

ROUTERS = size("FABRIC_ROUTERS", 5, 50)
PORTS = 10  # of each router's network
WITHIN_S = 5.0 if FULL else 20.0  # 5, on a machine that does nothing else

_NETFILTER, _GET_GENERATION = 12, 10 << 8 | 16


class Full:
    """A node on which each router leads from a network of its own to the outside."""

    def __init__(self) -> None:
        self.cloud = Cloud()
        self.ports: list[list[port_pb2.Port]] = []
        self.routers: list[router_pb2.RouterWant] = []
        outside, group_id = an_outside(), str(uuid.uuid4())
        self.cloud.networks.bind(outside.network.meta.id, outside)
        self.cloud.groups.bind(group_id, a_group(*ANY_OUT, ANY_IN, group_id=group_id))
        for i in range(ROUTERS):
            network_id = str(uuid.uuid4())
            subnet = a_subnet(network_id, f"10.{i}.0.0/24", gateway=f"10.{i}.0.1")
            inside = a_network(subnet, network_id=network_id, dhcp=(f"10.{i}.0.2",))
            self.cloud.networks.bind(network_id, inside)
            addresses = [f"10.{i}.0.{10 + j}" for j in range(PORTS)]
            ports = [a_port(network_id, [(subnet, address)], groups=[group_id]) for address in addresses]
            gateway = a_router_port(outside, f"203.0.113.{10 + i}", gateway=True)
            router = a_router(a_router_port(inside, f"10.{i}.0.1"), gateway)
            self.ports.append(ports)
            self.routers.append(router)
            for port in ports:
                self.cloud.ports.bind(port.meta.id, port)
            self.cloud.routers.bind(router.router.meta.id, router)

    async def settled(self, within_s: float) -> float:
        """Seconds until the agent has said of everything that it is there."""
        stores = (self.cloud.networks, self.cloud.ports, self.cloud.routers)

        def all_said() -> bool:
            return all(
                (status := store.status(id_)) is not None and status.state == type(status).STATE_ACTIVE
                for store in stores
                for id_ in store.ids()
            )

        return await until(all_said, within_s)

    def forget(self) -> None:
        """What an agent has said must be said again, by which it is seen when it is done."""
        for store in (self.cloud.networks, self.cloud.ports, self.cloud.routers):
            for id_ in store.ids():
                store.lose_report(id_)

    def namespaces(self) -> list[str]:
        """All in which the agent could write."""
        routers = [name.router_namespace(router.router.meta.id) for router in self.routers]
        return [HERE, *routers, *(name.namespace(ports[0].spec.network_id) for ports in self.ports)]


async def test_a_full_node_does_not_notice_that_its_agent_starts_again(tmp_path: Path) -> None:
    full = Full()
    async with contextlib.AsyncExitStack() as stack:
        async with running(full.cloud, tmp_path):
            made_s = await full.settled(within_s=120)
            one, two = (stack.enter_context(contextlib.closing(Guest(port))) for port in full.ports[0][:2])
            three = stack.enter_context(contextlib.closing(Guest(full.ports[-1][0])))
            for guest, network, host in ((one, 0, 10), (two, 0, 11), (three, ROUTERS - 1, 10)):
                routes = {"0.0.0.0/0": f"10.{network}.0.1"}
                await guest.address(f"10.{network}.0.{host}/24", routes=routes)
            for answering in (two, stack.enter_context(an_internet())):
                await stack.enter_async_context(echo(answering, 7))
            for guest, address in ((one, "10.0.0.11"), (three, "198.51.100.9")):
                assert await eventually(lambda g=guest, a=address: reaches(g, a, 7))  # type: ignore[misc]
            await until_quiet(*full.namespaces())
        before = {where: netns.call(where, generation) for where in full.namespaces()}
        changes = {
            where: netns.call(where, lambda: stack.enter_context(watched_links()))
            for where in full.namespaces()
        }
        full.forget()
        async with (
            asking(one, "10.0.0.11") as lost,
            asking(three, "198.51.100.9") as lost_outside,
            running(full.cloud, tmp_path),
        ):
            again_s = await full.settled(within_s=60)
            await asyncio.sleep(1)
        assert {where: netns.call(where, generation) for where in full.namespaces()} == before
        assert {where: kinds for where, change in changes.items() if (kinds := change())} == {}
        assert (lost(), lost_outside()) == (0, 0)
    print(f"{ROUTERS * PORTS} ports and {ROUTERS} routers: made in {made_s:.2f} s, again in {again_s:.2f} s")
    assert again_s < WITHIN_S


@contextlib.asynccontextmanager
async def asking(guest: Host, address: str) -> AsyncIterator[Callable[[], int]]:
    """Send ten datagrams a second to the echo server there; the function tells how many had no answer."""
    end = threading.Event()
    sent, answered = set[bytes](), set[bytes]()

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            handle.setblocking(False)
            while not end.wait(0.1):
                message = str(len(sent)).encode()
                sent.add(message)
                handle.sendto(message, (address, 7))
                with contextlib.suppress(BlockingIOError):
                    while True:
                        answered.add(handle.recv(100))
            handle.settimeout(2)
            with contextlib.suppress(TimeoutError):
                while answered != sent:
                    answered.add(handle.recv(100))

    task = asyncio.create_task(guest.run(ask))
    try:
        yield lambda: len(sent - answered)
    finally:
        end.set()
        await task
        assert sent


def generation() -> int:
    """A number that each nftables transaction in this namespace raises."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as handle:
        handle.send(struct.pack("=IHHIIBBH", 20, _GET_GENERATION, 1, 1, 0, 0, 0, 0))
        return int.from_bytes(handle.recv(4096)[24:28], "big")
