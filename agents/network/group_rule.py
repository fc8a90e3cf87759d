"""A security group's rules in nft's language, and the same rules asked about one flow. No I/O."""

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fabric.network.v1 import security_group_pb2 as pb

INGRESS, EGRESS = "ingress", "egress"

_PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "egp": 8, "udp": 17, "dccp": 33, "ipv6-encap": 41,
    "ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58,
    "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ospf": 89, "vrrp": 112, "pgm": 113, "sctp": 132,
    "udplite": 136,
}  # fmt: skip
_WITH_PORTS = {6, 17, 33, 132, 136}
ICMP, ICMPV6 = 1, 58

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Flow:
    """The first packet of a tracked connection."""

    source: Address
    destination: Address
    protocol: int
    source_port: int  # ICMP: the identifier
    destination_port: int
    icmp_type: int = 0
    icmp_code: int = 0


def protocol_number(spec: pb.SecurityGroupRuleSpec) -> int | None:
    """None: any. In a rule for IPv6, icmp means ICMPv6."""
    text = spec.protocol.lower()
    if text in ("", "any"):
        return None
    number = int(text) if text.isdigit() else _PROTOCOLS.get(text, 255)
    return ICMPV6 if number == ICMP and spec.ethertype == "IPv6" else number


def texts(
    rules: Iterable[pb.SecurityGroupRule],
    direction: str,
    sets_of: Callable[[str, int], list[str]],
) -> Iterator[str]:
    """nft rules that accept what the group's rules of this direction say.

    sets_of: names of the sets that hold a remote group's members of an IP version.
    """
    for rule in sorted(rules, key=lambda rule: rule.meta.id):
        spec = rule.spec
        if spec.direction != direction or spec.remote_address_group_id:
            continue
        family, version = ("ip", 4) if spec.ethertype == "IPv4" else ("ip6", 6)
        side = "saddr" if direction == INGRESS else "daddr"
        match = _protocol_match(spec)
        if spec.remote_group_id:
            for set_name in sets_of(spec.remote_group_id, version):
                yield f"{family} {side} @{set_name} {match}accept"
            continue
        network = _remote_network(spec)
        if network is None or network.prefixlen == 0:
            yield f"meta nfproto ipv{version} {match}accept"
        elif network.version == version:
            yield f"{family} {side} {network} {match}accept"


def permits(
    rules: Iterable[pb.SecurityGroupRule],
    direction: str,
    flow: Flow,
    is_member: Callable[[str, Address], bool],
) -> bool:
    """Whether one of the rules accepts the flow's first packet: what the kernel does with texts()."""
    peer = flow.source if direction == INGRESS else flow.destination
    for rule in rules:
        spec = rule.spec
        if spec.direction != direction or spec.remote_address_group_id:
            continue
        if peer.version != (4 if spec.ethertype == "IPv4" else 6) or not _protocol_fits(spec, flow):
            continue
        if spec.remote_group_id:
            if is_member(spec.remote_group_id, peer):
                return True
            continue
        network = _remote_network(spec)
        if network is None or peer in network:
            return True
    return False


def _remote_network(
    spec: pb.SecurityGroupRuleSpec,
) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    return ipaddress.ip_network(spec.remote_ip_prefix, strict=False) if spec.remote_ip_prefix else None


def _range(spec: pb.SecurityGroupRuleSpec) -> tuple[int, int] | None:
    low = spec.port_range_min if spec.HasField("port_range_min") else None
    high = spec.port_range_max if spec.HasField("port_range_max") else None
    if low is None and high is None:
        return None
    return (0 if low is None else low), (65535 if high is None else high)


def _protocol_match(spec: pb.SecurityGroupRuleSpec) -> str:
    number = protocol_number(spec)
    if number is None:
        return ""
    match = f"meta l4proto {number} "
    if number in (ICMP, ICMPV6):
        kind = "icmp" if number == ICMP else "icmpv6"
        if spec.HasField("port_range_min"):
            match += f"{kind} type {spec.port_range_min} "
        if spec.HasField("port_range_max"):
            match += f"{kind} code {spec.port_range_max} "
    elif number in _WITH_PORTS and (ports := _range(spec)) is not None:
        match += f"th dport {ports[0]}-{ports[1]} " if ports[0] != ports[1] else f"th dport {ports[0]} "
    return match


def _protocol_fits(spec: pb.SecurityGroupRuleSpec, flow: Flow) -> bool:
    number = protocol_number(spec)
    if number is None:
        return True
    if number != flow.protocol:
        return False
    if number in (ICMP, ICMPV6):
        type_fits = not spec.HasField("port_range_min") or spec.port_range_min == flow.icmp_type
        code_fits = not spec.HasField("port_range_max") or spec.port_range_max == flow.icmp_code
        return type_fits and code_fits
    ports = _range(spec) if number in _WITH_PORTS else None
    return ports is None or ports[0] <= flow.destination_port <= ports[1]
