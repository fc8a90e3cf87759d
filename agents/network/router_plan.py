"""What a router's namespace should have: its legs into networks, its routes, its translations. No I/O."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from agents.network import name
from agents.network.mtu import mtu_of
from agents.network.return_path import ReturnPath
from agents.network.ruleset import Key, SetType, Wanted
from fabric.network.v1 import router_pb2

TABLE = "inet fabric_router"
_FROM_OUTSIDE = 1  # a mark
_FIRST_RETURN = 100  # marks, and numbers of tables

_SETS = {
    (TABLE, "gateway"): SetType("type ifname;", quoted=True),
    (TABLE, "floating"): SetType("type ipv4_addr : ipv4_addr;", is_map=True),  # floating -> fixed
    (TABLE, "fixed"): SetType("type ifname . ipv4_addr : ipv4_addr;", is_map=True, quoted=True),
    (TABLE, "hairpin"): SetType("type ipv4_addr : ipv4_addr;", is_map=True),  # fixed -> floating
    (TABLE, "outward"): SetType("type ifname : ipv4_addr;", is_map=True, quoted=True),
    (TABLE, "forward_tcp"): SetType("type ipv4_addr . inet_service : ipv4_addr . inet_service;", is_map=True),
    (TABLE, "forward_udp"): SetType("type ipv4_addr . inet_service : ipv4_addr . inet_service;", is_map=True),
    (TABLE, "forward_icmp"): SetType("type ipv4_addr : ipv4_addr;", is_map=True),
    # marks of further gateways
    (TABLE, "returning"): SetType("type ifname : mark;", is_map=True, quoted=True),
}
_CHAINS = {
    (TABLE, "arriving"): (
        "type filter hook prerouting priority -150; policy accept;",
        (
            f"iifname @gateway meta mark set {_FROM_OUTSIDE}",
            "iifname @gateway ct state new ct mark set iifname map @returning",
            "iifname != @gateway ct mark != 0 meta mark set ct mark",
        ),
    ),
    (TABLE, "destination"): (
        "type nat hook prerouting priority -100; policy accept;",
        (
            "dnat ip to ip daddr . tcp dport map @forward_tcp",
            "dnat ip to ip daddr . udp dport map @forward_udp",
            "meta l4proto icmp dnat ip to ip daddr map @forward_icmp",
            "dnat ip to ip daddr map @floating",
        ),
    ),
    (TABLE, "source"): (
        "type nat hook postrouting priority 100; policy accept;",
        (
            "oifname @gateway snat ip to oifname . ip saddr map @fixed",
            "oifname @gateway snat ip to oifname map @outward",
            # from inside to a floating address and in again: the answer must come back here
            f"ct status dnat meta mark != {_FROM_OUTSIDE} snat ip to ip saddr map @hairpin",
            f"ct status dnat meta mark != {_FROM_OUTSIDE} meta nfproto ipv4 masquerade",
        ),
    ),
}


@dataclass(frozen=True)
class Leg:
    """One port of the router; addresses with prefix lengths."""

    port_id: str
    network_id: str
    mac: str
    mtu: int
    up: bool
    addresses: tuple[str, ...]

    @property
    def device(self) -> str:
        """Inside the namespace."""
        return name.router_port(self.port_id)


@dataclass(frozen=True)
class Hop:
    """device is given for default routes only: their next hop may be outside of its addresses."""

    nexthop: str
    device: str = ""


@dataclass(frozen=True)
class Route:
    """With several hops, each flow takes one of them."""

    destination: str
    hops: tuple[Hop, ...]


def legs(want: router_pb2.RouterWant) -> list[Leg]:
    """The links of the router; a gateway also has the floating addresses."""
    return [_leg(want, port) for port in want.ports]


def _leg(want: router_pb2.RouterWant, port: router_pb2.RouterPort) -> Leg:
    lengths = {s.meta.id: ipaddress.ip_network(s.spec.cidr).prefixlen for s in port.subnets}
    own = [
        f"{fixed.ip_address}/{lengths[fixed.subnet_id]}"
        for fixed in port.port.spec.fixed_ips
        if fixed.subnet_id in lengths
    ]
    floating = [f"{address}/32" for address in _floating(want, port)] if port.gateway else []
    return Leg(
        port_id=port.port.meta.id,
        network_id=port.port.spec.network_id,
        mac=port.port.spec.mac_address,
        mtu=mtu_of(port.network),
        up=port.port.spec.admin_state_up,
        addresses=tuple(dict.fromkeys([*own, *floating])),
    )


def _floating(want: router_pb2.RouterWant, port: router_pb2.RouterPort) -> Iterator[str]:
    """The floating addresses of the port's network, also those of which only ports are forwarded."""
    for floating in want.floating_ips:
        if floating.spec.floating_network_id == port.port.spec.network_id:
            yield floating.spec.floating_ip_address


def routes(want: router_pb2.RouterWant) -> list[Route]:
    """The way out by the first gateway, or by all, and the extra routes."""
    ways: dict[str, list[Hop]] = {}
    for port in _gateways(want):
        for subnet in port.subnets:
            if subnet.spec.gateway_ip:
                default = "0.0.0.0/0" if subnet.spec.ip_version == 4 else "::/0"
                hop = Hop(subnet.spec.gateway_ip, name.router_port(port.port.meta.id))
                ways.setdefault(default, []).append(hop)
    if not want.router.spec.enable_default_route_ecmp:
        ways = {default: hops[:1] for default, hops in ways.items()}
    for extra in want.router.spec.routes:
        ways[extra.destination] = [Hop(extra.nexthop)]
    return [Route(destination, tuple(hops)) for destination, hops in ways.items()]


def return_paths(want: router_pb2.RouterWant) -> list[ReturnPath]:
    """Those of the gateways but the first, which has the default route."""
    return [
        ReturnPath(mark, subnet.spec.gateway_ip, name.router_port(port.port.meta.id))
        for mark, port in enumerate(_gateways(want)[1:], _FIRST_RETURN)
        for subnet in [s for s in port.subnets if s.spec.ip_version == 4 and s.spec.gateway_ip][:1]
    ]


def _gateways(want: router_pb2.RouterWant) -> list[router_pb2.RouterPort]:
    """In the order in which the router names them."""
    order = {gateway.port_id: at for at, gateway in enumerate(want.router.spec.external_gateways)}
    gateways = [port for port in want.ports if port.gateway]
    return sorted(gateways, key=lambda port: order.get(port.port.meta.id, len(order)))


def translations(want: router_pb2.RouterWant) -> Wanted:
    """Nothing where the router leads nowhere outside."""
    wanted = Wanted()
    gateways = [port for port in want.ports if port.gateway]
    if not gateways:
        return wanted
    elements: dict[Key, dict[str, str]] = {key: {} for key in _SETS}
    for port in gateways:
        _add_gateway(elements, want, port)
    for path in return_paths(want):
        elements[TABLE, "returning"][path.device] = str(path.mark)
    for forwarding in want.port_forwardings:
        spec, outside = forwarding.spec, forwarding.floating_ip_address
        if spec.protocol == "icmp":
            elements[TABLE, "forward_icmp"][outside] = spec.internal_ip_address
            continue
        for offset in range(spec.external_port_last - spec.external_port_first + 1):
            outer = spec.external_port_first + offset
            inner = min(spec.internal_port_first + offset, spec.internal_port_last)
            key = (TABLE, f"forward_{spec.protocol}")
            elements[key][f"{outside} . {outer}"] = f"{spec.internal_ip_address} . {inner}"
    for key, type_ in _SETS.items():
        wanted.add_set(key, type_, elements[key])
    for key, (hook, rules) in _CHAINS.items():
        wanted.add_chain(key, rules, hook)
    return wanted


def _add_gateway(
    elements: dict[Key, dict[str, str]], want: router_pb2.RouterWant, port: router_pb2.RouterPort
) -> None:
    device = name.router_port(port.port.meta.id)
    elements[TABLE, "gateway"][device] = ""
    own = [fixed.ip_address for fixed in port.port.spec.fixed_ips if "." in fixed.ip_address]
    if port.snat and own:
        elements[TABLE, "outward"][device] = own[0]
    for floating in want.floating_ips:
        spec = floating.spec
        if spec.floating_network_id == port.port.spec.network_id and spec.fixed_ip_address:
            elements[TABLE, "floating"][spec.floating_ip_address] = spec.fixed_ip_address
            elements[TABLE, "fixed"][f"{device} . {spec.fixed_ip_address}"] = spec.floating_ip_address
            elements[TABLE, "hairpin"].setdefault(spec.fixed_ip_address, spec.floating_ip_address)
