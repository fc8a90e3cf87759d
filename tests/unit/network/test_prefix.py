"""The prefixes of subnet pools."""

import ipaddress
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fabric.network import prefix
from fabric.network.address import IpNetwork

POOL = ipaddress.ip_network("10.0.0.0/24")


@st.composite
def nets(draw: st.DrawFn) -> IpNetwork:
    """A network inside the pool."""
    length = draw(st.integers(24, 32))
    at = draw(st.integers(0, (1 << (length - 24)) - 1))
    return ipaddress.ip_network((int(POOL.network_address) + (at << (32 - length)), length))


def addresses(found: Sequence[IpNetwork]) -> set[int]:
    return {int(ip) for net in found for ip in net}


@given(st.lists(nets(), min_size=1, max_size=6))
def test_merging_changes_no_address(prefixes: list[IpNetwork]) -> None:
    merged = prefix.networks(prefix.merged(prefixes))
    assert addresses(merged) == addresses(prefixes)
    assert sum(net.num_addresses for net in merged) == len(addresses(prefixes))


@given(st.lists(nets(), min_size=1, max_size=6), st.lists(nets(), max_size=6))
def test_what_is_left_is_all_but_what_went(had: list[IpNetwork], gone: list[IpNetwork]) -> None:
    had = prefix.networks(prefix.merged(had))
    assert addresses(prefix.without(had, gone)) == addresses(had) - addresses(gone)


@given(st.lists(nets(), min_size=1, max_size=4), st.lists(nets(), max_size=8), st.integers(24, 32))
def test_a_chosen_network_is_free_and_there_is_one_if_there_can_be(
    prefixes: list[IpNetwork], taken: list[IpNetwork], length: int
) -> None:
    prefixes = prefix.networks(prefix.merged(prefixes))
    found = prefix.choose(prefixes, taken, length)
    free = addresses(prefixes) - addresses(taken)
    if found is not None:
        assert found.prefixlen == length
        assert addresses([found]) <= free
    else:
        assert not any(addresses([net]) <= free for net in POOL.subnets(new_prefix=length))


@given(st.lists(nets(), min_size=1, max_size=4), nets())
def test_overlap_and_cover_are_what_sets_say(prefixes: list[IpNetwork], net: IpNetwork) -> None:
    merged = prefix.networks(prefix.merged(prefixes))
    assert prefix.covers(merged, net) == (addresses([net]) <= addresses(merged))
    assert prefix.overlap(merged, [net]) == bool(addresses([net]) & addresses(merged))


def test_the_smallest_gap_that_fits_is_used() -> None:
    taken = [ipaddress.ip_network("10.0.0.0/26"), ipaddress.ip_network("10.0.0.128/26")]
    assert str(prefix.choose([POOL], taken, 28)) == "10.0.0.64/28"
    assert str(prefix.choose([POOL], taken, 26)) == "10.0.0.64/26"
    assert prefix.choose([POOL], taken, 25) is None


def test_ipv6_is_counted_in_networks_of_hosts() -> None:
    assert prefix.quota_units(ipaddress.ip_network("10.0.0.0/30")) == 4
    assert prefix.quota_units(ipaddress.ip_network("2001:db8::/62")) == 4
    assert prefix.quota_units(ipaddress.ip_network("2001:db8::/80")) == 1


def test_ipv6_pools_are_no_slower() -> None:
    pool = ipaddress.ip_network("2001:db8::/32")
    assert str(prefix.choose([pool], [ipaddress.ip_network("2001:db8::/64")], 64)) == "2001:db8:0:1::/64"
