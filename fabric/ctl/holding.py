"""What nodes hold beside what is wanted of them: who has no owner, and what is said to be there and is not."""

import bisect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from fabric.compute.v1 import server_pb2
from fabric.image.v1 import image_pb2
from fabric.network.v1 import network_pb2, port_pb2
from fabric.runtime.collection import ROOT
from fabric.runtime.store import Store
from fabric.type.v1 import holding_pb2

_Server, _Port = server_pb2.ServerStatus, port_pb2.PortStatus
_Image, _Network = image_pb2.ImageStatus, network_pb2.NetworkStatus

_WANT = re.compile(rf"{ROOT}/[^/]+/node/([^/]+)/want/[^/]+")

# Wanted collection -> the thing that a report in one of these states says to be there.
_PROMISED: Mapping[str, tuple[str, frozenset[int]]] = {
    "servers": (
        "domain",
        frozenset(
            {_Server.STATE_ACTIVE, _Server.STATE_STOPPED, _Server.STATE_PAUSED, _Server.STATE_SUSPENDED}
        ),
    ),
    "ports": ("tap", frozenset({_Port.STATE_ACTIVE})),
    "networks": ("bridge", frozenset({_Network.STATE_ACTIVE})),
    "images": ("image blob", frozenset({_Image.STATE_STORED})),
}


def orphans(store: Store, node: str, held: Iterable[holding_pb2.Holding]) -> Iterator[str]:
    """What is on the node and not wanted there."""
    wants = {name: sorted(map(unquote, table.ids())) for name, table in _tables(store, node, "want").items()}
    for holding in held:
        if not _begins_one(holding.owner_id, wants.get(holding.owner_kind, [])):
            yield (
                f"{node} holds the {holding.kind} {holding.name} of {holding.owner_kind} {holding.owner_id}, "
                "which is not wanted there"
            )


def missing(store: Store, node: str, held: Sequence[holding_pb2.Holding]) -> Iterator[str]:
    """What the node has reported to be there, is still wanted, and is not there."""
    wants, seen = _tables(store, node, "want"), _tables(store, node, "seen")
    for name, (kind, states) in _PROMISED.items():
        there = {holding.owner_id for holding in held if holding.kind == kind and holding.owner_kind == name}
        lengths = {len(part) for part in there}
        for id_ in seen[name].ids() if name in seen and name in wants else ():
            want, status = wants[name].get(id_), seen[name].get(id_)
            if (
                want is None
                or status.released
                or status.state not in states
                or not _HAS.get(name, _yes)(want)
            ):
                continue
            if not any(unquote(id_)[:length] in there for length in lengths):
                yield f"{node} reports {name}/{unquote(id_)}, but holds no {kind} of it"


def _begins_one(part: str, ids: Sequence[str]) -> bool:
    """Whether one of the ids, which are in order, begins with the part."""
    at = bisect.bisect_left(ids, part)
    return at < len(ids) and ids[at].startswith(part)


def _yes(_: Any) -> bool:
    return True


_HAS: Mapping[str, Callable[[Any], bool]] = {
    "ports": lambda port: not port.spec.device_owner.startswith("network:"),
}


def _tables(store: Store, node: str, part: str) -> dict[str, Any]:
    """By collection."""
    parents = [parent for parent in store.cache.parents() if parent.startswith(f"{ROOT}/")]
    inside = f"/node/{node}/{part}/"
    return {parent.rpartition("/")[2]: store.cache.table(parent) for parent in parents if inside in parent}


def wanted(store: Store, node: str) -> dict[str, int]:
    """How many of each kind are wanted of the node."""
    return {name: len(table) for name, table in sorted(_tables(store, node, "want").items()) if len(table)}


def with_work(store: Store) -> set[str]:
    """The nodes of which something is wanted."""
    found = (_WANT.fullmatch(parent) for parent in store.cache.parents() if len(store.cache.table(parent)))
    return {match[1] for match in found if match}
