"""A node never comes back: what only it had is let go of, and the rest is elsewhere."""

import asyncio

from fabric.ctl import lost
from fabric.ctl.api import login
from fabric.ctl.cloud_state import cloud_state
from fabric.runtime.config import load
from tests.functional.migration.conftest import Operator
from tests.functional.migration.nodes import PROCESSES, Nodes
from tests.functional.migration.test_migrations import host
from tests.http_client import Http
from tests.processes import ProcessCloud, wait_for

LOST = "node3"
BYTES = {"Content-Type": "application/octet-stream"}


async def give_up(cloud: ProcessCloud) -> str:
    """What `fabricctl node remove --lost` does when the node is shut out; what it has left then."""
    config = load(cloud.config)
    async with cloud_state(config) as store:
        await lost.give_up(store, login(config, "admin"), LOST)
        return lost.work(store, LOST)


def image_there(http: Http, nodes: Nodes) -> str:
    """An image whose bytes only the node has: no other one is there to take them."""
    others = [node for node in PROCESSES if node != LOST]
    for node in others:
        nodes.kill(node)
    wait_for(lambda: [a["host"] for a in agents(http, alive=True)] == [LOST], 30, "the others to be down")
    body = {"name": "there", "disk_format": "raw", "container_format": "bare"}
    id_ = str(http.call("POST", "/image/v2/images", body)["id"])
    http.call("PUT", f"/image/v2/images/{id_}/file", b"1" * 4096, BYTES)
    nodes.heal()
    wait_for(lambda: len(agents(http, alive=True)) == len(PROCESSES), 30, "the others to be back")
    return id_


def agents(http: Http, **said: object) -> list[dict[str, str]]:
    """Those of routers."""
    found = http.call("GET", "/network/v2.0/agents?agent_type=L3%20agent")["agents"]
    return [agent for agent in found if said.items() <= agent.items()]


def router_there(http: Http) -> str:
    """A router that does not move by itself."""
    id_ = str(http.call("POST", "/network/v2.0/routers", {"router": {"ha": False}})["router"]["id"])
    wait_for(lambda: homes(http, id_) != [], 30, "the router to be somewhere")
    (home,) = homes(http, id_)
    if home != LOST:
        before, after = (agents(http, host=node)[0]["id"] for node in (home, LOST))
        http.call("DELETE", f"/network/v2.0/agents/{before}/l3-routers/{id_}")
        http.call("POST", f"/network/v2.0/agents/{after}/l3-routers", {"router_id": id_})
    return id_


def homes(http: Http, router: str) -> list[str]:
    found = http.call("GET", f"/network/v2.0/routers/{router}/l3-agents")["agents"]
    return [agent["host"] for agent in found]


def test_nothing_waits_for_a_node_that_is_lost(cloud: ProcessCloud, operator: Operator, nodes: Nodes) -> None:
    http = operator.http
    image, router = image_there(http, nodes), router_there(http)
    runs, shelved = operator.boot_on(LOST), operator.boot_on(LOST)
    operator.act(shelved, "shelve")
    operator.settle(shelved, "SHELVED")
    nodes.power_off(LOST)
    try:
        assert asyncio.run(give_up(cloud)) == ""
        operator.settle(runs, "ACTIVE")
        assert host(operator, runs) != LOST
        operator.settle(shelved, "SHELVED_OFFLOADED")
        wait_for(lambda: homes(http, router) not in ([], [LOST]), 30, "the router to be elsewhere")
        assert http.call("GET", f"/image/v2/images/{image}")["status"] == "queued"
        http.call("PUT", f"/image/v2/images/{image}/file", b"2" * 4096, BYTES)
        assert http.call("GET", f"/image/v2/images/{image}")["status"] == "active"
    finally:
        http.call("DELETE", f"/network/v2.0/routers/{router}")
        http.call("DELETE", f"/image/v2/images/{image}")
