"""Addresses, pools and prefixes."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.network import address
from fabric.network.v1.subnet_pb2 import AllocationPool
from fabric.runtime.errors import AlreadyExists, InvalidArgument

NETS = st.one_of(
    st.builds(
        lambda ip, length: ipaddress.ip_network((ip, length), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(8, 30),
    ),
    st.builds(
        lambda ip, length: ipaddress.ip_network((ip, length), strict=False),
        st.integers(0, 2**128 - 1).map(lambda number: number.to_bytes(16, "big")),
        st.integers(32, 124),
    ),
)


@given(NETS)
def test_default_pools_have_every_host_but_the_gateway(net: address.IpNetwork) -> None:
    gateway = address.default_gateway(net)
    pools = address.default_pools(net, gateway)
    assert all(
        address.is_host(net, ipaddress.ip_address(address.text(n, net.version))) for r in pools for n in r
    )
    assert all(not first <= int(ipaddress.ip_address(gateway)) <= last for first, last in pools)
    size = sum(last - first + 1 for first, last in pools)
    hosts = net.num_addresses - (2 if net.version == 4 else 1)
    assert size == hosts - 1
    assert address.checked_pools(address.pools_of(pools, net.version), net) == pools


@pytest.mark.parametrize(
    ("text", "expected"),
    [("FA-16-3E-00-00-01", "fa:16:3e:00:00:01"), ("fa:16:3e:aa:bb:cc", "fa:16:3e:aa:bb:cc")],
)
def test_a_mac_address_in_any_spelling(text: str, expected: str) -> None:
    assert address.mac(text) == expected


@pytest.mark.parametrize(
    "text", ["", "fa:16:3e", "01:00:5e:00:00:01", "00:00:00:00:00:00", "zz:16:3e:00:00:01"]
)
def test_what_is_no_unicast_mac_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        address.mac(text)


def test_the_address_that_a_host_makes_itself() -> None:
    assert address.eui64("2001:db8::/64", "fa:16:3e:00:00:01") == "2001:db8::f816:3eff:fe00:1"


@pytest.mark.parametrize("text", ["10.0.0.0/33", "x", "", "10.0.0.256/24", "fe80::%eth0/64"])
def test_what_is_no_network_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        address.network(text)
    assert caught.value.facts["field"] == "cidr"


@pytest.mark.parametrize(
    ("pools", "kind", "reason"),
    [
        ([("10.0.0.5", "10.0.0.2")], InvalidArgument, "INVALID_ALLOCATION_POOL"),
        ([("10.0.0.5", "fd00::1")], InvalidArgument, "INVALID_ALLOCATION_POOL"),
        ([("10.0.0.5", "10.0.1.2")], InvalidArgument, "OUT_OF_BOUNDS_ALLOCATION_POOL"),
        ([("10.0.0.0", "10.0.0.9")], InvalidArgument, "OUT_OF_BOUNDS_ALLOCATION_POOL"),
        (
            [("10.0.0.2", "10.0.0.9"), ("10.0.0.9", "10.0.0.12")],
            AlreadyExists,
            "OVERLAPPING_ALLOCATION_POOLS",
        ),
    ],
)
def test_pools_that_cannot_be(pools: list[tuple[str, str]], kind: type[Exception], reason: str) -> None:
    asked = [AllocationPool(start=start, end=end) for start, end in pools]
    with pytest.raises(kind) as caught:
        address.checked_pools(asked, ipaddress.ip_network("10.0.0.0/24"))
    assert caught.value.reason == reason  # type: ignore[attr-defined]
