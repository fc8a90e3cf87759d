"""Choosing a node for a server. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from fabric.compute.candidate import Ask, Candidate
from fabric.compute.filters import Check, checks
from fabric.compute.weighers import ordered
from fabric.runtime.config import Compute
from fabric.runtime.errors import InvalidArgument


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
        """Each filter with the nodes that it removed and what they lack; nodes that lack the same stand together."""
        by_filter: dict[str, dict[str, list[str]]] = {}
        for removal in self.removals:
            lacking = by_filter.setdefault(removal.filter, {})
            lacking.setdefault(removal.shortfall, []).append(removal.node)
        told = [
            f"{name} removed "
            + ", ".join(f"{', '.join(sorted(nodes))} ({shortfall})" for shortfall, nodes in lacking.items())
            for name, lacking in by_filter.items()
        ]
        return "; ".join(told) or "there is no compute node"


def choose(ask: Ask, candidates: Sequence[Candidate], settings: Compute | None = None) -> Choice:
    """Filter, then weigh."""
    try:
        asked = checks(ask)
    except InvalidArgument as error:
        return Choice([], [Removal("SchedulerHints", node.name, error.message) for node in candidates])
    left: list[Candidate] = []
    removals: list[Removal] = []
    for candidate in candidates:
        removal = _removal(candidate, asked)
        if removal is None:
            left.append(candidate)
        else:
            removals.append(removal)
    return Choice([node.name for node in ordered(ask, left, settings or Compute())], removals)


def _removal(candidate: Candidate, asked: Sequence[tuple[str, Check]]) -> Removal | None:
    for name, check in asked:
        if shortfall := check(candidate):
            return Removal(name, candidate.name, shortfall)
    return None
