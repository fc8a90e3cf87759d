"""Which node a router lives on: one that is alive and has its physical networks, the least loaded first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fabric.network.agent import DEFAULT_ZONE
from fabric.network.binding import HOLDER, KIND
from fabric.network.collection import AGENTS, NETWORKS, PORTS, ROUTERS, SUBNETS, agent_id
from fabric.network.reach import Need, missed
from fabric.network.router_link import ports_of
from fabric.network.v1 import router_pb2 as pb
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction


@dataclass(frozen=True)
class Candidate:
    """A node that can have the router."""

    node: str
    zone: str
    routers: int  # that live there already


def choose(possible: Iterable[Candidate], zones: Sequence[str]) -> str | None:
    """One of the zones that are asked for, or any when there is none; None: there is no node at all."""
    candidates = list(possible)
    wanted = [place for place in candidates if place.zone in zones] if zones else candidates
    best = min(wanted or candidates, key=lambda place: (place.routers, place.node), default=None)
    return best.node if best is not None else None


def needed(store: Store, router: pb.Router) -> list[Need]:
    """The networks that the router's ports are on, and the segments that their subnets are on."""
    found = []
    for port in ports_of(store, router.meta.id):
        network = store.find(NETWORKS, port.spec.network_id)
        subnets = (store.find(SUBNETS, fixed.subnet_id) for fixed in port.spec.fixed_ips)
        segments = {subnet.spec.segment_id for subnet in subnets if subnet is not None}
        if network is not None:
            found.append((network, frozenset(segments - {""})))
    return found


def fits(store: Store, router: pb.Router) -> bool:
    """Whether the router is on a node that is alive and has what it needs: then it stays."""
    life = store.life(router.node, KIND)
    return life is not None and missed(life, needed(store, router)) is None


def possible(store: Store, router: pb.Router) -> list[Candidate]:
    """The nodes that can have it."""
    needs, found = needed(store, router), []
    for life in store.lives():
        if life.agent != KIND or missed(life, needs) is not None:
            continue
        agent = store.find(AGENTS, agent_id(life.node))
        if agent is not None and not agent.spec.admin_state_up and life.node != router.node:
            continue
        zone = agent.spec.availability_zone if agent is not None else ""
        count = store.table(ROUTERS).count("node", life.node)
        found.append(Candidate(life.node, zone or DEFAULT_ZONE, count))
    return found


def move(txn: Transaction, store: Store, router: pb.Router, node: str, *, parked: bool = False) -> None:
    """Let the router and its ports live on the node, and nowhere else, from one revision on.

    node empty: nowhere, until a node is found for it; parked: until it is moved again.
    """
    moved = copy_of(router)
    moved.node, moved.parked = node, parked
    moved.ClearField("status")
    kept = [name for name in router.meta.finalizers if name != HOLDER]
    moved.meta.finalizers[:] = [*kept, HOLDER] if node else kept
    txn.update(ROUTERS, moved)
    if router.node:
        txn.unwant(ROUTERS, router.node, router.meta.id)
    for port in ports_of(store, router.meta.id):
        there = copy_of(port)
        there.spec.node = node
        txn.update(PORTS, there)
