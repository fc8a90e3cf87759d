"""Choosing free addresses quickly: by chance first, by looking at all when a subnet is nearly full."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from fabric.network.address import Range, ranges, text
from fabric.network.collection import PORTS
from fabric.network.v1 import subnet_pb2
from fabric.runtime.store import Store

_GUESSES = 64
_SCANNED = 1 << 22  # addresses of a pool that are looked at one by one at most


class Reservation:
    """What one transaction under way is about to claim; other transactions of this process choose others."""

    def __init__(self, allocator: "Allocator") -> None:
        self._allocator = allocator
        self._held: set[tuple[str, str]] = set()

    def choose(self, subnet: subnet_pb2.Subnet) -> str | None:
        """A free address of the subnet's pools; None: there is none."""
        ip = self._allocator.free(subnet)
        if ip is not None:
            self.hold(subnet.meta.id, ip)
        return ip

    def hold(self, space: str, value: str) -> bool:
        """Keep others from choosing it; False: somebody has or is about to have it."""
        at = (space, value)
        if at in self._allocator.reserved:
            return False
        self._allocator.reserved.add(at)
        self._held.add(at)
        return True

    def release(self) -> None:
        """The transaction is over."""
        self._allocator.reserved -= self._held
        self._held.clear()


class Allocator:
    """Knows what is claimed from the cache, and what is about to be from its reservations."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.reserved: set[tuple[str, str]] = set()
        self._pools: dict[str, tuple[str, list[Range]]] = {}  # subnet id -> etag, pools
        self._random = random.Random()

    @contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """For the time of one transaction."""
        made = Reservation(self)
        try:
            yield made
        finally:
            made.release()

    def taken(self, subnet_id: str, ip: str) -> bool:
        """Whether the address is claimed or reserved."""
        return (subnet_id, ip) in self.reserved or self._store.owner(
            PORTS, "ip", f"{subnet_id}/{ip}"
        ) is not None

    def free(self, subnet: subnet_pb2.Subnet) -> str | None:
        """An address of the pools that is not taken."""
        pools = self._ranges(subnet)
        version, subnet_id = subnet.spec.ip_version, subnet.meta.id
        total = sum(last - first + 1 for first, last in pools)
        if not total:
            return None
        for _ in range(_GUESSES):
            ip = text(_nth(pools, self._random.randrange(total)), version)
            if not self.taken(subnet_id, ip):
                return ip
        start = self._random.randrange(total)
        for step in range(min(total, _SCANNED)):
            ip = text(_nth(pools, (start + step) % total), version)
            if not self.taken(subnet_id, ip):
                return ip
        return None

    def mac(self, network_id: str) -> str:
        """A MAC address that no port of the network has."""
        while True:
            number = self._random.getrandbits(24)
            mac = f"fa:16:3e:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
            space = f"mac {network_id}"
            if (space, mac) not in self.reserved and not self._store.owner(
                PORTS, "mac", f"{network_id}/{mac}"
            ):
                return mac

    def _ranges(self, subnet: subnet_pb2.Subnet) -> list[Range]:
        kept = self._pools.get(subnet.meta.id)
        if kept is None or kept[0] != subnet.meta.etag:
            if len(self._pools) > 10_000:
                self._pools.clear()
            kept = self._pools[subnet.meta.id] = subnet.meta.etag, ranges(subnet.spec.allocation_pools)
        return kept[1]


def _nth(pools: list[Range], at: int) -> int:
    for first, last in pools:
        if at <= last - first:
            return first + at
        at -= last - first + 1
    raise IndexError(at)
