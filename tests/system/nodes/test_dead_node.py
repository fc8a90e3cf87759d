"""A node dies or is cut off: its guests (claim C7) and routers answer elsewhere, and never at two places."""

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from agents.compute.stray import qemus_of
from agents.fence import Paths
from agents.network.name import ROUTER_LINK
from fabric.ctl.bed import Lab, Shape
from tests.functional.migration.nodes import Watch
from tests.processes import wait_for
from tests.size import FULL, size
from tests.system.faults.tenant import Tenant
from tests.system.nodes.conftest import running
from tests.system.nodes.guest import Guest, answered_again, silence_s

ROUNDS = size("FABRIC_DEATHS", 1, 20)
ELSEWHERE_S = 20.0 if FULL else 60.0  # 20, on a machine that does nothing else
MOVED_S = 5.0 if FULL else 20.0
CONTROL = "node1"


@dataclass(frozen=True)
class Death:
    """How a node goes, and comes back."""

    name: str
    begin: Callable[[Lab, str], None]
    end: Callable[[Lab, str], None]


DEATHS = (
    Death("cut off", Lab.cut, Lab.heal),  # from the other nodes and etcd; its guests and routers run on
    Death("without power", Lab.kill, Lab.start),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    yield from running(Shape(nodes=3, guest=True))


@pytest.fixture
def guest(lab: Lab, admin: Tenant) -> Guest:
    """Highly available, on a node that may die."""
    found = Guest(lab, admin)
    wait_for(found.answers, 60, "the guest to answer")
    service = {"host": CONTROL, "binary": "nova-compute"}
    admin.http.call("PUT", "/compute/v2.1/os-services/disable", service)
    found.call("POST", f"/servers/{found.id}/metadata", {"metadata": {"fabric:ha": "true"}})
    if found.node == CONTROL:
        target = found.migrate()
        wait_for(lambda: found.arrived(target), 60, "the guest to arrive")
        wait_for(lambda: len(qemus_of(found.id)) == 1, 10, "what it left to end")
    return found


@pytest.mark.timeout(200 + 120 * ROUNDS)
def test_guest_answers_elsewhere_and_never_runs_twice(lab: Lab, guest: Guest) -> None:
    away = [dies_and_comes_back(lab, guest, DEATHS[number % len(DEATHS)]) for number in range(ROUNDS)]
    print(f"{ROUNDS} rounds: answers after {statistics.median(away):.1f} s, at most {max(away):.1f} s")
    assert max(away) < ELSEWHERE_S


def dies_and_comes_back(lab: Lab, guest: Guest, death: Death) -> float:
    """After how many seconds the guest answers again."""
    source = guest.node
    wait_for(lambda: guest.id in fenced(lab, source), 10, "the node's guard to know")
    watch = Watch(lambda: len(qemus_of(guest.id)))
    try:
        with guest.pinged() as replies:
            began = time.time()
            death.begin(lab, source)
            wait_for(lambda: guest.node != source, ELSEWHERE_S, "the guest to go")
            wait_for(lambda: guest.arrived(guest.node), ELSEWHERE_S, "the guest to be made")
            replies.go_on()
            away = answered_again(replies.told) - began
        death.end(lab, source)
        wait_for(lambda: guest.holders() == [guest.node], 60, "the node to be back without it")
    finally:
        most = watch.most()
    print(f"{source} {death.name}: answers after {away:.1f} s")
    assert most == 1
    wait_for(guest.answers, 60, "the guest to answer")
    return away


def fenced(lab: Lab, node: str) -> list[str]:
    """The servers that end with the node's lease."""
    manifest = Paths(lab.config(node).node.state_dir / "compute").read()
    return [] if manifest is None else manifest.held


class Router:
    """The guest's way out."""

    def __init__(self, admin: Tenant) -> None:
        self._admin = admin
        (self.id,) = [router["id"] for router in self._call("GET", "/routers")["routers"]]

    def _call(self, method: str, path: str, body: object = None) -> dict[str, list[dict[str, str]]]:
        found: dict[str, list[dict[str, str]]] = self._admin.http.call(method, f"/network/v2.0{path}", body)
        return found

    @property
    def node(self) -> str:
        agents = self._call("GET", f"/routers/{self.id}/l3-agents")["agents"]
        return agents[0]["host"] if agents else ""

    def put(self, node: str) -> None:
        """Have it live there, when the node, which may have been away, takes routers."""
        wait_for(lambda: bool(self._agent(node)["alive"]), 60, f"the agent of {node}")
        if self.node != node:
            self._call("DELETE", f"/agents/{self._agent(self.node)['id']}/l3-routers/{self.id}")
            self._call("POST", f"/agents/{self._agent(node)['id']}/l3-routers", {"router_id": self.id})

    def _agent(self, node: str) -> dict[str, str]:
        return self._call("GET", f"/agents?host={node}&agent_type=L3%20agent")["agents"][0]


def legs(lab: Lab, node: str) -> list[str]:
    """The devices by which routers answer on the node that are up."""
    links = json.loads(lab.machine(node).run("ip", "-j", "link", "show", "up"))
    return [link["ifname"] for link in links if link and link["ifname"].startswith(ROUTER_LINK)]


@pytest.mark.timeout(200)
@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.name)
def test_connections_over_a_router_go_on_when_its_node_is_gone(
    lab: Lab, admin: Tenant, guest: Guest, death: Death
) -> None:
    router = Router(admin)
    (victim,) = {*lab.shape.names} - {CONTROL, guest.node}
    router.put(victim)
    wait_for(lambda: [n for n in lab.shape.names if legs(lab, n)] == [victim], 30, f"the router on {victim}")
    wait_for(guest.answers, 30, "the guest to answer over it")
    with guest.counting() as count, guest.pinged() as replies:
        death.begin(lab, victim)
        try:
            wait_for(lambda: router.node not in ("", victim), MOVED_S, "the router to move")
            replies.go_on()
            count.go_on()
            if death.name == "cut off":
                assert legs(lab, victim) == []
        finally:
            death.end(lab, victim)
    silent = silence_s(replies.told)
    print(f"silent for {silent:.1f} s")
    assert silent < MOVED_S
    wait_for(guest.answers, 30, "the guest to answer when the node is back")


def test_routers_answer_while_etcd_is_gone_for_everybody(lab: Lab, guest: Guest) -> None:
    lab.kill_program(CONTROL, "etcd", "STOP")
    try:
        ping = ["ping", "-i", "0.5", "-c", "20", "-W", "5", guest.address]
        said = subprocess.run(ping, capture_output=True, text=True, check=False).stdout
    finally:
        lab.kill_program(CONTROL, "etcd", "CONT")
    assert ", 0% packet loss" in said
    wait_for(guest.answers, 30, "the guest to answer when etcd is back")
