"""RouterDriver on the kernel: a namespace per router, a veth per port into its network's bridge, NAT by nftables.

Everything is compared with the kernel each time; only what differs is written, so that an agent that starts
again breaks no flow.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import structlog
from pyroute2.netlink.exceptions import NetlinkError

from agents.network import (
    conntrack,
    gateway_limit,
    gateway_shaper,
    links,
    name,
    netns,
    return_path,
    router_plan,
    rtnl,
)
from agents.network.announce import announce
from agents.network.driver import Holding
from agents.network.gateway_limit import Passing
from agents.network.libnftables import Nftables
from agents.network.links import Links, write_once
from agents.network.namespace import settle_addresses
from agents.network.return_path import ReturnPath
from agents.network.router_plan import TABLE, Leg, Route
from agents.network.ruleset import Ruleset, Wanted, listed, transaction
from fabric.network.v1 import router_pb2

log = structlog.get_logger(__name__)

Arrivals = dict[str, set[str]]  # by device: addresses (with prefix lengths) that came to it

_OURS = 250  # the protocol number of routes that we made
_FORWARDING = (
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/fib_multipath_hash_policy", "1"),  # by ports, too
    ("ipv4/fib_multipath_use_neigh", "1"),  # not by a gateway that answers no more
    ("ipv6/fib_multipath_hash_policy", "1"),
)
_OF_A_LEG = (
    ("ipv4/conf/{}/rp_filter", "0"),
    ("ipv4/conf/{}/send_redirects", "0"),
    ("ipv4/conf/{}/arp_ignore", "1"),
    ("ipv4/conf/{}/arp_announce", "2"),
    ("ipv6/conf/{}/accept_dad", "0"),
    ("ipv6/conf/{}/accept_ra", "0"),
    ("ipv6/conf/{}/forwarding", "1"),
)


class NamespaceRouters:
    """names_dir says which namespaces are ours."""

    def __init__(self, node_links: Links, names_dir: Path) -> None:
        self._links = node_links
        self._names_dir = names_dir
        self._arrivals: dict[str, Arrivals] = {}  # by router: announced once

    async def ensure(self, want: router_pb2.RouterWant) -> bool:
        router_id = want.router.meta.id
        legs = router_plan.legs(want)
        await self._links.do(self._ensure_links, router_id, legs)
        namespace = name.router_namespace(router_id)
        # Before anything passes: a flow whose first packet was not translated never is.
        await netns.run(namespace, lambda: _limit(gateway_limit.passing(want)))
        changed = await netns.run(namespace, lambda: _translate(router_plan.translations(want)))
        if changed:
            log.info("router translates anew", router=router_id, flows_cut=changed - 1)
        new = await netns.run(
            namespace, lambda: _configure(legs, router_plan.routes(want), router_plan.return_paths(want))
        )
        arrivals = {**self._arrivals.pop(router_id, {}), **new}
        if arrivals:
            await netns.run(namespace, lambda: _announce(arrivals, legs))
        if new:
            self._arrivals[router_id] = new
        return bool(new)

    async def remove(self, router_id: str) -> None:
        self._arrivals.pop(router_id, None)
        await self._links.do(self._remove, router_id)

    async def find(self) -> list[Holding]:
        return await self._links.do(self._find)

    def _ensure_links(self, router_id: str, legs: list[Leg]) -> None:
        namespace = name.router_namespace(router_id)
        self._names_dir.mkdir(parents=True, exist_ok=True)
        (self._names_dir / namespace).touch()
        netns.create(namespace)
        for leg in legs:
            device = name.router_link(leg.port_id)
            if links.index(device) is None:
                self._links.add_veth(device, namespace, leg.device, leg.mac)
            links.hide(device)
            self._links.settle(
                device,
                mtu=leg.mtu,
                up=leg.up,
                alias=name.mark("router", router_id),
                master=name.bridge(leg.network_id),
            )

    def _remove(self, router_id: str) -> None:
        for holding in self._find():
            if holding.owner_id == router_id and holding.kind == "router_link":
                self._links.remove(holding.name)
        namespace = name.router_namespace(router_id)
        if (self._names_dir / namespace).exists():
            netns.remove(namespace)
            (self._names_dir / namespace).unlink()

    def _find(self) -> list[Holding]:
        found = []
        ours = (device for _, device in socket.if_nameindex() if device.startswith(name.ROUTER_LINK))
        for link in filter(None, map(rtnl.find, ours)):
            owner = name.owner(link.alias)
            if owner is not None and owner[0] == "router":
                found.append(Holding("router_link", link.name, *owner))
        namespaces = (
            sorted(path.name for path in self._names_dir.iterdir()) if self._names_dir.exists() else []
        )
        for namespace in filter(netns.exists, namespaces):
            router_id = namespace.removeprefix(name.ROUTER_NAMESPACE)
            found.append(Holding("namespace", namespace, "router", router_id))
        return found


def _configure(legs: list[Leg], routes: list[Route], returns: list[ReturnPath]) -> Arrivals:
    """Runs inside the namespace; returns what is new."""
    for path, value in _FORWARDING:
        write_once(f"/proc/sys/net/{path}", value)
    wanted = {leg.device: leg for leg in legs}
    with contextlib.closing(rtnl.Writer()) as writer:
        found = {link.name: link for link in rtnl.links()}
        if not found["lo"].up:
            writer.ip.link("set", index=found["lo"].index, state="up")
        for device, link in found.items():
            if device.startswith(name.ROUTER_PORT) and device not in wanted:
                writer.ip.link("del", index=link.index)
        arrivals = {device: _settle_leg(writer, found[device], leg) for device, leg in wanted.items()}
        devices = {device: found[device].index for device in wanted}
        for family in (socket.AF_INET, socket.AF_INET6):
            _settle_routes(writer, family, routes, devices)
        return_path.settle(writer, returns, devices, _OURS)
    return {device: addresses for device, addresses in arrivals.items() if addresses}


def _announce(arrivals: Arrivals, legs: list[Leg]) -> None:
    """Runs inside the namespace."""
    for leg in legs:
        still = arrivals.get(leg.device, set()).intersection(leg.addresses)
        announce(leg.device, leg.mac, sorted(address.partition("/")[0] for address in still))


def _settle_leg(writer: rtnl.Writer, link: rtnl.Link, leg: Leg) -> set[str]:
    """Returns the addresses that it had not."""
    for path, value in _OF_A_LEG:
        write_once(f"/proc/sys/net/{path.format(leg.device)}", value)
    wrong: dict[str, Any] = {}
    if link.mac != leg.mac:
        wrong["address"] = leg.mac
    if link.mtu != leg.mtu:
        wrong["mtu"] = leg.mtu
    if link.up != leg.up:
        wrong["state"] = "up" if leg.up else "down"
    if wrong:
        writer.ip.link("set", index=link.index, **wrong)
    return settle_addresses(writer, link.index, set(leg.addresses))


def _settle_routes(writer: rtnl.Writer, family: int, routes: list[Route], devices: dict[str, int]) -> None:
    """Routes whose next hop is on no link are left out, as the kernel would refuse them."""
    version = 4 if family == socket.AF_INET else 6
    wanted = {
        _destination(route.destination): [(hop.nexthop, devices.get(hop.device)) for hop in route.hops]
        for route in routes
        if ipaddress.ip_network(route.destination, strict=False).version == version
    }
    found = {route.destination: route.hops for route in rtnl.routes(family, _OURS)}
    for destination in found.keys() - wanted.keys():
        writer.ip.route("del", dst=destination, proto=_OURS, family=family)
    for destination, hops in wanted.items():
        if _is_there(found.get(destination, frozenset()), hops):
            continue
        steps = [
            {"gateway": nexthop} | ({} if index is None else {"oif": index, "flags": ["onlink"]})
            for nexthop, index in hops
        ]
        facts = steps[0] if len(steps) == 1 else {"multipath": steps}
        try:
            writer.ip.route("replace", dst=destination, proto=_OURS, family=family, **facts)
        except NetlinkError as error:
            log.warning("a route is not possible", destination=destination, hops=steps, cause=str(error))


def _is_there(found: Collection[tuple[str, int]], hops: list[tuple[str, int | None]]) -> bool:
    """Whether a route is as it should be; a hop without a device is by whichever the kernel found."""
    if any(index is None for _, index in hops):
        return {nexthop for nexthop, _ in found} == {nexthop for nexthop, _ in hops}
    return set(found) == set(hops)


def _limit(wanted: Mapping[str, Passing]) -> None:
    """Runs inside the namespace."""
    with contextlib.closing(rtnl.Writer()) as writer:
        gateway_shaper.settle(writer, wanted)


def _destination(text: str) -> str:
    network = ipaddress.ip_network(text, strict=False)
    return "default" if network.prefixlen == 0 else str(network)


def _translate(wanted: Wanted) -> int:
    """Runs inside the namespace. 0: nothing was to be done; else 1 more than the flows that were cut."""
    nftables = Nftables()
    try:
        have = listed(nftables.table(*TABLE.split(" ")))
        commands = transaction(have, wanted)
        if not commands:
            return 0
        nftables.apply(commands)
    finally:
        nftables.close()
    return 1 + _cut(have, wanted)


def _cut(have: Ruleset, wanted: Wanted) -> int:
    """Forget the flows of translations that went: they would live on with addresses that are others' now."""
    outward = (TABLE, "outward")
    gone = {*have.sets.get(outward, {}).values()} - {*wanted.sets.get(outward, {}).values()}
    for key in ((TABLE, "floating"), (TABLE, "forward_tcp"), (TABLE, "forward_udp"), (TABLE, "forward_icmp")):
        before, after = have.sets.get(key, {}), wanted.sets.get(key, {})
        for outside, inside in before.items():
            if after.get(outside) != inside:
                gone.add(outside.split(" . ")[0])
                if key[1] == "floating":
                    gone.add(inside)
    if not gone:
        return 0
    stale = [
        tracked
        for tracked in conntrack.flows({0})
        if not gone.isdisjoint(map(str, (tracked.flow.source, tracked.flow.destination, tracked.answered_to)))
    ]
    return conntrack.delete(stale)
