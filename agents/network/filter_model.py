"""All that the node's filters should say, from networks, groups, members and ports. No I/O.

How a frame goes. In the bridge family (no connection tracking there) a frame from a port is checked against
what the port may send from (MAC, IP, ARP, neighbour discovery) and marked with the port's number; frames to
the network's own DHCP, DNS and metadata lose the mark again. br_netfilter then shows it to the inet family,
which tracks it in the network's zone and looks up the mark's chain of egress groups. On its way out of a
port of the bridge it is marked with that port's number, and the mark's chain of ingress groups decides. So
a port costs set elements, a group one chain a direction, ports with the same groups share the chain that
jumps to them, and a member of a group is one element.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from agents.network import group_rule, name, segment
from agents.network.directory import link_local
from agents.network.group_rule import EGRESS, INGRESS, Address
from agents.network.numbers import Numbers
from agents.network.ruleset import Key, Ruleset, SetType, Wanted
from fabric.network.v1 import network_pb2, port_pb2, security_group_pb2

FRAMES, FLOWS = "bridge fabric_port", "inet fabric_filter"
TABLES = (("bridge", "fabric_port"), ("inet", "fabric_filter"))

_LINK_NAMES = SetType("type ifname;", quoted=True)
_SETS = {
    (FRAMES, "port"): SetType("type ifname : mark;", is_map=True, quoted=True),
    (FRAMES, "plain"): _LINK_NAMES,  # ports without port security, links to namespaces
    (FRAMES, "link"): _LINK_NAMES,
    (FRAMES, "link_mac"): SetType("type ether_addr;"),
    # who answers a port
    (FRAMES, "metadata"): SetType("type ifname : ether_addr;", is_map=True, quoted=True),
    (FRAMES, "mac"): SetType("type mark . ether_addr;"),
    (FRAMES, "address4"): SetType("type mark . ether_addr . ipv4_addr;"),
    (FRAMES, "prefix4"): SetType("type mark . ether_addr . ipv4_addr; flags interval;"),
    (FRAMES, "address6"): SetType("type mark . ether_addr . ipv6_addr;"),
    (FRAMES, "prefix6"): SetType("type mark . ether_addr . ipv6_addr; flags interval;"),
    (FRAMES, "target6"): SetType("typeof meta mark . @th,64,128;"),  # what a port may say it is neighbour of
    (FRAMES, "target6_any"): SetType("type mark;"),  # ports with a pair that is an IPv6 prefix
    (FLOWS, "our_bridge"): _LINK_NAMES,
    (FLOWS, "zone"): SetType("typeof iifname : ct zone;", is_map=True, quoted=True),
    (FLOWS, "egress"): SetType("type mark : verdict;", is_map=True),
    (FLOWS, "ingress"): SetType("type mark : verdict;", is_map=True),
    (FLOWS, "egress_stateless"): SetType("type mark : verdict;", is_map=True),
    (FLOWS, "ingress_stateless"): SetType("type mark : verdict;", is_map=True),
    (FLOWS, "log_DROP"): SetType("type mark;"),
    (FLOWS, "log_ACCEPT"): SetType("type mark;"),
}

LOG_GROUP = 4011  # of NFLOG


def _logged(event: str) -> str:
    """Hand some of what happens to logged ports to whoever listens."""
    limit = "limit rate 100/second burst 25 packets"
    return f'meta mark @log_{event} {limit} log prefix "{event}" group {LOG_GROUP} snaplen 128'


_NEIGHBOUR = "nd-neighbor-solicit, nd-neighbor-advert"
_LISTENER = "mld-listener-report, mld-listener-done, mld2-listener-report"
_OUTLETS = f'"{name.OUTLET}*"'  # where networks have the node as their gateway
_UNMARKED = "meta mark set 0 accept"
_CHAINS = {
    (FRAMES, "from_any"): (
        "type filter hook prerouting priority -300; policy accept;",
        (
            "iifname != @link ether saddr @link_mac drop",  # each node has its own there
            # by its default route or not, the metadata service is here
            f"ip daddr {name.METADATA_V4} tcp dport 80 ether daddr set iifname map @metadata",
            "iifname @plain meta mark set 0 accept",
            "meta mark set iifname map @port goto from_port",
        ),
    ),
    (FRAMES, "from_port"): (
        "",
        (
            "ether type != { ip, ip6, arp } drop",  # a VLAN tag would hide a packet from the inet family
            "meta mark . ether saddr != @mac drop",
            "arp saddr ip 0.0.0.0 meta mark . arp saddr ether @mac accept",  # a probe (RFC 5227)
            "meta mark . arp saddr ether . arp saddr ip @address4 accept",
            "meta mark . arp saddr ether . arp saddr ip @prefix4 accept",
            "ether type arp drop",
            "udp sport 67 udp dport 68 drop",
            "udp sport 547 udp dport 546 drop",
            "icmpv6 type { nd-router-advert, nd-redirect } drop",
            f"ip saddr 0.0.0.0 udp sport 68 udp dport 67 {_UNMARKED}",
            f"ip6 saddr :: icmpv6 type {{ nd-neighbor-solicit, nd-router-solicit, {_LISTENER} }} {_UNMARKED}",
            "icmpv6 type nd-neighbor-advert meta mark != @target6_any meta mark . @th,64,128 != @target6"
            " drop",
            "meta mark . ether saddr . ip saddr @address4 goto from_known",
            "meta mark . ether saddr . ip6 saddr @address6 goto from_known",
            "meta mark . ether saddr . ip saddr @prefix4 goto from_known",
            "meta mark . ether saddr . ip6 saddr @prefix6 goto from_known",
            "drop",
        ),
    ),
    (FRAMES, "from_known"): (
        "",
        (
            f"udp sport 68 udp dport 67 {_UNMARKED}",
            f"udp sport 546 udp dport 547 {_UNMARKED}",
            f"icmpv6 type {{ {_NEIGHBOUR}, nd-router-solicit, {_LISTENER} }} {_UNMARKED}",
            f"ether daddr @link_mac udp dport 53 {_UNMARKED}",
            f"ether daddr @link_mac tcp dport {{ 53, 80 }} {_UNMARKED}",
        ),
    ),
    (FRAMES, "to_any"): (
        "type filter hook forward priority -300; policy accept;",
        (
            "oifname != @link ether daddr @link_mac drop",
            f'iifname @link oifname != "{name.TAP}*" oifname != "{name.ROUTER_LINK}*" drop',
            "oifname @plain meta mark set 0 accept",
            "meta mark set oifname map @port goto to_port",
            "meta mark set iifname map @port meta mark set 0",  # to elsewhere: the sender's mark says nothing
        ),
    ),
    (FRAMES, "to_port"): (
        "",
        (
            "ether type != { ip, ip6, arp } drop",
            f"iifname @link udp sport 67 udp dport 68 {_UNMARKED}",
            f"iifname @link udp sport 547 udp dport 546 {_UNMARKED}",
            f"icmpv6 type {{ {_NEIGHBOUR}, nd-router-advert, mld-listener-query }} {_UNMARKED}",
        ),
    ),
    (FLOWS, "track"): (
        "type filter hook prerouting priority -300; policy accept;",
        ("ct zone set iifname map @zone",),
    ),
    (FLOWS, "from_port"): (
        "type filter hook prerouting priority -150; policy accept;",
        (
            "iifname != @our_bridge accept",
            "meta mark 0 accept",
            "meta mark vmap @egress_stateless",
            "ct state established,related accept",
            "ct state invalid drop",
            "meta mark vmap @egress",
            "drop",
        ),
    ),
    (FLOWS, "to_port"): (
        "type filter hook forward priority 0; policy accept;",
        (
            f"iifname {_OUTLETS} udp dport {name.VXLAN_PORT} drop",  # other nodes would take it for the cloud's
            "iifname @our_bridge oifname != @our_bridge drop",  # the node routes nothing of its networks
            "oifname @our_bridge iifname != @our_bridge drop",
            "oifname != @our_bridge accept",
            "meta mark 0 accept",
            "meta mark vmap @ingress_stateless",
            "ct state established,related accept",
            "ct state invalid drop",
            "meta mark vmap @ingress",
            "drop",
        ),
    ),
    (FLOWS, "passed_from"): (
        "type filter hook prerouting priority -140; policy accept;",
        (f"iifname @our_bridge ct state new {_logged('ACCEPT')}",),
    ),
    (FLOWS, "passed_to"): (
        "type filter hook forward priority 10; policy accept;",
        (f"oifname @our_bridge ct state new {_logged('ACCEPT')}",),
    ),
    (FLOWS, "to_node"): (
        "type filter hook input priority 0; policy accept;",
        (
            "iifname @our_bridge drop",
            f"iifname != {_OUTLETS} accept",
            "ct state established,related accept",  # the node may use what is there, not the other way round
            "meta l4proto { icmp, ipv6-icmp } accept",
            "drop",
        ),
    ),
    (FLOWS, "leaving"): (
        "type nat hook postrouting priority 100; policy accept;",
        (f"iifname {_OUTLETS} oifname != {_OUTLETS} masquerade",),
    ),
}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class FilterModel:
    """Ports and members change through put and drop; the rest in the dictionaries."""

    def __init__(self, physical_networks: Mapping[str, str] | None = None) -> None:
        self._physical = physical_networks or {}
        self.marks = Numbers(2**31 - 1)  # by tap
        self.zones = Numbers(2**16 - 1)  # by bridge
        self.networks: dict[str, network_pb2.NetworkWant] = {}
        self.groups: dict[str, security_group_pb2.SecurityGroupWant] = {}
        self.members: dict[str, security_group_pb2.GroupMember] = {}
        self.ports: dict[str, port_pb2.Port] = {}
        self.logged: Mapping[str, frozenset[str]] = {}  # port -> events
        self._members_of: dict[str, dict[str, security_group_pb2.GroupMember]] = {}
        self._addresses: dict[str, dict[str, dict[str, str]]] = {}  # group -> set -> elements; when known
        self._port_elements: dict[str, list[tuple[Key, str]]] = {}  # of its mark and sources; when known

    def put_port(self, port: port_pb2.Port) -> None:
        self.ports[port.meta.id] = port
        self._port_elements.pop(port.meta.id, None)

    def drop_port(self, port_id: str) -> port_pb2.Port | None:
        """Returns what the port was."""
        self.marks.free(name.tap(port_id))
        self._port_elements.pop(port_id, None)
        return self.ports.pop(port_id, None)

    def logged_port(self, mark: int) -> str | None:
        """The logged port that has the number."""
        return next((id_ for id_ in self.logged if self.marks.number(name.tap(id_)) == mark), None)

    def put_member(self, member_id: str, member: security_group_pb2.GroupMember) -> None:
        self.drop_member(member_id)
        self._addresses.pop(member.security_group_id, None)
        self.members[member_id] = member
        self._members_of.setdefault(member.security_group_id, {})[member_id] = member

    def drop_member(self, member_id: str) -> None:
        member = self.members.pop(member_id, None)
        if member is not None:
            del self._members_of[member.security_group_id][member_id]
            self._addresses.pop(member.security_group_id, None)

    def ruleset(self, *, always: bool = False) -> Wanted:
        """Everything; nothing at all when there is no network, port and group, unless always."""
        want = Wanted()
        if not (always or self.networks or self.ports or self.groups):
            return want
        elements: dict[Key, dict[str, str]] = {key: {} for key in _SETS}
        for network_id, network in self.networks.items():
            self._add_network(elements, network_id, network)
        combinations: dict[tuple[str, tuple[str, ...]], str] = {}
        for port in self.ports.values():
            self._add_port(elements, port, combinations)
        for key, type_ in _SETS.items():
            want.add_set(key, type_, elements[key])
        for key, (hook, rules) in _CHAINS.items():
            want.add_chain(key, rules, hook)
        for (direction, group_ids), chain in combinations.items():
            jumps = [f"jump {_group_chain(group_id, direction)}" for group_id in group_ids]
            want.add_chain((FLOWS, chain), [*jumps, _logged("DROP"), "drop"])
        self._add_groups(want)
        return want

    def _add_network(
        self,
        elements: Mapping[Key, dict[str, str]],
        network_id: str,
        want: network_pb2.NetworkWant,
    ) -> None:
        bridge, link = name.bridge(network_id), name.link(network_id)
        elements[FLOWS, "our_bridge"][bridge] = ""
        elements[FLOWS, "zone"][bridge] = str(self.zones.number(bridge))
        elements[FRAMES, "plain"][link] = ""
        elements[FRAMES, "link"][link] = ""
        elements[FRAMES, "link_mac"][name.link_mac(want)] = ""
        if segment.has_outlet(want, self._physical):
            elements[FRAMES, "link"][name.uplink(network_id)] = ""
            elements[FRAMES, "link_mac"][name.outlet_mac(network_id)] = ""

    def _add_port(
        self,
        elements: Mapping[Key, dict[str, str]],
        port: port_pb2.Port,
        combinations: dict[tuple[str, tuple[str, ...]], str],
    ) -> None:
        tap = name.tap(port.meta.id)
        on = self.networks.get(port.spec.network_id)
        if on is not None:
            elements[FRAMES, "metadata"][tap] = name.link_mac(on)
        if not port.spec.port_security_enabled:
            elements[FRAMES, "plain"][tap] = ""
            return
        mark = self.marks.number(tap)
        elements[FRAMES, "port"][tap] = str(mark)
        for key, element in self._sources(mark, port):
            elements[key][element] = ""
        for event in self.logged.get(port.meta.id, ()):
            elements[FLOWS, f"log_{event}"][str(mark)] = ""
        suffix = "_stateless" if self.is_stateless(port) else ""
        groups = tuple(sorted(g for g in port.spec.security_group_ids if g in self.groups))
        for direction in (INGRESS, EGRESS):
            chain = combinations.setdefault((direction, groups), _combination(direction, groups))
            elements[FLOWS, direction + suffix][str(mark)] = f"goto {chain}"

    def _sources(self, mark: int, port: port_pb2.Port) -> list[tuple[Key, str]]:
        """The elements that say what the port may send from."""
        if port.meta.id not in self._port_elements:
            self._port_elements[port.meta.id] = list(_source_elements(mark, port))
        return self._port_elements[port.meta.id]

    def is_stateless(self, port: port_pb2.Port) -> bool:
        """Whether the port's groups do without connection tracking; the API mixes no two kinds on a port."""
        groups = [self.groups[id_] for id_ in port.spec.security_group_ids if id_ in self.groups]
        return any(not group.security_group.spec.stateful for group in groups)

    def _add_groups(self, want: Wanted) -> None:
        remotes = {
            rule.spec.remote_group_id
            for group in self.groups.values()
            for rule in group.rules
            if rule.spec.remote_group_id
        }
        for remote in remotes:
            for set_name, elements in self._member_sets(remote).items():
                kind, version = set_name[0], set_name[1]
                flags = " flags interval;" if kind == "n" else ""
                want.add_set((FLOWS, set_name), SetType(f"type ipv{version}_addr;{flags}"), elements)
        for group_id, group in self.groups.items():
            for direction in (INGRESS, EGRESS):
                rules = group_rule.texts(group.rules, direction, self._set_names)
                want.add_chain((FLOWS, _group_chain(group_id, direction)), rules)

    def _set_names(self, group_id: str, version: int) -> list[str]:
        return [set_name for set_name in self._member_sets(group_id) if set_name[1] == str(version)]

    def _member_sets(self, group_id: str) -> dict[str, dict[str, str]]:
        """One set of addresses per IP version, and one of prefixes where a member has any."""
        if group_id not in self._addresses:
            members = self._members_of.get(group_id, {}).values()
            networks = {ipaddress.ip_network(text) for member in members for text in member.addresses}
            sets: dict[str, dict[str, str]] = {}
            for version in (4, 6):
                ours = [network for network in networks if network.version == version]
                single = [n for n in ours if n.prefixlen == n.max_prefixlen]
                sets[f"m{version}-{group_id}"] = {str(n.network_address): "" for n in single}
                wide = [n for n in ours if n.prefixlen != n.max_prefixlen]
                if wide:
                    sets[f"n{version}-{group_id}"] = {str(n): "" for n in _collapse(wide)}
            self._addresses[group_id] = sets
        return self._addresses[group_id]

    def is_member(self, group_id: str, address: Address) -> bool:
        """Whether the address is one of the group's."""
        sets = self._member_sets(group_id)
        if str(address) in sets[f"m{address.version}-{group_id}"]:
            return True
        wide = sets.get(f"n{address.version}-{group_id}", {})
        return any(address in ipaddress.ip_network(network) for network in wide)

    def adopt_numbers(self, have: Ruleset) -> None:
        """Keep the numbers that the kernel knows: another zone would forget a network's flows."""
        self.marks.adopt({tap: int(mark) for tap, mark in have.sets.get((FRAMES, "port"), {}).items()})
        self.zones.adopt({bridge: int(zone) for bridge, zone in have.sets.get((FLOWS, "zone"), {}).items()})


def _source_elements(mark: int, port: port_pb2.Port) -> Iterator[tuple[Key, str]]:
    for mac, network in sources(port):
        yield (FRAMES, "mac"), f"{mark} . {mac}"
        exact = network.prefixlen == network.max_prefixlen
        text = str(network.network_address) if exact else str(network)
        kind = f"{'address' if exact else 'prefix'}{network.version}"
        yield (FRAMES, kind), f"{mark} . {mac} . {text}"
        if network.version == 6 and exact:
            yield (FRAMES, "target6"), f"{mark} . {int(network.network_address):#x}"
        elif network.version == 6:
            yield (FRAMES, "target6_any"), str(mark)


def sources(port: port_pb2.Port) -> Iterator[tuple[str, Network]]:
    """What the port may send from.

    MAC and addresses, with the link-local ones that the MACs make; no overlaps.
    """
    own = port.spec.mac_address
    by_mac: dict[str, list[Network]] = {own: []}
    for fixed in port.spec.fixed_ips:
        if fixed.ip_address:
            by_mac[own].append(ipaddress.ip_network(fixed.ip_address))
    for pair in port.spec.allowed_address_pairs:
        mac = pair.mac_address.lower() or own
        by_mac.setdefault(mac, []).append(ipaddress.ip_network(pair.ip_address, strict=False))
    for mac, networks in by_mac.items():
        networks.append(ipaddress.ip_network(link_local(mac)))
        single = {network for network in networks if network.prefixlen == network.max_prefixlen}
        for version in (4, 6):
            wide = [n for n in networks if n.version == version and n not in single]
            yield from ((mac, network) for network in _collapse(wide))
        yield from ((mac, network) for network in single)


def unknown(have: Ruleset, want: Wanted, known_taps: Iterable[str]) -> Ruleset:
    """What is in the kernel for ports, networks and groups that nobody speaks of; see FilterDriver.adopt."""
    kept = Ruleset()
    taps = have.sets.get((FRAMES, "port"), {})
    known = set(known_taps)
    marks = {mark for tap, mark in taps.items() if tap not in known}
    for key, elements in have.sets.items():
        ours = want.sets.get(key, {})
        if key not in _SETS or key[1] in ("our_bridge", "zone", "plain", "link", "link_mac"):
            left = {element: value for element, value in elements.items() if element not in ours}
            if key not in _SETS and key in want.sets:
                left = {}  # a known group: its members are known
            if key[1] == "plain":
                left = {element: "" for element in left if element not in known}
        elif key[1] == "port":
            left = {tap: mark for tap, mark in elements.items() if mark in marks}
        elif key[1] == "metadata":
            left = {tap: mac for tap, mac in elements.items() if tap not in known}
        else:
            left = {element: value for element, value in elements.items() if element.split(" . ")[0] in marks}
        if left or (key not in _SETS and key not in want.sets):
            kept.sets[key] = left
    kept.chains = {key: rules for key, rules in have.chains.items() if key not in want.chains}
    return kept


def forget_tap(kept: Ruleset, tap: str) -> bool:
    """Take one port's part out of what is unknown. False: there is none."""
    mark = kept.sets.get((FRAMES, "port"), {}).get(tap)
    if mark is None:
        return False
    for key, elements in kept.sets.items():
        if key in _SETS:
            kept.sets[key] = {
                element: value
                for element, value in elements.items()
                if element != tap and element.split(" . ")[0] != mark
            }
    return True


def _collapse(networks: list[Network]) -> list[Network]:
    """The same addresses in the fewest prefixes, so that none overlaps; all of one version."""
    return list(ipaddress.collapse_addresses(networks))  # type: ignore[type-var]


def _group_chain(group_id: str, direction: str) -> str:
    return f"group-{group_id}-{direction}"


def _combination(direction: str, group_ids: tuple[str, ...]) -> str:
    digest = hashlib.sha256(" ".join(group_ids).encode()).hexdigest()[:16]
    return f"ports-{digest}-{direction}"
