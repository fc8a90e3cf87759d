"""What a network offers its guests beyond an IPv4 address: names, routes, IPv6, its own options, a reused address."""

import asyncio
import contextlib
import socket
import struct
import time
import uuid
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from agents.network import dns_relay, netns
from agents.network.dns_relay import DnsRelay
from agents.network.name import namespace
from fabric.network.v1 import port_pb2
from tests.system.network.dhcp_client import obtain, resolve
from tests.system.network.lab import Cloud, Guest, eventually, running, until
from tests.unit.agents.network.wants import a_network, a_port, a_subnet


def copy_of(port: port_pb2.Port) -> port_pb2.Port:
    """With the next generation."""
    copy = port_pb2.Port()
    copy.CopyFrom(port)
    copy.meta.generation += 1
    return copy


async def test_strangers_get_nothing_and_ports_their_options(tmp_path: Path) -> None:
    cloud, network_id = Cloud(), str(uuid.uuid4())
    subnet = a_subnet(network_id, gateway="", dns_nameservers=["192.0.2.53"])
    subnet.spec.host_routes.add(destination="192.0.2.0/24", nexthop="10.0.0.9")
    port = a_port(network_id, [(subnet, "10.0.0.5")], secure=False)
    port.spec.dns_name = "web"
    port.spec.extra_dhcp_opts.add(name="domain-name", value="example.org")
    port.spec.extra_dhcp_opts.add(name="bogus\nserver=1.2.3.4", value="x")
    cloud.networks.bind(network_id, a_network(subnet, network_id=network_id))
    cloud.ports.bind(port.meta.id, port)
    async with running(cloud, tmp_path):
        await cloud.active(port.meta.id)
        with contextlib.closing(Guest(port)) as guest:
            ack = await guest.run(lambda: obtain(guest.mac))
            assert ack is not None
            assert ack.addresses(3) == []
            assert ack.addresses(6) == ["192.0.2.53"]
            assert ack.options[15] == b"example.org"
            assert ack.options[12] == b"web"
            assert bytes([24, 192, 0, 2, 10, 0, 0, 9]) in ack.options[121]
            assert await guest.run(lambda: obtain("fa:16:3e:ff:ff:ff", timeout_s=1)) is None


async def test_a_freed_address_goes_to_the_next_port_at_once(tmp_path: Path) -> None:
    cloud, network_id = Cloud(), str(uuid.uuid4())
    subnet = a_subnet(network_id)
    cloud.networks.bind(network_id, a_network(subnet, network_id=network_id))
    async with running(cloud, tmp_path):
        for _ in range(2):
            port = a_port(network_id, [(subnet, "10.0.0.5")], secure=False)
            cloud.ports.bind(port.meta.id, port)
            await cloud.active(port.meta.id)
            with contextlib.closing(Guest(port)) as guest:
                ack = await guest.run(lambda guest=guest: obtain(guest.mac))  # type: ignore[misc]
                assert ack is not None
                assert ack.address == "10.0.0.5"
            cloud.ports.unbind(port.meta.id)
            await asyncio.sleep(0.3)


async def test_guests_resolve_ports_and_what_the_node_resolves(tmp_path: Path) -> None:
    cloud, network_id = Cloud(), str(uuid.uuid4())
    subnet = a_subnet(network_id)
    ports = [a_port(network_id, [(subnet, f"10.0.0.{i}")], secure=False) for i in (5, 6)]
    ports[1].spec.dns_name = "web"
    cloud.networks.bind(network_id, a_network(subnet, network_id=network_id))
    for port in ports:
        cloud.ports.bind(port.meta.id, port)
    async with running(cloud, tmp_path):
        await cloud.active(*(port.meta.id for port in ports))
        with contextlib.closing(Guest(ports[0])) as guest:
            await guest.address("10.0.0.5/24")

            async def resolves(host: str, address: str) -> bool:
                return address in await guest.run(lambda: resolve("10.0.0.2", host))

            assert await eventually(lambda: resolves("web.openstacklocal", "10.0.0.6"))
            assert await eventually(lambda: resolves("host-10-0-0-5.openstacklocal", "10.0.0.5"))


async def test_the_relay_asks_the_nodes_resolver(tmp_path: Path) -> None:
    network_id = str(uuid.uuid4())
    netns.create(namespace(network_id))
    loop = asyncio.get_running_loop()
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    resolver.bind(("127.0.0.1", 0))

    def answer() -> None:
        data, peer = resolver.recvfrom(2000)
        resolver.sendto(data[:2] + b"answer", peer)

    loop.add_reader(resolver, answer)
    relay = DnsRelay(lambda: ["127.0.0.1"], port=resolver.getsockname()[1])

    def ask() -> bytes:
        with contextlib.closing(IPRoute()) as netlink:
            netlink.link("set", index=1, state="up")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
            handle.settimeout(2)
            handle.sendto(b"ID" + bytes(20), (dns_relay.ADDRESS, dns_relay.PORT))
            return handle.recv(100)

    try:
        await relay.ensure(network_id)
        assert await netns.run(namespace(network_id), ask) == b"IDanswer"
    finally:
        await relay.close()
        loop.remove_reader(resolver)
        resolver.close()
        netns.remove(namespace(network_id))


@pytest.mark.parametrize("mode", ["slaac", "dhcpv6-stateless"])
async def test_router_advertisements_let_guests_make_addresses(tmp_path: Path, mode: str) -> None:
    cloud, network_id = Cloud(), str(uuid.uuid4())
    subnet = a_subnet(network_id, "fd00:2::/64", gateway="", ipv6_ra_mode=mode, ipv6_address_mode=mode)
    port = a_port(network_id, [], secure=True)
    octets = [int(part, 16) for part in port.spec.mac_address.split(":")]
    address = "fd00:2::{:02x}{:02x}:{:02x}ff:fe{:02x}:{:02x}{:02x}".format(octets[0] ^ 2, *octets[1:])
    port.spec.fixed_ips.add(subnet_id=subnet.meta.id, ip_address=address)
    cloud.networks.bind(network_id, a_network(subnet, network_id=network_id, dhcp=("fd00:2::2",)))
    cloud.ports.bind(port.meta.id, port)
    async with running(cloud, tmp_path):
        await cloud.active(port.meta.id)
        with contextlib.closing(Guest(port)) as guest:

            def addresses() -> list[str]:
                with contextlib.closing(IPRoute()) as netlink:
                    return [
                        message.get_attr("IFA_ADDRESS")
                        for message in netlink.get_addr(family=socket.AF_INET6)
                    ]

            async def has_one() -> bool:
                await asyncio.sleep(0.1)
                return any(found.startswith("fd00:2:") for found in await guest.run(addresses))

            assert await eventually(has_one, within_s=15)


async def test_stateful_dhcpv6_gives_the_ports_address(tmp_path: Path) -> None:
    cloud, network_id, mode = Cloud(), str(uuid.uuid4()), "dhcpv6-stateful"
    subnet = a_subnet(network_id, "fd00:2::/64", gateway="", ipv6_ra_mode=mode, ipv6_address_mode=mode)
    port = a_port(network_id, [(subnet, "fd00:2::55")])
    cloud.networks.bind(network_id, a_network(subnet, network_id=network_id, dhcp=("fd00:2::2",)))
    cloud.ports.bind(port.meta.id, port)
    async with running(cloud, tmp_path):
        await cloud.active(port.meta.id)
        with contextlib.closing(Guest(port)) as guest:
            answer = await guest.run(lambda: solicit(guest.mac))
            assert socket.inet_pton(socket.AF_INET6, "fd00:2::55") in answer


async def test_a_port_that_is_down_carries_nothing_and_a_deleted_one_is_released(tmp_path: Path) -> None:
    cloud, network_id = Cloud(), str(uuid.uuid4())
    subnet = a_subnet(network_id)
    port = a_port(network_id, [(subnet, "10.0.0.5")])
    want = a_network(subnet, network_id=network_id)
    cloud.networks.bind(network_id, want)
    cloud.ports.bind(port.meta.id, port)
    async with running(cloud, tmp_path):
        await cloud.active(port.meta.id)
        down = copy_of(port)
        down.spec.admin_state_up = False
        cloud.ports.bind(port.meta.id, down)
        await until(lambda: cloud.state(port.meta.id) == port_pb2.PortStatus.STATE_DOWN)
        with contextlib.closing(Guest(port)) as guest:
            assert await guest.run(lambda: obtain(guest.mac, timeout_s=1)) is None
        want.network.meta.delete_time.GetCurrentTime()
        cloud.networks.bind(network_id, want)
        await until(lambda: "WAITING_FOR_PORTS" in str(cloud.networks.status(network_id)))
        gone = copy_of(down)
        gone.meta.delete_time.GetCurrentTime()
        cloud.ports.bind(port.meta.id, gone)
        await until(lambda: "released: true" in str(cloud.ports.status(port.meta.id)))
        await until(lambda: "released: true" in str(cloud.networks.status(network_id)))
        assert not netns.exists(namespace(network_id))


def solicit(mac: str) -> bytes:
    """A DHCPv6 SOLICIT and the ADVERTISE to it; inside a guest."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    duid = struct.pack("!HH", 3, 1) + hardware
    options = struct.pack("!HH", 1, len(duid)) + duid
    options += struct.pack("!HHIII", 3, 12, 1, 0, 0) + struct.pack("!HHH", 8, 2, 0)
    end = time.monotonic() + 8
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as handle:
        index = socket.if_nametoindex("eth0")
        handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        handle.bind(("::", 546))
        handle.settimeout(0.5)
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                handle.sendto(b"\x01abc" + options, ("ff02::1:2", 547, 0, index))
                return handle.recv(2000)
    return b""
