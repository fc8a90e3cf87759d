"""Choosing a node for a server. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fabric.compute.server import disk_gb
from fabric.compute.v1 import server_group_pb2
from fabric.compute.v1 import server_pb2 as pb

Policy = server_group_pb2.ServerGroupSpec


@dataclass(frozen=True)
class Candidate:
    """A node as the scheduler sees it; capacity and allocated by resource ("compute.vcpus"...)."""

    name: str
    alive: bool
    enabled: bool
    zone: str
    capacity: Mapping[str, int]
    allocated: Mapping[str, int]
    group_servers: int = 0  # of the server's group, on this node
    server_ids: frozenset[str] = frozenset()  # on this node; looked up only for hints that name servers

    def free(self, resource: str) -> int:
        """What is left of a resource."""
        return self.capacity.get(resource, 0) - self.allocated.get(resource, 0)


@dataclass(frozen=True)
class Removal:
    """One filter's verdict on one node, with what is missing."""

    filter: str
    node: str
    shortfall: str


@dataclass(frozen=True)
class Choice:
    """The nodes that can take the server, the best first, and why the others cannot."""

    nodes: Sequence[str]
    removals: Sequence[Removal]

    def explain(self) -> str:
        """Each filter with the nodes that it removed and what they lack."""
        by_filter: dict[str, list[str]] = {}
        for removal in self.removals:
            by_filter.setdefault(removal.filter, []).append(f"{removal.node} ({removal.shortfall})")
        told = [f"{name} removed {', '.join(nodes)}" for name, nodes in by_filter.items()]
        return "; ".join(told) or "there is no compute node"


def choose(server: pb.Server, candidates: Sequence[Candidate], group: Policy | None = None) -> Choice:
    """Filter, then weigh: what the group would rather have, most free memory, fewest virtual CPUs promised."""
    occupied = any(candidate.group_servers for candidate in candidates)
    left: list[Candidate] = []
    removals: list[Removal] = []
    for candidate in candidates:
        removal = _removal(server, candidate) or _group_removal(candidate, group, occupied)
        if removal is None:
            left.append(candidate)
        else:
            removals.append(removal)
    left.sort(
        key=lambda c: (
            _reluctance(c, group),
            -c.free("compute.ram_mib"),
            c.allocated.get("compute.vcpus", 0),
            c.name,
        )
    )
    return Choice([c.name for c in left], removals)


def demand(server: pb.Server) -> Mapping[str, int]:
    """What the server takes of a node, by resource."""
    flavor = server.spec.flavor
    return {
        "compute.vcpus": flavor.vcpus,
        "compute.ram_mib": flavor.ram_mib,
        "compute.disk_gb": disk_gb(server),
    }


def _removal(server: pb.Server, candidate: Candidate) -> Removal | None:
    spec, name = server.spec, candidate.name
    if spec.forced_node and spec.forced_node != name:
        return Removal("ForcedHost", name, f"the request names {spec.forced_node}")
    if not candidate.alive:
        return Removal("Alive", name, "its compute agent is down")
    if not candidate.enabled and not spec.forced_node:
        return Removal("Enabled", name, "it is disabled")
    if spec.availability_zone and not spec.forced_node and spec.availability_zone != candidate.zone:
        return Removal(
            "AvailabilityZone", name, f"it is in {candidate.zone}, not in {spec.availability_zone}"
        )
    hints = spec.scheduler_hints
    if "same_host" in hints and not candidate.server_ids & set(hints["same_host"].split(",")):
        return Removal("SameHost", name, f"it has none of {hints['same_host']}")
    if "different_host" in hints and candidate.server_ids & set(hints["different_host"].split(",")):
        return Removal("DifferentHost", name, f"it has one of {hints['different_host']}")
    for resource, amount in demand(server).items():
        missing = amount - candidate.free(resource)
        if missing > 0:
            what = resource.removeprefix("compute.")
            return Removal("Capacity", name, f"{missing} {what} short of {amount}")
    return None


def _group_removal(candidate: Candidate, group: Policy | None, occupied: bool) -> Removal | None:
    if group is None:
        return None
    if group.policy == Policy.POLICY_AFFINITY and occupied and not candidate.group_servers:
        return Removal("ServerGroupAffinity", candidate.name, "the group is on another node")
    if group.policy == Policy.POLICY_ANTI_AFFINITY:
        most = group.max_server_per_host or 1
        if candidate.group_servers >= most:
            return Removal(
                "ServerGroupAntiAffinity", candidate.name, f"it has {candidate.group_servers} of the group"
            )
    return None


def _reluctance(candidate: Candidate, group: Policy | None) -> int:
    if group is not None and group.policy == Policy.POLICY_SOFT_AFFINITY:
        return -candidate.group_servers
    if group is not None and group.policy == Policy.POLICY_SOFT_ANTI_AFFINITY:
        return candidate.group_servers
    return 0
