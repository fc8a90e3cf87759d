"""The weighers of the scheduler: which of the nodes that are left is the best. No I/O.

Each weigher gives a node a number; the numbers of all nodes are stretched to 0..1, multiplied (by the configuration,
or by what the node's aggregates say) and added up. The highest sum wins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fabric.compute.candidate import Ask, Candidate, Policy
from fabric.runtime.config import Compute

Weigh = Callable[[Ask, Candidate], float]


@dataclass(frozen=True)
class Weigher:
    """One row of the table. multiplier: the key of [compute], and of an aggregate's metadata."""

    multiplier: str
    weigh: Weigh


def _members(policy: Policy.Policy.ValueType, sign: int) -> Weigh:
    def weigh(ask: Ask, node: Candidate) -> float:
        wanted = ask.group is not None and ask.group.policy == policy
        return sign * ask.members.get(node.name, 0) if wanted else 0.0

    return weigh


WEIGHERS = (
    Weigher("ram_weight_multiplier", lambda _, node: node.unpromised("compute.ram_mib")),
    Weigher("cpu_weight_multiplier", lambda _, node: node.unpromised("compute.vcpus")),
    Weigher("disk_weight_multiplier", lambda _, node: node.unpromised("compute.disk_gb")),
    Weigher("io_ops_weight_multiplier", lambda _, node: node.building),
    Weigher("build_failure_weight_multiplier", lambda _, node: -node.failed),
    Weigher("soft_affinity_weight_multiplier", _members(Policy.POLICY_SOFT_AFFINITY, 1)),
    Weigher("soft_anti_affinity_weight_multiplier", _members(Policy.POLICY_SOFT_ANTI_AFFINITY, -1)),
)


def ordered(ask: Ask, nodes: Sequence[Candidate], settings: Compute) -> list[Candidate]:
    """The best first; those of equal weight by name."""
    sums = dict.fromkeys((node.name for node in nodes), 0.0)
    for row in WEIGHERS:
        weights = [row.weigh(ask, node) for node in nodes]
        low, high = min(weights, default=0.0), max(weights, default=0.0)
        if low == high:
            continue
        default = float(getattr(settings, row.multiplier))
        for node, weight in zip(nodes, weights, strict=True):
            sums[node.name] += _multiplier(node, row.multiplier, default) * (weight - low) / (high - low)
    return sorted(nodes, key=lambda node: (-sums[node.name], node.name))


def _multiplier(node: Candidate, key: str, default: float) -> float:
    """The least that the node's aggregates say, else the configured one."""
    said = node.metadata.get(key) if node.metadata else None
    if not said:
        return default
    try:
        return min(float(text) for text in said)
    except ValueError:
        return default
