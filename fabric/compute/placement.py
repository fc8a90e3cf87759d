"""Choosing a node for a server. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fabric.compute.server import disk_gb
from fabric.compute.v1 import server_pb2 as pb


@dataclass(frozen=True)
class Candidate:
    """A node as the scheduler sees it; capacity and allocated by resource ("compute.vcpus"...)."""

    name: str
    alive: bool
    enabled: bool
    zone: str
    capacity: Mapping[str, int]
    allocated: Mapping[str, int]

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


def choose(server: pb.Server, candidates: Sequence[Candidate]) -> Choice:
    """Filter, then weigh: most free memory first, then fewest virtual CPUs promised, then by name."""
    left: list[Candidate] = []
    removals: list[Removal] = []
    for candidate in candidates:
        removal = _removal(server, candidate)
        if removal is None:
            left.append(candidate)
        else:
            removals.append(removal)
    left.sort(key=lambda c: (-c.free("compute.ram_mib"), c.allocated.get("compute.vcpus", 0), c.name))
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
    for resource, amount in demand(server).items():
        missing = amount - candidate.free(resource)
        if missing > 0:
            what = resource.removeprefix("compute.")
            return Removal("Capacity", name, f"{missing} {what} short of {amount}")
    return None
