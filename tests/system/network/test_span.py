"""Networks that span nodes: real packets through two agents' VXLAN."""

import contextlib
import functools
import socket
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from pyroute2 import IPRoute

from agents.network.announce import announce
from fabric.network.v1 import neighbor_pb2, network_pb2, port_pb2, security_group_pb2
from tests.system.network.dhcp_client import obtain, resolve
from tests.system.network.lab import Guest, echo, eventually, reaches, until
from tests.system.network.node import Node, nodes
from tests.unit.agents.network.wants import a_group, a_network, a_port, a_subnet

ANY_OUT: list[dict[str, object]] = [
    {"direction": "egress", "ethertype": ethertype} for ethertype in ("IPv4", "IPv6")
]


def spread(where: Sequence[Node], want: network_pb2.NetworkWant, ports: Sequence[port_pb2.Port]) -> None:
    """Tell the nodes of the network and of the first port on the first of them, the second on the second..."""
    for node, own in zip(where, ports, strict=True):
        told = network_pb2.NetworkWant()
        told.CopyFrom(want)
        for peer in where:
            if peer is not node:
                told.peers.add(node=peer.name, address=peer.address)
        node.want("networks", want.network.meta.id, told)
        node.want("ports", own.meta.id, own)
        for peer, port in zip(where, ports, strict=True):
            if peer is not node:
                node.want("neighbors", port.meta.id, a_neighbor(port, peer.name))


def a_neighbor(port: port_pb2.Port, node: str) -> neighbor_pb2.Neighbor:
    return neighbor_pb2.Neighbor(
        network_id=port.spec.network_id,
        port_id=port.meta.id,
        mac_address=port.spec.mac_address,
        addresses=[fixed.ip_address for fixed in port.spec.fixed_ips],
        node=node,
    )


def neighbors() -> dict[str, str]:
    """Which MACs the guest knows, by address."""
    with contextlib.closing(IPRoute()) as netlink:
        found = [entry for family in (2, 10) for entry in netlink.get_neighbours(family)]
    return {entry.get_attr("NDA_DST"): entry.get_attr("NDA_LLADDR") for entry in found}


async def learns(guest: Guest, address: str, port: port_pb2.Port) -> bool:
    """Whether somebody tells the guest where the address is."""
    await reaches(guest, address, 9, tries=1)
    return (await guest.run(neighbors)).get(address) == port.spec.mac_address


async def answered(guest: Guest, ask: Callable[[], list[str]], address: str) -> bool:
    return await guest.run(ask) == [address]


def listen_arp() -> socket.socket:
    handle = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(0x0806))
    handle.bind(("eth0", 0x0806))
    return handle


def received(handle: socket.socket) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return handle.recv(100)
    return b""


async def test_a_guest_reaches_one_on_another_node(tmp_path: Path) -> None:
    network_id, group_id, remote_id = (str(uuid.uuid4()) for _ in range(3))
    four, six = a_subnet(network_id), a_subnet(network_id, "fd00::/64", gateway="fd00::1")
    want = a_network(four, six, network_id=network_id, dhcp=("10.0.0.2", "fd00::2"))
    want.network.spec.network_type, want.network.spec.segmentation_id = "vxlan", 77
    ports = [
        a_port(network_id, [(four, f"10.0.0.{i}"), (six, f"fd00::{i}")], groups=[group_id]) for i in (5, 6)
    ]
    rules: list[dict[str, object]] = [
        {"direction": "ingress", "ethertype": ethertype, "remote_group_id": remote_id}
        for ethertype in ("IPv4", "IPv6")
    ]
    async with contextlib.AsyncExitStack() as stack:
        one, two = await stack.enter_async_context(nodes(tmp_path))
        for node in (one, two):
            node.want("groups", group_id, a_group(*ANY_OUT, *rules, group_id=group_id))
        spread([one, two], want, ports)
        await one.settled("ports", ports[0].meta.id)
        await two.settled("ports", ports[1].meta.id)
        here, there = (
            stack.enter_context(contextlib.closing(Guest(port, node.namespace)))
            for port, node in zip(ports, (one, two), strict=True)
        )
        for guest, address in ((here, "10.0.0.5"), (there, "10.0.0.6")):  # of their own node
            ack = await guest.run(functools.partial(obtain, guest.mac))
            assert ack is not None
            assert ack.address == address
        await here.address("10.0.0.5/24", "fd00::5/64")
        await there.address("10.0.0.6/24", "fd00::6/64")
        for guest in (here, there):  # each node knows the names of both
            for last in (5, 6):
                resolving = functools.partial(resolve, "10.0.0.2", f"host-10-0-0-{last}.openstacklocal")
                assert await eventually(functools.partial(answered, guest, resolving, f"10.0.0.{last}"))
        for family in (socket.AF_INET, socket.AF_INET6):
            await stack.enter_async_context(echo(there, 7 + family, family))

        async def hears(address: str, size: int = 5) -> bool:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return await reaches(here, address, 7 + family, size=size)

        assert not await hears("10.0.0.6")
        member = security_group_pb2.GroupMember(
            security_group_id=remote_id, port_id=ports[0].meta.id, addresses=["10.0.0.5", "fd00::5"]
        )
        two.want("members", f"{remote_id}.{ports[0].meta.id}", member)
        assert await eventually(lambda: hears("10.0.0.6"))
        assert await eventually(lambda: hears("10.0.0.6", 1450 - 20 - 8))
        assert await eventually(lambda: hears("fd00::6", 1450 - 40 - 8))
        silent = a_port(network_id, [(four, "10.0.0.9"), (six, "fd00::9")])
        one.want("neighbors", silent.meta.id, a_neighbor(silent, two.name))
        for address in ("10.0.0.9", "fd00::9"):  # nobody is there to say so
            assert await eventually(functools.partial(learns, here, address, silent))


async def test_a_port_that_moves_is_reached_where_it_is(tmp_path: Path) -> None:
    network_id = str(uuid.uuid4())
    subnet = a_subnet(network_id, enable_dhcp=False)
    want = a_network(subnet, network_id=network_id, dhcp=())
    want.network.spec.network_type, want.network.spec.segmentation_id = "vxlan", 78
    ports = [a_port(network_id, [(subnet, f"10.0.0.{i}")], secure=False) for i in (5, 6)]
    mover = ports[1].meta.id
    async with contextlib.AsyncExitStack() as stack:
        one, two = await stack.enter_async_context(nodes(tmp_path))
        spread([one, two], want, ports)
        await one.settled("ports", ports[0].meta.id)
        await two.settled("ports", mover)
        here = stack.enter_context(contextlib.closing(Guest(ports[0], one.namespace)))
        await here.address("10.0.0.5/24")
        with contextlib.closing(Guest(ports[1], two.namespace)) as there:
            await there.address("10.0.0.6/24")
            async with echo(there, 7):
                assert await eventually(lambda: reaches(here, "10.0.0.6", 7))
                silent = a_port(network_id, [(subnet, "10.0.0.9")])
                one.want("neighbors", silent.meta.id, a_neighbor(silent, two.name))
                assert await eventually(lambda: learns(here, "10.0.0.9", silent))
                with here.call(listen_arp) as heard:  # as of an address pair that moves
                    await there.run(lambda: announce("eth0", there.mac, ["10.0.0.99"]))
                    await until(lambda: socket.inet_aton("10.0.0.99") in received(heard))
                    await there.run(lambda: announce("eth0", there.mac, ["10.0.0.6"]))  # as a router does
                    await until(lambda: socket.inet_aton("10.0.0.6") in received(heard))
                assert await reaches(here, "10.0.0.6", 7, wait_s=3)  # though it is silent since
                one.want("ports", mover, ports[1])  # its server migrates: it is wanted on both
                await one.settled("ports", mover)
                assert await reaches(here, "10.0.0.6", 7, wait_s=3)
        moved = stack.enter_context(contextlib.closing(Guest(ports[1], one.namespace)))
        await moved.address("10.0.0.6/24")
        await stack.enter_async_context(echo(moved, 7))
        one.want("neighbors", mover, None)
        two.want("ports", mover, None)
        two.want("neighbors", mover, a_neighbor(ports[1], one.name))
        assert await eventually(lambda: reaches(here, "10.0.0.6", 7))
