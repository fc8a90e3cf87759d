"""What a QoS policy means for a port: rates in bytes, and nft rules for single frames. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass

from agents.network import name
from agents.network.ruleset import SetType, Wanted
from fabric.network.qos import BANDWIDTH_LIMIT, DSCP_MARKING, EGRESS, PACKET_RATE_LIMIT
from fabric.network.v1 import qos_pb2

FRAMES = "bridge fabric_qos"
TABLE = ("bridge", "fabric_qos")
_HIGHEST = 2**32 - 1  # of what the kernel counts in: bytes, and bytes a second
_CHAINS = {
    "from_any": ("type filter hook prerouting priority -310; policy accept;", ("iifname vmap @from",)),
    "to_any": ("type filter hook postrouting priority 0; policy accept;", ("oifname vmap @to",)),
}


@dataclass(frozen=True)
class Bandwidth:
    """A token bucket."""

    rate: int  # bytes a second
    burst: int  # bytes that may go at once after a silence


@dataclass(frozen=True)
class PacketRate:
    """The same for packets, whatever their size."""

    rate: int  # a second
    burst: int


@dataclass(frozen=True)
class Limits:
    """Of one port; out: from the server, into: to it. Nothing of it set: the port is as it would be without."""

    out: Bandwidth | None = None
    into: Bandwidth | None = None
    out_packets: PacketRate | None = None
    into_packets: PacketRate | None = None
    dscp: int | None = None


def limits(want: qos_pb2.QosPolicyWant | None) -> Limits:
    """What a policy asks for; a rate of 0 is none."""
    found: dict[str, Bandwidth | PacketRate | int] = {}
    for rule in want.rules if want is not None else ():
        spec = rule.spec
        way = "out" if spec.direction == EGRESS else "into"
        if spec.type == BANDWIDTH_LIMIT and spec.max_kbps:
            rate = min(spec.max_kbps * 125, _HIGHEST)
            # 100 ms: senders that pause for a moment catch up
            burst = spec.max_burst_kbps * 125 or rate // 10
            found[way] = Bandwidth(rate, min(burst, _HIGHEST))
        elif spec.type == PACKET_RATE_LIMIT and spec.max_kpps:
            rate = spec.max_kpps * 1000
            found[f"{way}_packets"] = PacketRate(rate, spec.max_burst_kpps * 1000 or max(1, rate // 20))
        elif spec.type == DSCP_MARKING:
            found["dscp"] = spec.dscp_mark
    return Limits(**found)  # type: ignore[arg-type]


def frame_rules(ports: Mapping[str, Limits]) -> Wanted:
    """Marks and packet rates of ports; nothing at all when no port has any."""
    want = Wanted()
    maps: dict[str, dict[str, str]] = {"from": {}, "to": {}}
    for port_id, wanted in ports.items():
        for way, rules in (("from", _rules_from(wanted)), ("to", _rate_rules(wanted.into_packets))):
            if rules:
                chain = f"{way}-{name.tap(port_id)}"
                want.add_chain((FRAMES, chain), rules)
                maps[way][name.tap(port_id)] = f"goto {chain}"
    if not want.chains:
        return want
    for way, elements in maps.items():
        type_ = SetType("type ifname : verdict;", is_map=True, quoted=True)
        want.add_set((FRAMES, way), type_, elements)
    for chain, (hook, base) in _CHAINS.items():
        want.add_chain((FRAMES, chain), base, hook)
    return want


def _rules_from(wanted: Limits) -> list[str]:
    marks = []
    if wanted.dscp is not None:
        marks = [f"ether type {kind} {kind} dscp set {wanted.dscp}" for kind in ("ip", "ip6")]
    return [*_rate_rules(wanted.out_packets), *marks]


def _rate_rules(wanted: PacketRate | None) -> list[str]:
    if wanted is None:
        return []
    return [f"limit rate over {wanted.rate}/second burst {wanted.burst} packets drop"]
