"""QoS: limits, marks and packet rates, measured with real transfers between two guests."""

import contextlib
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyroute2 import IPRoute

from agents.network.name import shaper, tap
from tests.system.network.lab import Cloud, Guest, Host, eventually, running, until
from tests.unit.agents.network.wants import a_network, a_policy, a_port, a_subnet

KBPS = 4000
SECONDS = 2.0


class Pair:
    """Two guests of one network; the first goes by a policy."""

    def __init__(self) -> None:
        self.cloud, self.network_id, self.policy_id = Cloud(), str(uuid.uuid4()), str(uuid.uuid4())
        subnet = a_subnet(self.network_id)
        self.ports = [a_port(self.network_id, [(subnet, f"10.0.0.{n}")], secure=False) for n in (5, 6)]
        self.ports[0].spec.qos_policy_id = self.policy_id
        self.cloud.networks.bind(self.network_id, a_network(subnet, network_id=self.network_id, dhcp=()))

    def rules(self, **rules: dict[str, object]) -> None:
        self.cloud.qos.bind(self.policy_id, a_policy(self.policy_id, **rules))


@contextlib.asynccontextmanager
async def pair(state_dir: Path, **rules: dict[str, object]) -> AsyncIterator[tuple[Pair, Guest, Guest]]:
    it = Pair()
    it.rules(**rules)
    for port in it.ports:
        it.cloud.ports.bind(port.meta.id, port)
    async with running(it.cloud, state_dir):
        await it.cloud.active(*(port.meta.id for port in it.ports))
        with contextlib.closing(Guest(it.ports[0])) as one, contextlib.closing(Guest(it.ports[1])) as two:
            await one.address("10.0.0.5/24")
            await two.address("10.0.0.6/24")
            yield it, one, two


async def kbps(sender: Host, receiver: Host, address: str) -> float:
    """What a TCP transfer carries, in kbit/s of its data, after its first half second."""

    def listen() -> socket.socket:
        handle = socket.create_server(("", 5001))
        handle.settimeout(10)
        return handle

    def connect() -> socket.socket:
        return socket.create_connection((address, 5001), timeout=10)

    with await receiver.run(listen) as server, await sender.run(connect) as client:
        inside, _ = server.accept()
        with inside:
            inside.settimeout(10)
            client.setblocking(False)
            start = first = time.perf_counter()
            count = 0
            while time.perf_counter() - start < SECONDS:
                with contextlib.suppress(BlockingIOError):
                    client.send(b"\0" * 65536)
                size = len(inside.recv(65536))
                if time.perf_counter() - start < 0.5:
                    first = time.perf_counter()
                else:
                    count += size
            return count * 8 / 1000 / (time.perf_counter() - first)


async def holds(sender: Host, receiver: Host, address: str, limit: int) -> bool:
    """Whether what is carried is the limit, within 10 %, unless this process stood still for a moment meanwhile."""
    for _ in range(4):
        carried = await kbps(sender, receiver, address)
        if 0.9 * limit < carried < 1.1 * limit:
            return True
    return False


async def test_a_bandwidth_limit_holds_in_each_direction(tmp_path: Path) -> None:
    rules: dict[str, dict[str, object]] = {
        "bandwidth_limit__egress": {"max_kbps": KBPS},
        "bandwidth_limit__ingress": {"max_kbps": KBPS // 2, "max_burst_kbps": KBPS // 100},
    }
    async with pair(tmp_path, **rules) as (it, one, two):
        assert await holds(one, two, "10.0.0.6", KBPS)
        assert await holds(two, one, "10.0.0.5", KBPS // 2)
        it.rules()
        await until(lambda: not kinds(shaper(it.ports[0].meta.id)))
        assert await kbps(one, two, "10.0.0.6") > 2 * KBPS


def kinds(device: str) -> list[str]:
    """The queues of a device."""

    def look() -> list[str]:
        with contextlib.closing(IPRoute()) as netlink:
            index = netlink.link_lookup(ifname=device)
            return [qdisc.get_attr("TCA_KIND") for qdisc in netlink.get_qdiscs(index[0])] if index else []

    with ThreadPoolExecutor(1) as thread:  # pyroute2 does not work where an event loop runs
        return thread.submit(look).result()


async def test_limits_come_and_go_and_outlive_the_agent(tmp_path: Path) -> None:
    async with pair(tmp_path) as (it, _, _):
        port_id = it.ports[0].meta.id
        assert "tbf" not in kinds(tap(port_id))
        it.rules(bandwidth_limit__egress={"max_kbps": KBPS}, bandwidth_limit__ingress={"max_kbps": KBPS})
        await until(lambda: {"tbf", "ingress"} <= set(kinds(tap(port_id))))
        assert kinds(shaper(port_id)) == ["tbf"]
    it.rules(bandwidth_limit__ingress={"max_kbps": KBPS})  # while no agent is there
    async with running(it.cloud, tmp_path) as agent:
        await until(lambda: kinds(tap(port_id)) == ["tbf"] and not kinds(shaper(port_id)))
        it.rules(bandwidth_limit__egress={"max_kbps": KBPS})
        await until(lambda: "ingress" in kinds(tap(port_id)) and kinds(shaper(port_id)) == ["tbf"])
        it.cloud.ports.unbind(port_id)
        await until(lambda: not kinds(tap(port_id)) and not kinds(shaper(port_id)))
        assert await agent._qos.find() == []


async def test_what_a_port_sends_is_marked(tmp_path: Path) -> None:
    async with pair(tmp_path, dscp_marking={"dscp_mark": 26}) as (it, one, two):

        def listen() -> socket.socket:
            handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            handle.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
            handle.settimeout(0.3)
            handle.bind(("0.0.0.0", 7))
            return handle

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
                handle.sendto(b"hello", ("10.0.0.6", 7))

        with await two.run(listen) as handle:

            async def mark() -> int:
                await one.run(send)
                with contextlib.suppress(TimeoutError):
                    data, ancillary, _, _ = handle.recvmsg(100, 100)
                    assert data == b"hello"
                    return ancillary[0][2][0] >> 2
                return -1

            def is_now(expected: int) -> Callable[[], object]:
                async def probe() -> bool:
                    return await mark() == expected

                return probe

            assert await eventually(is_now(26))  # type: ignore[arg-type]
            it.rules()
            assert await eventually(is_now(0))  # type: ignore[arg-type]


async def test_packets_are_counted(tmp_path: Path) -> None:
    rate: dict[str, object] = {"max_kpps": 1, "max_burst_kpps": 1}
    async with pair(tmp_path, packet_rate_limit=rate) as (_, one, two):

        def listen() -> socket.socket:
            handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            handle.settimeout(0.5)
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
            handle.bind(("0.0.0.0", 7))
            return handle

        def send() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
                handle.connect(("10.0.0.6", 7))
                for number in range(4000):
                    handle.send(b"x")
                    if number % 40 == 0:
                        time.sleep(0.005)  # else the guest's own queue is what drops them

        with await two.run(listen) as handle:
            start, count = time.perf_counter(), 0
            await one.run(send)
            with contextlib.suppress(TimeoutError):
                while handle.recv(10):
                    count += 1
            assert 500 < count < 1000 + 1000 * (time.perf_counter() - start) + 100
