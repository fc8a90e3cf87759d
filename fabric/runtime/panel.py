"""Is a node cut off, or is etcd gone for everybody? Both sides ask the panel, a few nodes of the cloud. No I/O.

A node that cannot renew its lease goes on while more than half of the panel cannot either. A controller gives a node's
work to another only while at least half of the panel has lived without a break for as long as it waits. More than half
and at least half have a node in common, and that one cannot have been both.
"""

from collections.abc import Collection

SIZE = 7


def is_etcd_gone(silences_s: Collection[float | None], longer_than_s: float) -> bool:
    """Whether etcd has not answered most of the panel for so long; None: that node did not answer us."""
    silent = sum(silence is not None and silence > longer_than_s for silence in silences_s)
    return 2 * silent > len(silences_s)


def steady_since(alive_since: Collection[float | None]) -> float | None:
    """Since when half of the panel has lived without a break; None: less than half lives."""
    needed = (len(alive_since) + 1) // 2
    alive = sorted(since for since in alive_since if since is not None)
    if not needed:
        return 0.0
    return alive[needed - 1] if len(alive) >= needed else None
