"""The prefixes of subnet pools: which are free, which overlap. Arithmetic only, no I/O."""

import ipaddress
from collections.abc import Iterable, Sequence

from fabric.network import address
from fabric.network.address import IpNetwork, Range

BITS = {4: 32, 6: 128}
QUOTA_UNIT = {4: 32, 6: 64}  # the prefix length that counts as one
DEFAULT_MIN = {4: 8, 6: 64}


def merged(prefixes: Iterable[IpNetwork]) -> list[str]:
    """The same addresses in as few prefixes as possible, in order; all of one IP version."""
    return [str(net) for net in ipaddress.collapse_addresses(prefixes)]  # type: ignore[type-var]


def networks(prefixes: Iterable[str]) -> list[IpNetwork]:
    """Parsed. Raises InvalidArgument."""
    return [address.network(prefix, "prefixes") for prefix in prefixes]


def covers(prefixes: Iterable[IpNetwork], net: IpNetwork) -> bool:
    """Whether one of the merged prefixes holds the whole network."""
    return any(_inside(net, prefix) for prefix in prefixes)


def overlap(first: Iterable[IpNetwork], second: Sequence[IpNetwork]) -> bool:
    """Whether any address is in both."""
    return any(one.overlaps(other) for one in first for other in second if one.version == other.version)


def without(prefixes: Sequence[IpNetwork], gone: Sequence[IpNetwork]) -> list[IpNetwork]:
    """What is left of the prefixes."""
    return [
        part for first, last in _free(prefixes, gone) for part in _parts(first, last, prefixes[0].version)
    ]


def choose(prefixes: Sequence[IpNetwork], taken: Sequence[IpNetwork], prefixlen: int) -> IpNetwork | None:
    """A free network of that length: where the least room is wasted, then the lowest. None: there is none."""
    size = 1 << (prefixes[0].max_prefixlen - prefixlen)
    found: tuple[int, int] | None = None
    for first, last in _free(prefixes, taken):
        start = -(-first // size) * size
        if start + size - 1 <= last:
            found = min(found or (last - first, start), (last - first, start))
    if found is None:
        return None
    return address.network(f"{address.text(found[1], prefixes[0].version)}/{prefixlen}")


def quota_units(net: IpNetwork) -> int:
    """What the network counts of a pool's default_quota: addresses, of IPv6 /64 networks."""
    return int(1 << max(0, QUOTA_UNIT[net.version] - net.prefixlen))


def _free(prefixes: Iterable[IpNetwork], taken: Iterable[IpNetwork]) -> list[Range]:
    """The gaps that are left, in order."""
    used = sorted(_range(net) for net in taken)
    gaps = []
    at = 0
    for first, last in sorted(_range(net) for net in prefixes):
        while at < len(used) and used[at][1] < first:
            at += 1
        start, looking = first, at
        while looking < len(used) and used[looking][0] <= last:
            if start < used[looking][0]:
                gaps.append((start, used[looking][0] - 1))
            start = max(start, used[looking][1] + 1)
            looking += 1
        if start <= last:
            gaps.append((start, last))
    return gaps


def _range(net: IpNetwork) -> Range:
    return int(net.network_address), int(net.broadcast_address)


def _inside(net: IpNetwork, prefix: IpNetwork) -> bool:
    (first, last), (low, high) = _range(net), _range(prefix)
    return net.version == prefix.version and low <= first and last <= high


def _parts(first: int, last: int, version: int) -> Iterable[IpNetwork]:
    ends = [ipaddress.ip_address(address.text(number, version)) for number in (first, last)]
    return ipaddress.summarize_address_range(*ends)
