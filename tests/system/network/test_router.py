"""Routers: real packets between networks, to the outside and back."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from agents.network import name, netns, rtnl
from agents.network.libnftables import Nftables
from agents.network.router_plan import TABLE
from agents.network.settings import NetworkSettings
from fabric.network.v1 import metering_pb2, neighbor_pb2, network_pb2, port_pb2, router_pb2
from tests.system.network.lab import HERE, Cloud, Guest, Host, echo, eventually, reaches, running, until
from tests.system.network.test_agent import until_quiet, watched_links
from tests.unit.agents.network.wants import a_network, a_port, a_router, a_router_port, a_subnet, translate

ACTIVE = router_pb2.RouterStatus.STATE_ACTIVE


def a_site(cloud: Cloud, prefix: int) -> tuple[network_pb2.NetworkWant, port_pb2.Port]:
    """A network 10.0.<prefix>.0/24 without filters, and a port .5 on it."""
    network_id = str(uuid.uuid4())
    subnet = a_subnet(network_id, f"10.0.{prefix}.0/24", gateway=f"10.0.{prefix}.1", enable_dhcp=False)
    want = a_network(subnet, network_id=network_id, dhcp=())
    port = a_port(network_id, [(subnet, f"10.0.{prefix}.5")], secure=False)
    cloud.networks.bind(network_id, want)
    cloud.ports.bind(port.meta.id, port)
    return want, port


def an_outside(cidr: str = "203.0.113.0/24", gateway: str = "203.0.113.1") -> network_pb2.NetworkWant:
    """An external network whose gateway the node is."""
    network_id = str(uuid.uuid4())
    subnet = a_subnet(network_id, cidr, gateway=gateway, enable_dhcp=False)
    want = a_network(subnet, network_id=network_id, dhcp=())
    want.network.spec.external = True
    return want


@contextlib.asynccontextmanager
async def at_work(
    cloud: Cloud, port: port_pb2.Port, router_id: str, state_dir: Path
) -> AsyncIterator[tuple[Guest, Host]]:
    """The guest of the port of a_site(cloud, 1), and the outside, with the router between them."""
    async with running(cloud, state_dir):
        await cloud.active(port.meta.id)
        await until(lambda: state(cloud, router_id) == ACTIVE)
        with contextlib.closing(Guest(port)) as guest, an_internet() as internet:
            await guest.address("10.0.1.5/24", routes={"0.0.0.0/0": "10.0.1.1"})
            yield guest, internet


async def test_a_router_leads_between_networks_and_out(tmp_path: Path) -> None:
    cloud = Cloud()
    (left, one), (right, two) = a_site(cloud, 1), a_site(cloud, 2)
    outside = an_outside()
    gateway = a_router_port(outside, "203.0.113.10", gateway=True)
    router = a_router(a_router_port(left, "10.0.1.1"), a_router_port(right, "10.0.2.1"), gateway)
    router_id = router.router.meta.id
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running(cloud, tmp_path))
        await cloud.active(one.meta.id, two.meta.id)
        guests = [stack.enter_context(contextlib.closing(Guest(port))) for port in (one, two)]
        for at, guest in enumerate(guests, 1):
            await guest.address(f"10.0.{at}.5/24", routes={"0.0.0.0/0": f"10.0.{at}.1"})
            await stack.enter_async_context(echo(guest, 7))
        node = Host(HERE)
        internet = stack.enter_context(an_internet())
        await stack.enter_async_context(echo(internet, 7))
        cloud.routers.bind(router_id, router)
        await until(lambda: cloud.routers.status(router_id) is not None)
        waiting = cloud.routers.status(router_id)
        assert waiting is not None
        assert waiting.reason == "WAITING_FOR_NETWORK"
        cloud.networks.bind(outside.network.meta.id, outside)
        await until(lambda: state(cloud, router_id) == ACTIVE)

        assert await eventually(lambda: reaches(guests[0], "10.0.2.5", 7))
        assert await eventually(lambda: reaches(guests[0], "198.51.100.9", 7))  # through two translations
        await stack.enter_async_context(echo(internet, name.VXLAN_PORT))
        assert not await reaches(guests[0], "198.51.100.9", name.VXLAN_PORT, tries=1)
        assert not await reaches(node, "203.0.113.20", 7)

        translate(router, gateway, "203.0.113.20", "10.0.2.5")
        router.router.meta.generation += 1
        cloud.routers.bind(router_id, router)
        assert await eventually(lambda: reaches(node, "203.0.113.20", 7))
        assert await eventually(lambda: reaches(guests[0], "203.0.113.20", 7))
        assert await eventually(lambda: reaches(guests[1], "203.0.113.20", 7))  # itself
        assert await eventually(lambda: reaches(guests[1], "198.51.100.9", 7))

        translate(router, gateway, "203.0.113.30", "")
        forwarding = router.port_forwardings.add(floating_ip_address="203.0.113.30")
        forwarding.spec.protocol, forwarding.spec.internal_ip_address = "udp", "10.0.1.5"
        forwarding.spec.external_port_first, forwarding.spec.external_port_last = 4000, 4001
        forwarding.spec.internal_port_first, forwarding.spec.internal_port_last = 6, 7
        del router.floating_ips[0]
        cloud.routers.bind(router_id, router)
        assert await eventually(lambda: reaches(node, "203.0.113.30", 4001))
        assert not await reaches(node, "203.0.113.30", 4000)
        assert not await reaches(node, "203.0.113.20", 7)

        router.router.meta.delete_time.GetCurrentTime()
        cloud.routers.bind(router_id, router)
        await until(lambda: bool((status := cloud.routers.status(router_id)) and status.released))
        assert not netns.exists(name.router_namespace(router_id))
        assert not await reaches(guests[0], "10.0.2.5", 7)


async def test_a_flow_goes_on_when_the_address_that_it_leaves_by_is_another(tmp_path: Path) -> None:
    cloud, outside = Cloud(), an_outside()
    inside, port = a_site(cloud, 1)
    cloud.networks.bind(outside.network.meta.id, outside)
    gateway = a_router_port(outside, "203.0.113.10", gateway=True)
    router = a_router(a_router_port(inside, "10.0.1.1"), gateway)
    router_id = router.router.meta.id
    cloud.routers.bind(router_id, router)

    def connect() -> socket.socket:
        handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        handle.settimeout(0.3)
        handle.connect(("198.51.100.9", 7))
        return handle

    async with contextlib.AsyncExitStack() as stack:
        guest, internet = await stack.enter_async_context(at_work(cloud, port, router_id, tmp_path))
        await stack.enter_async_context(echo(internet, 7))
        handle = stack.enter_context(await guest.run(connect))

        def ask() -> bool:
            with contextlib.suppress(OSError):
                handle.send(b"hello")
                return handle.recv(10) == b"hello"
            return False

        def forget() -> None:  # as the outside does in time
            with contextlib.closing(IPRoute()) as netlink:
                for entry in netlink.get_neighbours(socket.AF_INET):
                    if entry.get_attr("NDA_DST") == "203.0.113.10":
                        netlink.neigh("del", dst="203.0.113.10", ifindex=entry["ifindex"])

        assert await eventually(lambda: asyncio.to_thread(ask))
        router.ports[1].port.spec.fixed_ips[0].ip_address = "203.0.113.11"
        router.router.meta.generation += 1
        cloud.routers.bind(router_id, router)
        await until(lambda: bool((s := cloud.routers.status(router_id)) and s.observed_generation == 2))
        netns.call(HERE, forget)
        assert await eventually(lambda: asyncio.to_thread(ask))


async def test_answers_leave_by_the_gateway_by_which_was_asked(tmp_path: Path) -> None:
    cloud = Cloud()
    inside, port = a_site(cloud, 1)
    first, second = an_outside(), an_outside("203.0.112.0/24", "203.0.112.1")
    for want in (first, second):
        cloud.networks.bind(want.network.meta.id, want)
    gateways = [
        a_router_port(first, "203.0.113.10", gateway=True),
        a_router_port(second, "203.0.112.10", gateway=True),
    ]
    router = a_router(a_router_port(inside, "10.0.1.1"), *gateways)
    translate(router, gateways[1], "203.0.112.20", "10.0.1.5")
    router_id, namespace = router.router.meta.id, name.router_namespace(router.router.meta.id)
    cloud.routers.bind(router_id, router)

    async with contextlib.AsyncExitStack() as stack:
        guest, _ = await stack.enter_async_context(at_work(cloud, port, router_id, tmp_path))
        await stack.enter_async_context(echo(guest, 7))
        far = "198.51.100.1"  # an address of the node that is on no link of the router
        assert await eventually(lambda: reaches(Host(HERE), "203.0.112.20", 7, source=far))
        before = netns.call(namespace, lambda: sent(gateways))
        for _ in range(20):
            assert await reaches(Host(HERE), "203.0.112.20", 7, source=far, wait_s=3)
        by_first, by_second = (
            after - was
            for after, was in zip(netns.call(namespace, lambda: sent(gateways)), before, strict=True)
        )
        assert by_second >= 20 > by_first

        tables = netns.call(namespace, translated)
        router.router.meta.generation += 1
        cloud.routers.bind(router_id, router)
        await until(lambda: bool((s := cloud.routers.status(router_id)) and s.observed_generation == 2))
        assert netns.call(namespace, translated) == tables


def sent(gateways: list[router_pb2.RouterPort]) -> list[int]:
    """Packets by each of them; runs inside the router's namespace."""
    devices = [name.router_port(gateway.port.meta.id) for gateway in gateways]
    counts = dict(line.split(":") for line in Path("/proc/thread-self/net/dev").read_text().splitlines()[2:])
    return [int(counts[device.rjust(6)].split()[9]) for device in devices]


async def test_flows_are_shared_among_all_gateways_if_asked(tmp_path: Path) -> None:
    cloud = Cloud()
    inside, port = a_site(cloud, 1)
    outsides = [an_outside(), an_outside("203.0.112.0/24", "203.0.112.1")]
    for want in outsides:
        cloud.networks.bind(want.network.meta.id, want)
    gateways = [
        a_router_port(outsides[0], "203.0.113.10", gateway=True),
        a_router_port(outsides[1], "203.0.112.10", gateway=True),
    ]
    router = a_router(a_router_port(inside, "10.0.1.1"), *gateways)
    router.router.spec.enable_default_route_ecmp = True
    router_id, namespace = router.router.meta.id, name.router_namespace(router.router.meta.id)
    cloud.routers.bind(router_id, router)

    def routes() -> list[rtnl.Route]:
        return list(rtnl.routes(socket.AF_INET, 250))

    async with contextlib.AsyncExitStack() as stack:
        guest, internet = await stack.enter_async_context(at_work(cloud, port, router_id, tmp_path))
        await stack.enter_async_context(echo(internet, 7))
        assert await eventually(lambda: reaches(guest, "198.51.100.9", 7))
        before = netns.call(namespace, lambda: sent(gateways))
        for _ in range(40):
            assert await reaches(guest, "198.51.100.9", 7, wait_s=3)
        after = netns.call(namespace, lambda: sent(gateways))
        assert all(now - was > 5 for was, now in zip(before, after, strict=True))
        (default,) = netns.call(namespace, routes)
        assert {gateway for gateway, _ in default.hops} == {"203.0.113.1", "203.0.112.1"}

        router.router.spec.enable_default_route_ecmp = False
        router.router.meta.generation += 1
        cloud.routers.bind(router_id, router)
        await until(lambda: bool((s := cloud.routers.status(router_id)) and s.observed_generation == 2))
        (default,) = netns.call(namespace, routes)
        assert {gateway for gateway, _ in default.hops} == {"203.0.113.1"}
        assert await reaches(guest, "198.51.100.9", 7, wait_s=3)


async def test_hosts_make_their_addresses_from_what_the_router_says(tmp_path: Path) -> None:
    cloud, network_id = Cloud(), str(uuid.uuid4())
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac", "enable_dhcp": True}
    subnet = a_subnet(network_id, "fd00:1::/64", gateway="fd00:1::1", **modes)
    inside = a_network(subnet, network_id=network_id, dhcp=("fd00:1::2",))
    port = a_port(network_id, [(subnet, "fd00:1::5")], secure=False)
    port.spec.mac_address = "fa:16:3e:00:00:05"
    outside = an_outside("2001:db8::/64", "2001:db8::1")
    router = a_router(
        a_router_port(inside, "fd00:1::1"), a_router_port(outside, "2001:db8::10", gateway=True, snat=False)
    )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running(cloud, tmp_path))
        for want in (inside, outside):
            cloud.networks.bind(want.network.meta.id, want)
        cloud.ports.bind(port.meta.id, port)
        cloud.routers.bind(router.router.meta.id, router)
        await until(lambda: state(cloud, router.router.meta.id) == ACTIVE)
        await cloud.active(port.meta.id)
        guest = stack.enter_context(contextlib.closing(Guest(port)))
        await until(lambda: "fd00:1::f816:3eff:fe00:5" in guest.call(addresses), 15)
        internet = stack.enter_context(an_internet("2001:db8:2::1", "2001:db8:2::9"))
        await stack.enter_async_context(echo(internet, 7, socket.AF_INET6))

        def know_the_way_back() -> None:  # IPv6 is not translated by routers
            with contextlib.closing(IPRoute()) as netlink:
                netlink.route("add", dst="fd00:1::/64", gateway="2001:db8::10")

        netns.call(HERE, know_the_way_back)
        assert await eventually(lambda: reaches(guest, "2001:db8:2::9", 7))


async def test_an_agent_that_starts_again_touches_no_router_and_no_tunnel(tmp_path: Path) -> None:
    cloud = Cloud()
    (inside, port), outside = a_site(cloud, 1), an_outside()
    inside.network.spec.network_type, inside.network.spec.segmentation_id = "vxlan", 79
    inside.peers.add(node="n2", address="192.0.2.2")
    network_id = inside.network.meta.id
    for want in (inside, outside):
        cloud.networks.bind(want.network.meta.id, want)
    elsewhere = a_port(network_id, [])
    neighbor = neighbor_pb2.Neighbor(network_id=network_id, port_id=elsewhere.meta.id, node="n2")
    neighbor.mac_address = elsewhere.spec.mac_address
    neighbor.addresses.append("10.0.1.77")
    cloud.neighbors.bind(elsewhere.meta.id, neighbor)
    gateway = a_router_port(outside, "203.0.113.10", gateway=True)
    router = a_router(a_router_port(inside, "10.0.1.1"), gateway)
    translate(router, gateway, "203.0.113.20", "10.0.1.5")
    router_id, namespace = router.router.meta.id, name.router_namespace(router.router.meta.id)
    cloud.routers.bind(router_id, router)
    async with running(cloud, tmp_path):
        await cloud.active(port.meta.id)
        await until(lambda: state(cloud, router_id) == ACTIVE)
        await until(lambda: "10.0.1.77" in netns.call(HERE, answered))
        await until_quiet(HERE, namespace)
    before = netns.call(namespace, translated)
    with contextlib.ExitStack() as watches:
        changes = [
            netns.call(where, lambda: watches.enter_context(watched_links())) for where in (HERE, namespace)
        ]
        async with running(cloud, tmp_path):
            await asyncio.sleep(1.5)
            assert state(cloud, router_id) == ACTIVE
        assert [change() for change in changes] == [[], []]
    assert netns.call(namespace, translated) == before


def translated() -> list[dict[str, Any]]:
    """The router's table with the handles that every write changes."""
    nftables = Nftables()
    try:
        return nftables.table(*TABLE.split(" "))
    finally:
        nftables.close()


def answered() -> set[str]:
    """The addresses for which the node's bridges answer."""
    with contextlib.closing(IPRoute()) as netlink:
        return {entry.get_attr("NDA_DST") for entry in netlink.get_neighbours(2)}


def addresses() -> set[str]:
    with contextlib.closing(IPRoute()) as netlink:
        return {message.get_attr("IFA_ADDRESS") for message in netlink.get_addr()}


def state(cloud: Cloud, router_id: str) -> int:
    status = cloud.routers.status(router_id)
    return 0 if status is None else status.state


@contextlib.contextmanager
def an_internet(near: str = "198.51.100.1", far: str = "198.51.100.9") -> Iterator[Host]:
    """A namespace that the node reaches, and that knows of no other network."""
    namespace = f"outside-{uuid.uuid4()}"
    netns.create(namespace)

    def here() -> None:
        with contextlib.closing(IPRoute()) as netlink, open(netns.RUN / namespace) as there:
            peer = {"ifname": "eth0", "net_ns_fd": there.fileno()}
            netlink.link("add", ifname="internet", kind="veth", peer=peer)
            configure(netlink, "internet", near)

    def inside() -> None:
        with contextlib.closing(IPRoute()) as netlink:
            configure(netlink, "eth0", far)

    try:
        netns.call(HERE, here)
        netns.call(namespace, inside)
        yield Host(namespace)
    finally:
        netns.remove(namespace)


def configure(netlink: IPRoute, device: str, address: str) -> None:
    index = netlink.link_lookup(ifname=device)[0]
    Path(f"/proc/sys/net/ipv6/conf/{device}/accept_dad").write_text("0")
    nodad = {"flags": 2} if ":" in address else {}
    netlink.addr("add", index=index, address=address, prefixlen=64 if nodad else 24, **nodad)
    netlink.link("set", index=index, state="up")


async def test_what_passes_a_gateway_is_counted_by_label(tmp_path: Path) -> None:
    cloud = Cloud()
    (left, one), outside = a_site(cloud, 1), an_outside()
    cloud.networks.bind(outside.network.meta.id, outside)
    gateway = a_router_port(outside, "203.0.113.10", gateway=True)
    router = a_router(a_router_port(left, "10.0.1.1"), gateway)
    router.router.meta.project_id = "p1"
    label_id, other_id = str(uuid.uuid4()), str(uuid.uuid4())
    cloud.labels.bind(
        label_id, a_label(label_id, "p1", ("egress", "10.0.1.0/24"), ("ingress", "10.0.1.0/24"))
    )
    cloud.labels.bind(other_id, a_label(other_id, "p2", ("egress", "10.0.1.0/24")))
    async with contextlib.AsyncExitStack() as stack:
        settings = NetworkSettings(grace=timedelta(seconds=1), meter=timedelta(seconds=0.2))
        agent = await stack.enter_async_context(running(cloud, tmp_path, settings))
        await cloud.active(one.meta.id)
        guest = stack.enter_context(contextlib.closing(Guest(one)))
        await guest.address("10.0.1.5/24", routes={"0.0.0.0/0": "10.0.1.1"})
        internet = stack.enter_context(an_internet())
        await stack.enter_async_context(echo(internet, 7))
        cloud.routers.bind(router.router.meta.id, router)
        await until(lambda: state(cloud, router.router.meta.id) == ACTIVE)
        assert await eventually(lambda: reaches(guest, "198.51.100.9", 7))

        def counted() -> int:
            status = cloud.labels.status(label_id)
            return status.packets if status is not None else 0

        await until(lambda: counted() >= 2)  # there and back
        assert await reaches(guest, "198.51.100.9", 7, wait_s=3)
        before = counted()
        excluded = a_label(label_id, "p1", ("egress", "10.0.1.0/24"))
        excluded.rules[0].spec.excluded = True
        cloud.labels.bind(label_id, excluded)
        await until(lambda: counted() >= 4 and before <= counted())  # a change of rules loses nothing
        await agent._routers.reconcile(router.router.meta.id)
        await agent._meters.report()
        total = counted()
        assert await reaches(guest, "198.51.100.9", 7, wait_s=3)
        await agent._meters.report()
        assert counted() == total
        assert cloud.labels.status(other_id) is None


def a_label(label_id: str, project_id: str, *rules: tuple[str, str]) -> metering_pb2.MeteringLabelWant:
    """rules: direction and prefix on the project's side."""
    want = metering_pb2.MeteringLabelWant()
    want.metering_label.meta.id, want.metering_label.meta.project_id = label_id, project_id
    for direction, prefix in rules:
        rule = want.rules.add()
        rule.meta.id = str(uuid.uuid4())
        rule.spec.direction, rule.spec.remote_ip_prefix = direction, prefix
    return want
