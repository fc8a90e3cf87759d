"""DHCP, DNS and metadata of a network, asked for by real guests."""

import asyncio
import contextlib
import os
import signal
import socket
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from agents.network import netns
from agents.network.name import bridge, namespace
from agents.network.real import real_drivers
from agents.network.settings import NetworkSettings
from tests.system.network.dhcp_client import obtain, resolve
from tests.system.network.lab import PASSWORD, Cloud, Guest, Text, running, until
from tests.unit.agents.network.wants import a_network, a_port, a_router, a_router_port, a_subnet


async def test_a_port_gets_its_address_and_its_metadata(tmp_path: Path) -> None:
    cloud, network_id = Cloud(), str(uuid.uuid4())
    subnet = a_subnet(network_id)
    port = a_port(network_id, [(subnet, "10.0.0.5")], secure=False)
    async with running(cloud, tmp_path):
        cloud.ports.bind(port.meta.id, port)
        await until(lambda: cloud.ports.status(port.meta.id) is not None)
        status = cloud.ports.status(port.meta.id)
        assert status is not None
        assert status.reason == "WAITING_FOR_NETWORK"
        cloud.networks.bind(network_id, a_network(subnet, network_id=network_id))
        await cloud.active(port.meta.id)
        cloud.documents[port.meta.id] = Text({"/openstack/latest/meta_data.json": b'{"uuid": "x"}'})
        with contextlib.closing(Guest(port)) as guest:
            ack = await guest.run(lambda: obtain(guest.mac))
            assert ack is not None
            assert (ack.kind, ack.address) == (5, "10.0.0.5")
            assert ack.addresses(3) == ["10.0.0.1"]
            assert ack.addresses(6) == ["10.0.0.2"]
            assert ack.options[26] == (1450).to_bytes(2, "big")
            assert bytes([32, 169, 254, 169, 254, 10, 0, 0, 2]) in ack.options[121]
            await guest.address("10.0.0.5/24", routes={"169.254.169.254/32": "10.0.0.2"})
            body = await guest.run(lambda: fetch("/openstack/latest/meta_data.json"))
            assert body == (200, b'{"uuid": "x"}')
            assert (await guest.run(lambda: fetch("/nothing")))[0] == 404
            assert (await guest.run(lambda: fetch("/openstack/latest/meta_data.json", b"mine")))[0] == 405
            assert (await guest.run(lambda: fetch(PASSWORD, b"x" * 5000)))[0] == 400
            assert await guest.run(lambda: fetch(PASSWORD, b"mine")) == (200, b"")
            assert await guest.run(lambda: fetch(PASSWORD)) == (200, b"mine")
            assert (await guest.run(lambda: fetch(PASSWORD, b"other")))[0] == 409
        cloud.ports.unbind(port.meta.id)
        cloud.networks.unbind(network_id)
        await until(lambda: not Path(f"/proc/sys/net/ipv4/conf/{bridge(network_id)}").exists())
    assert not netns.exists(namespace(network_id))
    assert not list((tmp_path / "dhcp").iterdir())


def fetch(path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """From inside a guest, without the host's proxies; body: it is posted."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://169.254.169.254{path}", body, timeout=3) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


async def test_a_killed_dhcp_server_comes_back_and_a_restart_keeps_it(tmp_path: Path) -> None:
    cloud, network_id = Cloud(), str(uuid.uuid4())
    subnet = a_subnet(network_id)
    port = a_port(network_id, [(subnet, "10.0.0.5")], secure=False)
    cloud.networks.bind(network_id, a_network(subnet, network_id=network_id))
    cloud.ports.bind(port.meta.id, port)
    pid_file = tmp_path / "dhcp" / network_id / "pid"
    async with running(cloud, tmp_path):
        await cloud.active(port.meta.id)
        pid = int(pid_file.read_text())
    async with running(cloud, tmp_path):
        await asyncio.sleep(0.3)
        assert int(pid_file.read_text()) == pid
        os.kill(pid, signal.SIGKILL)
        await until(lambda: pid_file.exists() and int(pid_file.read_text() or pid) != pid)
        with contextlib.closing(Guest(port)) as guest:
            ack = await guest.run(lambda: obtain(guest.mac))
            assert ack is not None
        cloud.ports.unbind(port.meta.id)
        cloud.networks.unbind(network_id)
        await until(lambda: not netns.exists(namespace(network_id)))


async def test_a_server_that_is_wanted_again_while_it_ends_serves(tmp_path: Path) -> None:
    network_id = str(uuid.uuid4())
    subnet = a_subnet(network_id)
    want = a_network(subnet, network_id=network_id)
    last, first = (a_port(network_id, [(subnet, f"10.0.0.{n}")], secure=False) for n in (5, 6))
    drivers = real_drivers(NetworkSettings(), tmp_path)
    await drivers.switch.ensure_network(want)
    await drivers.switch.ensure_port(first, 1450)
    await drivers.dhcp.ensure(want, [last])
    await asyncio.gather(drivers.dhcp.remove(network_id), drivers.dhcp.ensure(want, [first]))
    with contextlib.closing(Guest(first)) as guest:
        ack = await guest.run(lambda: obtain(guest.mac))
        assert ack is not None
        assert ack.address == "10.0.0.6"
    await asyncio.gather(drivers.dhcp.ensure(want, [last]), drivers.dhcp.remove(network_id))
    assert await drivers.dhcp.find() == []
    await drivers.switch.remove_port(first.meta.id)
    await drivers.switch.remove_network(network_id)
    await drivers.close()


async def test_dhcp_dns_and_metadata_are_reachable_whatever_the_rules(tmp_path: Path) -> None:
    cloud, network_id = Cloud(), str(uuid.uuid4())
    subnet = a_subnet(network_id)
    port = a_port(network_id, [(subnet, "10.0.0.5")])  # no group: nothing in, nothing out
    cloud.networks.bind(network_id, a_network(subnet, network_id=network_id))
    cloud.ports.bind(port.meta.id, port)
    cloud.documents[port.meta.id] = Text({"/openstack": b"me"})
    async with running(cloud, tmp_path):
        await cloud.active(port.meta.id)
        with contextlib.closing(Guest(port)) as guest:
            assert await guest.run(lambda: obtain(guest.mac)) is not None
            await guest.address("10.0.0.5/24", routes={"169.254.169.254/32": "10.0.0.2"})
            assert await guest.run(lambda: fetch("/openstack")) == (200, b"me")
            assert b"me" in await guest.run(lambda: get_by_link_local("/openstack"))
            assert await guest.run(lambda: resolve("10.0.0.2", "host-10-0-0-5.openstacklocal")) == [
                "10.0.0.5"
            ]
            assert await guest.run(refused_or_silent)  # but nothing else of the namespace


@pytest.mark.parametrize("secure", [True, False])
async def test_without_dhcp_metadata_is_asked_for_by_way_of_the_router(tmp_path: Path, secure: bool) -> None:
    cloud, network_id = Cloud(), str(uuid.uuid4())
    subnet = a_subnet(network_id, enable_dhcp=False)
    inside = a_network(subnet, network_id=network_id, dhcp=())
    port = a_port(network_id, [(subnet, "10.0.0.5")], secure=secure)  # no group: nothing in, nothing out
    router = a_router(a_router_port(inside, "10.0.0.1"))
    cloud.networks.bind(network_id, inside)
    cloud.ports.bind(port.meta.id, port)
    cloud.routers.bind(router.router.meta.id, router)
    cloud.documents[port.meta.id] = Text({"/openstack": b"me"})
    async with running(cloud, tmp_path):
        await cloud.active(port.meta.id)
        await until(lambda: cloud.routers.status(router.router.meta.id) is not None)
        with contextlib.closing(Guest(port)) as guest:
            await guest.address("10.0.0.5/24", routes={"0.0.0.0/0": "10.0.0.1"})
            assert await guest.run(lambda: fetch("/openstack")) == (200, b"me")
            assert b"me" in await guest.run(lambda: get_by_link_local("/openstack"))

        inside.dhcp_port.CopyFrom(a_port(network_id, [(subnet, "10.0.0.2")], owner="network:dhcp"))
        inside.network.meta.generation += 1
        cloud.networks.bind(network_id, inside)
        await until(lambda: bool((s := cloud.networks.status(network_id)) and s.observed_generation == 2))
        with contextlib.closing(Guest(port)) as guest:  # the same with DHCP, for who takes no route from it
            await guest.address("10.0.0.5/24", routes={"0.0.0.0/0": "10.0.0.1"})
            assert await guest.run(lambda: fetch("/openstack")) == (200, b"me")


def get_by_link_local(path: str) -> bytes:
    index = socket.if_nametoindex("eth0")
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as handle:
        handle.settimeout(3)
        handle.connect(("fe80::a9fe:a9fe", 80, 0, index))
        handle.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return handle.recv(4096)


def refused_or_silent() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        handle.settimeout(0.5)
        handle.connect(("10.0.0.2", 9))
        handle.send(b"x")
        try:
            handle.recv(10)
        except TimeoutError:
            return True  # dropped: the namespace would have refused it
        except OSError:
            return False
        return False
