"""What routers decide without looking anywhere: places, gateways, routes, forwardings."""

import pytest

from fabric.network import router_placing
from fabric.network.port_forwarding import check_ranges, collides
from fabric.network.router import changed_gateways, changed_routes, gateway_rules
from fabric.network.router_gateway import differs, pair
from fabric.network.router_path import fixed_of
from fabric.network.router_placing import Candidate
from fabric.network.v1 import port_forwarding_pb2, port_pb2, router_pb2, subnet_pb2
from fabric.runtime.errors import InvalidArgument, NotFound

Change = router_pb2.ChangeRouterPartsRequest


def _gateway(network: str, *addresses: str, snat: bool = True, port: str = "") -> router_pb2.ExternalGateway:
    return router_pb2.ExternalGateway(
        network_id=network,
        enable_snat=snat,
        port_id=port,
        external_fixed_ips=[port_pb2.FixedIp(subnet_id="s", ip_address=ip) for ip in addresses],
    )


@pytest.mark.parametrize(
    ("places", "zones", "chosen"),
    [
        ([], [], None),
        ([("a", "z", 2), ("b", "z", 1)], [], "b"),
        ([("b", "z", 1), ("a", "z", 1)], [], "a"),
        ([("a", "east", 0), ("b", "west", 9)], ["west"], "b"),
        ([("a", "east", 0)], ["west"], "a"),
    ],
)
def test_the_least_loaded_node_of_the_zone(
    places: list[tuple[str, str, int]], zones: list[str], chosen: str | None
) -> None:
    assert router_placing.choose([Candidate(*place) for place in places], zones) == chosen


def test_a_gateway_that_is_asked_for_again_stays() -> None:
    first, second = _gateway("n", "10.0.0.2", port="p"), _gateway("n", "10.0.0.3", port="q")
    assert pair([_gateway("n")], [first, second]) == [(_gateway("n"), first)]
    named = _gateway("n", "10.0.0.3")
    assert pair([named], [first, second]) == [(named, second)]
    assert pair([_gateway("m")], [first]) == [(_gateway("m"), None)]
    assert [old for _, old in pair([_gateway("n")] * 3, [first, second])] == [first, second, None]


def test_other_addresses_are_another_wish() -> None:
    old = _gateway("n", "10.0.0.2")
    subnet_only = _gateway("n")
    subnet_only.external_fixed_ips.add(subnet_id="s")
    assert not differs(_gateway("n", "10.0.0.2"), old)
    assert not differs(subnet_only, old)
    assert differs(_gateway("n", "10.0.0.9"), old)
    assert differs(_gateway("n", "10.0.0.2", "10.0.0.3"), old)
    assert differs(_gateway("n", "10.0.0.2"), _gateway("n", "10.0.0.2", "10.0.0.3"))


def test_only_what_a_gateway_changes_needs_a_right() -> None:
    old = _gateway("n", "10.0.0.2")
    plain = "external_gateway_info"
    assert list(gateway_rules([_gateway("n")], [old])) == [plain]
    assert list(gateway_rules([_gateway("m")], [old])) == [plain, f"{plain}:network_id"]
    assert list(gateway_rules([_gateway("n", snat=False)], [old])) == [plain, f"{plain}:enable_snat"]
    assert list(gateway_rules([_gateway("n", "10.0.0.2")], [old])) == [plain]
    assert list(gateway_rules([_gateway("n", "10.0.0.9")], [old])) == [plain, f"{plain}:external_fixed_ips"]


def test_some_routes_and_gateways_change_and_the_others_stay() -> None:
    one, two = [subnet_pb2.HostRoute(destination=f"10.{n}.0.0/16", nexthop="10.0.0.9") for n in (1, 2)]
    assert changed_routes([one], [one, two], adds=True) == [one, two]
    assert changed_routes([one, two], [two, two], adds=False) == [one]
    first, second = _gateway("n", "10.0.0.2"), _gateway("m", "10.1.0.2")
    assert changed_gateways([first], [second], Change.CHANGE_ADD) == [first, second]
    assert changed_gateways([first, second], [_gateway("n")], Change.CHANGE_REMOVE) == [second]
    quiet = _gateway("n", snat=False)
    assert changed_gateways([first, second], [quiet], Change.CHANGE_UPDATE) == [quiet, second]
    assert changed_gateways([], [first, second], Change.CHANGE_UPDATE) == [first, second]
    assert changed_gateways([first], [second], Change.CHANGE_UPDATE) == [second]
    assert changed_gateways([first], [quiet, second], Change.CHANGE_UPDATE) == [quiet, second]
    with pytest.raises(NotFound):
        changed_gateways([first], [second], Change.CHANGE_REMOVE)


def _forwarding(
    external: str, internal: str, protocol: str = "tcp"
) -> port_forwarding_pb2.PortForwardingSpec:
    ends = [[int(end) for end in side.split("-")] for side in (external, internal)]
    return port_forwarding_pb2.PortForwardingSpec(
        protocol=protocol,
        external_port_first=ends[0][0],
        external_port_last=ends[0][-1],
        internal_port_first=ends[1][0],
        internal_port_last=ends[1][-1],
        internal_port_id="p",
        internal_ip_address="10.0.0.5",
    )


@pytest.mark.parametrize(
    "ranges", [("22", "22"), ("100-109", "200-209"), ("100-109", "22"), ("1-65535", "1-65535")]
)
def test_ranges_that_fit(ranges: tuple[str, str]) -> None:
    check_ranges(_forwarding(*ranges))


@pytest.mark.parametrize("ranges", [("0", "22"), ("9-8", "22"), ("1", "65536"), ("1-2", "1-3"), ("1", "1-3")])
def test_ranges_that_do_not_fit(ranges: tuple[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        check_ranges(_forwarding(*ranges))


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (("22", "22"), ("22", "23"), True),
        (("22", "22"), ("23", "22"), True),
        (("22", "22"), ("23", "23"), False),
        (("20-29", "120-129"), ("29-30", "300-301"), True),
        (("20-29", "120-129"), ("30-31", "129-130"), True),
        (("22", "22"), ("22", "22", "udp"), False),
    ],
)
def test_what_cannot_be_forwarded_twice(one: tuple[str, str], other: tuple[str, ...], clash: bool) -> None:
    assert collides(_forwarding(*one), _forwarding(*other)) is clash
    assert collides(_forwarding(*other), _forwarding(*one)) is clash


def test_icmp_has_no_ports_and_goes_to_one() -> None:
    icmp = port_forwarding_pb2.PortForwardingSpec(protocol="icmp")
    check_ranges(icmp)
    assert collides(icmp, icmp)
    icmp.external_port_first = 1
    with pytest.raises(InvalidArgument):
        check_ranges(icmp)


def test_which_address_a_floating_ip_leads_to() -> None:
    port = port_pb2.Port()
    port.spec.fixed_ips.add(subnet_id="s", ip_address="fd00::5")
    with pytest.raises(InvalidArgument, match="no fixed IPv4"):
        fixed_of(port, "")
    port.spec.fixed_ips.add(subnet_id="s", ip_address="10.0.0.5")
    assert fixed_of(port, "").ip_address == "10.0.0.5"
    port.spec.fixed_ips.add(subnet_id="s", ip_address="10.0.0.6")
    assert fixed_of(port, "10.0.0.6").ip_address == "10.0.0.6"
    for ip, problem in (("", "multiple"), ("10.0.0.7", "does not have"), ("fd00::5", "not an IPv4")):
        with pytest.raises(InvalidArgument, match=problem):
            fixed_of(port, ip)
