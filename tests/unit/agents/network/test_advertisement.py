"""What routers advertise."""

import uuid

import pytest

from agents.network.advertisement import advertisement
from fabric.network.v1 import router_pb2
from tests.unit.agents.network.wants import a_network, a_router_port, a_subnet


def a_port(mode: str, *, own: str = "fd00::1", gateway: bool = False) -> router_pb2.RouterPort:
    network_id = str(uuid.uuid4())
    subnet = a_subnet(
        network_id, "fd00::/64", gateway="fd00::1", ipv6_ra_mode=mode, dns_nameservers=["fd00::53"]
    )
    return a_router_port(a_network(subnet, network_id=network_id, dhcp=()), own, gateway=gateway)


@pytest.mark.parametrize(
    ("mode", "flags", "prefix_flags", "resolvers"),
    [("slaac", 0, 0xC0, 1), ("dhcpv6-stateless", 0x40, 0xC0, 0), ("dhcpv6-stateful", 0xC0, 0x80, 0)],
)
def test_flags_say_how_hosts_get_their_addresses(
    mode: str, flags: int, prefix_flags: int, resolvers: int
) -> None:
    port = a_port(mode)
    message = advertisement(port)
    assert message is not None
    assert message[5] == flags
    assert int.from_bytes(message[6:8], "big") == 1800
    options = dict(split(message[16:]))
    assert options[1] == bytes.fromhex(port.port.spec.mac_address.replace(":", ""))
    assert int.from_bytes(options[5][2:], "big") == 1450
    assert (options[3][0], options[3][1]) == (64, prefix_flags)
    assert (25 in options) == bool(resolvers)


def test_a_router_that_is_not_the_gateway_is_nobody_s_default() -> None:
    message = advertisement(a_port("slaac", own="fd00::9"))
    assert message is not None
    assert int.from_bytes(message[6:8], "big") == 0


def test_nothing_is_said_outside_or_where_others_speak() -> None:
    assert advertisement(a_port("slaac", gateway=True)) is None
    assert advertisement(a_port("")) is None


def split(options: bytes) -> list[tuple[int, bytes]]:
    found = []
    while options:
        length = options[1] * 8
        found.append((options[0], options[2:length]))
        options = options[length:]
    return found
