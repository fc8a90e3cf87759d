import ipaddress
import uuid

import pytest

from agents.network import group_rule
from agents.network.conntrack import Tracked
from agents.network.directory import PortDirectory, link_local
from agents.network.filter_model import FLOWS, FRAMES, FilterModel, forget_tap, sources, unknown
from agents.network.flow_check import stale
from agents.network.group_rule import EGRESS, INGRESS, Flow
from agents.network.ruleset import Ruleset, listed, transaction
from fabric.network.v1 import security_group_pb2
from tests.unit.agents.network.wants import a_group, a_network, a_port, a_subnet

NETWORK_ID, GROUP_ID, REMOTE_ID = (str(uuid.uuid4()) for _ in range(3))
SUBNET = a_subnet(NETWORK_ID)
TCP_80: dict[str, object] = {
    "direction": "ingress",
    "ethertype": "IPv4",
    "protocol": "tcp",
    "port_range_min": 80,
    "port_range_max": 90,
}
FROM_REMOTE: dict[str, object] = {"direction": "ingress", "ethertype": "IPv4", "remote_group_id": REMOTE_ID}


def model(*rules: dict[str, object], ports: int = 1, members: int = 0) -> FilterModel:
    it = FilterModel()
    it.networks[NETWORK_ID] = a_network(SUBNET, network_id=NETWORK_ID)
    it.groups[GROUP_ID] = a_group(*rules, group_id=GROUP_ID)
    for i in range(ports):
        it.put_port(a_port(NETWORK_ID, [(SUBNET, f"10.0.0.{i + 5}")], groups=[GROUP_ID]))
    for i in range(members):
        address = str(ipaddress.IPv4Address("10.1.0.0") + i)
        it.put_member(
            str(i),
            security_group_pb2.GroupMember(
                security_group_id=REMOTE_ID, port_id=str(i), addresses=[address, f"fd00::{i:x}"]
            ),
        )
    return it


def flow(source: str, destination: str, protocol: int = 6, port: int = 80, **kwargs: int) -> Flow:
    return Flow(
        ipaddress.ip_address(source), ipaddress.ip_address(destination), protocol, 40000, port, **kwargs
    )


def test_rules_depend_neither_on_members_nor_on_ports() -> None:
    def count(it: FilterModel) -> int:
        return sum(map(len, it.ruleset().chains.values()))

    few, many = model(FROM_REMOTE, members=1), model(FROM_REMOTE, ports=50, members=500)
    assert count(few) == count(many)


def test_a_member_that_joins_is_one_element() -> None:
    it = model(FROM_REMOTE, members=100)
    before = it.ruleset()
    it.put_member(
        "new",
        security_group_pb2.GroupMember(security_group_id=REMOTE_ID, port_id="new", addresses=["10.2.0.1"]),
    )
    assert transaction(before, it.ruleset()) == (
        f"add element inet fabric_filter m4-{REMOTE_ID} {{ 10.2.0.1 }}\n"
    )


def test_nothing_to_do_is_no_transaction_and_nothing_wanted_is_nothing_left() -> None:
    want = model(TCP_80).ruleset()
    assert transaction(want, want) == ""
    commands = transaction(want, FilterModel().ruleset())
    assert commands == "delete table bridge fabric_port\ndelete table inet fabric_filter\n"


def test_a_listing_gives_back_elements_and_digests() -> None:
    place = {"family": "bridge", "table": "fabric_port"}
    found = listed(
        [
            {"metainfo": {}},
            {"map": {**place, "name": "port", "elem": [["tapx", 5]]}},
            {
                "set": {
                    **place,
                    "name": "prefix4",
                    "elem": [{"concat": [5, "aa", {"prefix": {"addr": "10.0.0.0", "len": 8}}]}],
                }
            },
            {"chain": {**place, "name": "empty"}},
            {"rule": {**place, "chain": "c", "comment": "abc"}},
        ]
    )
    assert found.sets == {
        (FRAMES, "port"): {"tapx": "5"},
        (FRAMES, "prefix4"): {"5 . aa . 10.0.0.0/8": ""},
    }
    assert found.chains == {(FRAMES, "empty"): (), (FRAMES, "c"): ("abc",)}


def test_the_kernels_numbers_are_kept() -> None:
    have = model(TCP_80, ports=3).ruleset()
    have.sets[FLOWS, "zone"] = {"fb" + NETWORK_ID[:12]: "77"}
    it = model(TCP_80)
    it.adopt_numbers(have)
    assert it.ruleset().sets[FLOWS, "zone"] == {"fb" + NETWORK_ID[:12]: "77"}


def test_what_nobody_speaks_of_is_kept_and_a_known_port_is_not() -> None:
    old = model(TCP_80, ports=2)
    have: Ruleset = old.ruleset()
    new = FilterModel()
    new.networks, new.groups = dict(old.networks), dict(old.groups)
    known = next(iter(old.ports.values()))
    new.put_port(known)
    new.adopt_numbers(have)
    kept = unknown(have, new.ruleset(), [f"tap{known.meta.id[:11]}"])
    assert len(kept.sets[FRAMES, "port"]) == 1
    assert all("10.0.0.6" in element for element in kept.sets[FRAMES, "address4"])


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (TCP_80, "meta nfproto ipv4 meta l4proto 6 th dport 80-90 accept"),
        ({**TCP_80, "remote_ip_prefix": "10.0.0.0/8"}, "ip saddr 10.0.0.0/8 meta l4proto 6 th dport 80-90 accept"),
        ({"direction": "ingress", "ethertype": "IPv6", "protocol": "icmp"}, "meta nfproto ipv6 meta l4proto 58 accept"),
        (
            {"direction": "ingress", "ethertype": "IPv4", "protocol": "icmp", "port_range_min": 8, "port_range_max": 0},
            "meta nfproto ipv4 meta l4proto 1 icmp type 8 icmp code 0 accept",
        ),
        ({"direction": "ingress", "ethertype": "IPv4", "protocol": "112"}, "meta nfproto ipv4 meta l4proto 112 accept"),
    ],
)  # fmt: skip
def test_a_rule_in_nfts_language(rule: dict[str, object], text: str) -> None:
    want = a_group(rule, group_id=GROUP_ID)
    assert list(group_rule.texts(want.rules, INGRESS, lambda group, version: [])) == [text]
    assert list(group_rule.texts(want.rules, EGRESS, lambda group, version: [])) == []


@pytest.mark.parametrize(
    ("rule", "asked", "yes"),
    [
        (TCP_80, flow("10.0.0.9", "10.0.0.5"), True),
        (TCP_80, flow("10.0.0.9", "10.0.0.5", port=91), False),
        (TCP_80, flow("10.0.0.9", "10.0.0.5", protocol=17), False),
        (TCP_80, flow("fd00::1", "fd00::2"), False),
        ({**TCP_80, "remote_ip_prefix": "192.0.2.0/24"}, flow("10.0.0.9", "10.0.0.5"), False),
        (FROM_REMOTE, flow("10.1.0.3", "10.0.0.5"), True),
        (FROM_REMOTE, flow("10.1.9.3", "10.0.0.5"), False),
    ],
)
def test_a_rule_asked_about_a_flow(rule: dict[str, object], asked: Flow, yes: bool) -> None:
    it = model(rule, members=10)
    assert group_rule.permits(it.groups[GROUP_ID].rules, INGRESS, asked, it.is_member) is yes


def test_flows_that_no_rule_accepts_and_those_of_gone_ports_are_stale() -> None:
    it, directory = model(TCP_80), PortDirectory()
    for port in it.ports.values():
        directory.put(port)
    zone = it.zones.number("fb" + NETWORK_ID[:12])

    def tracked(asked: Flow, zone: int = zone) -> Tracked:
        return Tracked(zone, 2, asked, b"", asked.source)

    good = tracked(flow("10.0.0.9", "10.0.0.5"))
    bad = tracked(flow("10.0.0.9", "10.0.0.5", port=22))
    others = tracked(flow("10.0.0.9", "10.0.0.5", port=22), zone=zone + 1)
    metadata = tracked(flow("10.0.0.5", "169.254.169.254"))
    answer = tracked(flow("10.0.0.2", "10.0.0.5", protocol=17, port=68))
    found = [good, bad, others, metadata, answer]
    assert list(stale(it, directory, found, set())) == [bad]
    assert list(stale(it, directory, found, {(NETWORK_ID, "10.0.0.9")})) == [good, bad]


def test_flows_of_addresses_that_ports_may_have_beside_their_own_are_stale_too() -> None:
    it, directory = model(TCP_80, ports=2), PortDirectory()
    for port in it.ports.values():
        directory.put(port)
        port.spec.allowed_address_pairs.add(ip_address="10.0.0.64/26")
    zone = it.zones.number("fb" + NETWORK_ID[:12])
    good, bad, far = (
        Tracked(zone, 2, asked, b"", asked.source)
        for asked in (
            flow("10.0.0.9", "10.0.0.77"),
            flow("10.0.0.9", "10.0.0.77", port=22),
            flow("10.0.0.9", "10.0.0.200", port=22),
        )
    )
    assert list(stale(it, directory, [good, bad, far], set())) == [bad]
    list(it.ports.values())[1].spec.port_security_enabled = False  # it may be the one that has the address
    assert list(stale(it, directory, [good, bad, far], set())) == []


def test_sources_do_not_overlap() -> None:
    port = a_port(NETWORK_ID, [(SUBNET, "10.0.0.5")])
    port.spec.allowed_address_pairs.add(ip_address="10.0.0.0/24")
    port.spec.allowed_address_pairs.add(ip_address="10.0.0.128/25")
    port.spec.allowed_address_pairs.add(ip_address="10.9.0.1", mac_address="FA:16:3E:00:00:01")
    mac = port.spec.mac_address
    assert {(m, str(n)) for m, n in sources(port)} == {
        (mac, "10.0.0.5/32"),
        (mac, "10.0.0.0/24"),
        (mac, f"{link_local(mac)}/128"),
        ("fa:16:3e:00:00:01", "10.9.0.1/32"),
        ("fa:16:3e:00:00:01", "fe80::f816:3eff:fe00:1/128"),
    }


def test_one_unknown_port_goes_and_the_others_stay() -> None:
    ports, known = (FRAMES, "port"), {"tapa": "0x1", "tapb": "0x2"}
    kept = Ruleset(sets={ports: dict(known)})
    assert not forget_tap(kept, "tapc")
    assert kept.sets == {ports: known}
    assert forget_tap(kept, "tapa")
    assert kept.sets == {ports: {"tapb": "0x2"}}
