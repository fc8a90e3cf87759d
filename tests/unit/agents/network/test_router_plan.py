"""What a router's namespace should have."""

import uuid

from agents.network.name import router_port
from agents.network.router_plan import TABLE, Hop, Route, legs, routes, translations
from fabric.network.v1 import network_pb2
from tests.unit.agents.network.wants import a_network, a_router, a_router_port, a_subnet, translate


def a_site(*cidrs: str, gateways: tuple[str, ...]) -> network_pb2.NetworkWant:
    network_id = str(uuid.uuid4())
    subnets = [a_subnet(network_id, c, gateway=g) for c, g in zip(cidrs, gateways, strict=True)]
    return a_network(*subnets, network_id=network_id, dhcp=())


INSIDE = a_site("10.0.0.0/24", gateways=("10.0.0.1",))
OUTSIDE = a_site("203.0.113.0/24", "2001:db8::/64", gateways=("203.0.113.1", "2001:db8::1"))


def test_a_gateway_has_the_floating_addresses_and_leads_out() -> None:
    gateway = a_router_port(OUTSIDE, "203.0.113.10", "2001:db8::10", gateway=True)
    want = a_router(a_router_port(INSIDE, "10.0.0.1"), gateway)
    translate(want, gateway, "203.0.113.20", "10.0.0.5")
    want.router.spec.routes.add(destination="10.9.0.0/16", nexthop="10.0.0.9")
    assert [leg.addresses for leg in legs(want)] == [
        ("10.0.0.1/24",),
        ("203.0.113.10/24", "2001:db8::10/64", "203.0.113.20/32"),
    ]
    device = router_port(gateway.port.meta.id)
    assert routes(want) == [
        Route("0.0.0.0/0", (Hop("203.0.113.1", device),)),
        Route("::/0", (Hop("2001:db8::1", device),)),
        Route("10.9.0.0/16", (Hop("10.0.0.9"),)),
    ]
    sets = translations(want).sets
    assert sets[TABLE, "floating"] == {"203.0.113.20": "10.0.0.5"}
    assert sets[TABLE, "fixed"] == {f"{device} . 10.0.0.5": "203.0.113.20"}
    assert sets[TABLE, "outward"] == {device: "203.0.113.10"}


def test_the_default_route_is_by_the_first_gateway_or_by_all() -> None:
    other = a_site("198.51.100.0/24", gateways=("198.51.100.1",))
    one = a_router_port(OUTSIDE, "203.0.113.10", "2001:db8::10", gateway=True)
    two = a_router_port(other, "198.51.100.10", gateway=True)
    want = a_router(one, two)
    first, second = (router_port(port.port.meta.id) for port in (one, two))
    by_first, by_second = Hop("203.0.113.1", first), Hop("198.51.100.1", second)
    assert routes(want)[0] == Route("0.0.0.0/0", (by_first,))
    want.router.spec.enable_default_route_ecmp = True
    assert routes(want)[0] == Route("0.0.0.0/0", (by_first, by_second))


def test_a_gateway_without_snat_translates_only_floating_addresses() -> None:
    gateway = a_router_port(OUTSIDE, "203.0.113.10", "2001:db8::10", gateway=True, snat=False)
    assert translations(a_router(gateway)).sets[TABLE, "outward"] == {}


def test_a_router_without_a_gateway_translates_nothing() -> None:
    assert translations(a_router(a_router_port(INSIDE, "10.0.0.1"))).sets == {}


def test_a_range_of_ports_is_forwarded_one_to_one() -> None:
    gateway = a_router_port(OUTSIDE, "203.0.113.10", "2001:db8::10", gateway=True)
    want = a_router(gateway)
    forwarding = want.port_forwardings.add(floating_ip_address="203.0.113.30")
    forwarding.spec.protocol, forwarding.spec.internal_ip_address = "tcp", "10.0.0.5"
    forwarding.spec.external_port_first, forwarding.spec.external_port_last = 80, 81
    forwarding.spec.internal_port_first, forwarding.spec.internal_port_last = 8080, 8081
    assert translations(want).sets[TABLE, "forward_tcp"] == {
        "203.0.113.30 . 80": "10.0.0.5 . 8080",
        "203.0.113.30 . 81": "10.0.0.5 . 8081",
    }
