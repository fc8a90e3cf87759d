"""Security groups and anti-spoofing, tried with frames between real taps."""

import asyncio
import contextlib
import socket
import struct
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from fabric.network.v1 import port_pb2, security_group_pb2
from tests.system.network.dhcp_client import obtain
from tests.system.network.lab import Cloud, Guest, echo, eventually, reaches, running
from tests.unit.agents.network.wants import a_group, a_network, a_port, a_subnet

ANY_OUT: list[dict[str, object]] = [{"direction": "egress", "ethertype": kind} for kind in ("IPv4", "IPv6")]
UDP_IN = {
    "direction": "ingress",
    "ethertype": "IPv4",
    "protocol": "udp",
    "port_range_min": 7,
    "port_range_max": 7,
}


class Pair:
    """Two guests of one network, each with its own group."""

    def __init__(self) -> None:
        self.cloud, self.network_id = Cloud(), str(uuid.uuid4())
        self.subnet = a_subnet(self.network_id)
        self.six = a_subnet(self.network_id, "fd00:1::/64", gateway="", enable_dhcp=False)
        self.group_ids = [str(uuid.uuid4()), str(uuid.uuid4())]
        self.ports = [
            a_port(
                self.network_id,
                [(self.subnet, f"10.0.0.{i + 5}"), (self.six, f"fd00:1::{i + 5}")],
                groups=[group_id],
            )
            for i, group_id in enumerate(self.group_ids)
        ]

    def group(self, which: int, *rules: dict[str, object]) -> None:
        group_id = self.group_ids[which]
        self.cloud.groups.bind(group_id, a_group(*rules, group_id=group_id))


@contextlib.asynccontextmanager
async def pair(state_dir: Path) -> AsyncIterator[tuple[Pair, Guest, Guest]]:
    it = Pair()
    want = a_network(it.subnet, it.six, network_id=it.network_id, dhcp=("10.0.0.2", "fd00:1::2"))
    it.cloud.networks.bind(it.network_id, want)
    for i, port in enumerate(it.ports):
        it.group(i, *ANY_OUT)
        it.cloud.ports.bind(port.meta.id, port)
    async with running(it.cloud, state_dir):
        await it.cloud.active(*(port.meta.id for port in it.ports))
        with contextlib.closing(Guest(it.ports[0])) as one, contextlib.closing(Guest(it.ports[1])) as two:
            await one.address("10.0.0.5/24", "fd00:1::5/64")
            await two.address("10.0.0.6/24", "fd00:1::6/64")
            yield it, one, two


async def test_a_rule_lets_traffic_in_and_its_removal_cuts_the_flow(tmp_path: Path) -> None:
    async with pair(tmp_path) as (it, one, two), echo(two, 7):
        assert (await one.run(lambda: obtain(one.mac))) is not None
        assert not await reaches(one, "10.0.0.6", 7)
        it.group(1, *ANY_OUT, UDP_IN)
        assert await eventually(lambda: reaches(one, "10.0.0.6", 7))

        def connect() -> socket.socket:
            handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            handle.settimeout(0.3)
            handle.connect(("10.0.0.6", 7))
            return handle

        def ask(handle: socket.socket) -> bool:
            with contextlib.suppress(OSError):
                handle.send(b"hello")
                return handle.recv(10) == b"hello"
            return False

        with await one.run(connect) as handle:
            assert await eventually(lambda: asyncio.to_thread(ask, handle))
            it.group(1, *ANY_OUT)  # the flow was established: it must end all the same

            async def ended() -> bool:
                return not await asyncio.to_thread(ask, handle)

            assert await eventually(ended)
            assert not await asyncio.to_thread(ask, handle)


async def test_both_sides_have_a_say(tmp_path: Path) -> None:
    async with pair(tmp_path) as (it, one, two), echo(two, 7):
        it.group(1, UDP_IN)
        assert await eventually(lambda: reaches(one, "10.0.0.6", 7))
        it.group(0)  # the sender may send nothing any more

        async def silent() -> bool:
            return not await reaches(one, "10.0.0.6", 7, tries=1)

        assert await eventually(silent)
        assert not await reaches(one, "10.0.0.6", 7)


async def test_a_member_opens_a_flow_and_closes_it(tmp_path: Path) -> None:
    async with pair(tmp_path) as (it, one, two), echo(two, 7):
        remote = str(uuid.uuid4())
        rule: dict[str, object] = {"direction": "ingress", "ethertype": "IPv4", "remote_group_id": remote}
        it.group(1, *ANY_OUT, rule)
        assert not await reaches(one, "10.0.0.6", 7)
        member = security_group_pb2.GroupMember(
            security_group_id=remote, port_id=it.ports[0].meta.id, addresses=["10.0.0.5", "fd00:1::5"]
        )
        member_id = f"{remote}.{it.ports[0].meta.id}"
        it.cloud.members.bind(member_id, member)
        assert await eventually(lambda: reaches(one, "10.0.0.6", 7))
        it.cloud.members.unbind(member_id)

        async def silent() -> bool:
            return not await reaches(one, "10.0.0.6", 7, tries=1)

        assert await eventually(silent)


async def test_ipv6_is_filtered_too(tmp_path: Path) -> None:
    async with pair(tmp_path) as (it, one, two), echo(two, 7, socket.AF_INET6):
        assert not await reaches(one, "fd00:1::6", 7)
        it.group(1, *ANY_OUT, {**UDP_IN, "ethertype": "IPv6"})
        assert await eventually(lambda: reaches(one, "fd00:1::6", 7))


async def test_a_port_sends_only_as_itself(tmp_path: Path) -> None:
    async with pair(tmp_path) as (it, one, two):
        it.group(1, *ANY_OUT, {"direction": "ingress", "ethertype": "IPv4"})
        seen = await two.run(sniffer)
        await asyncio.sleep(0.2)
        with seen:
            assert await eventually(lambda: arrives(one, seen, datagram(it.ports, "10.0.0.5")))
            assert not await arrives(one, seen, datagram(it.ports, "10.0.0.77"))  # another's address
            assert not await arrives(one, seen, datagram(it.ports, "10.0.0.5", source="fa:16:3e:00:00:01"))
            assert not await arrives(one, seen, datagram(it.ports, "10.0.0.5", vlan=True))
            assert await eventually(lambda: arrives(one, seen, arp(it.ports, "10.0.0.5")))
            assert not await arrives(one, seen, arp(it.ports, "10.0.0.1"))  # not the gateway
            assert not await arrives(one, seen, datagram(it.ports, "10.0.0.5", numbers=(67, 68)))
            pair_port = port_pb2.Port()
            pair_port.CopyFrom(it.ports[0])
            pair_port.spec.allowed_address_pairs.add(ip_address="10.0.0.64/26")
            pair_port.meta.generation = 2
            it.cloud.ports.bind(pair_port.meta.id, pair_port)
            assert await eventually(lambda: arrives(one, seen, datagram(it.ports, "10.0.0.77")))
            open_port = port_pb2.Port()
            open_port.CopyFrom(it.ports[0])
            open_port.spec.port_security_enabled = False
            open_port.meta.generation = 3
            it.cloud.ports.bind(open_port.meta.id, open_port)
            assert await eventually(lambda: arrives(one, seen, arp(it.ports, "10.0.0.1")))


async def test_a_port_is_neighbour_only_of_itself(tmp_path: Path) -> None:
    async with pair(tmp_path) as (it, one, two):
        seen = await two.run(sniffer)
        await asyncio.sleep(0.2)
        with seen:
            assert await eventually(lambda: arrives(one, seen, neighbour(it.ports, "fd00:1::5")))
            assert not await arrives(one, seen, neighbour(it.ports, "fd00:1::9"))
            assert not await arrives(one, seen, neighbour(it.ports, "fd00:1::5", kind=134))  # no router


def sniffer() -> socket.socket:
    handle = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    handle.bind(("eth0", 0))
    return handle


async def arrives(sender: Guest, seen: socket.socket, frame: bytes) -> bool:
    """Whether the frame (made unique) is seen by the other."""

    def look() -> bool:
        seen.settimeout(0.15)
        with contextlib.suppress(TimeoutError):
            while True:
                if seen.recv(2000)[12:] == frame[12:]:
                    return True
        return False

    sender.send(frame)
    return await asyncio.to_thread(look)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def datagram(
    ports: list[port_pb2.Port],
    address: str,
    *,
    source: str | None = None,
    vlan: bool = False,
    numbers: tuple[int, int] = (5000, 7),
) -> bytes:
    body = uuid.uuid4().bytes
    udp = struct.pack("!HHHH", *numbers, 8 + len(body), 0) + body
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0,
        socket.inet_aton(address), socket.inet_aton("10.0.0.6"),
    )  # fmt: skip
    head = head[:10] + checksum(head) + head[12:]
    ether = mac(ports[1].spec.mac_address) + mac(source or ports[0].spec.mac_address)
    return ether + (b"\x81\x00\x00\x05" if vlan else b"") + b"\x08\x00" + head + udp


def arp(ports: list[port_pb2.Port], address: str) -> bytes:
    own = mac(ports[0].spec.mac_address)
    body = struct.pack("!HHBBH", 1, 0x800, 6, 4, 2) + own + socket.inet_aton(address)
    target = mac(ports[1].spec.mac_address) + socket.inet_aton("10.0.0.6")
    return mac(ports[1].spec.mac_address) + own + b"\x08\x06" + body + target + uuid.uuid4().bytes


def neighbour(ports: list[port_pb2.Port], address: str, *, kind: int = 136) -> bytes:
    source = socket.inet_pton(socket.AF_INET6, "fd00:1::5")
    target = socket.inet_pton(socket.AF_INET6, "fd00:1::6")
    own = mac(ports[0].spec.mac_address)
    body = struct.pack("!BBHI", kind, 0, 0, 0x60000000) + socket.inet_pton(socket.AF_INET6, address)
    body += b"\x02\x01" + own
    sum_ = checksum(source + target + struct.pack("!II", len(body), 58) + body)
    body = body[:2] + sum_ + body[4:]
    head = struct.pack("!IHBB", 0x60000000, len(body), 58, 255) + source + target
    return mac(ports[1].spec.mac_address) + own + b"\x86\xdd" + head + body


def checksum(data: bytes) -> bytes:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


async def test_a_stateless_group_lets_no_answer_in_that_it_does_not_name(tmp_path: Path) -> None:
    async with pair(tmp_path) as (it, one, two), echo(two, 7):
        it.group(1, *ANY_OUT, UDP_IN)
        assert await eventually(lambda: reaches(one, "10.0.0.6", 7))
        stateless = a_group(*ANY_OUT, group_id=it.group_ids[0])
        stateless.security_group.spec.stateful = False
        it.cloud.groups.bind(it.group_ids[0], stateless)

        async def silent() -> bool:
            return not await reaches(one, "10.0.0.6", 7)

        assert await eventually(silent)  # although the flow is established
        answers: dict[str, object] = {"direction": "ingress", "ethertype": "IPv4", "protocol": "udp"}
        stateless = a_group(*ANY_OUT, answers, group_id=it.group_ids[0])
        stateless.security_group.spec.stateful = False
        it.cloud.groups.bind(it.group_ids[0], stateless)
        assert await eventually(lambda: reaches(one, "10.0.0.6", 7))
        one_way = a_group(UDP_IN, group_id=it.group_ids[1])
        one_way.security_group.spec.stateful = False  # the question comes in, the answer stays
        it.cloud.groups.bind(it.group_ids[1], one_way)
        assert await eventually(silent)
