"""etcd is gone for everybody, or for one node: what is highly available stays there, and goes here."""

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest

from fabric.runtime.client import Client
from fabric.runtime.config import load
from fabric.runtime.errors import Unavailable
from fabric.runtime.tls import identity
from fabric.type.v1.witness_pb2 import GetLifeRequest
from fabric.type.v1.witness_pb2_grpc import WitnessServiceStub
from tests.functional.compute.api import Compute
from tests.functional.compute.tenants import Furniture, furnished
from tests.functional.migration.conftest import FAST
from tests.functional.migration.nodes import PROCESSES, Nodes
from tests.http_client import Http
from tests.processes import PASSWORD, ProcessCloud, wait_for
from tests.size import FULL

_SLOWER = FAST.replace("evacuate_after_s = 5", "evacuate_after_s = 6").replace(
    "fence_after_s = 4", "fence_after_s = 5"
)
_OUTAGE_S = 600 if FULL else 8  # longer than fence_after_s and evacuate_after_s
_AFTERWARDS_S = 20 if FULL else 10  # longer than leases and evacuate_after_s


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCloud]:
    with ProcessCloud(tmp_path_factory.mktemp("outage"), compute=_SLOWER) as cloud:
        for name in ("node2", "node3"):
            cloud.add_node(name)
        yield cloud


@pytest.fixture
def nodes(cloud: ProcessCloud) -> Iterator[Nodes]:
    found = Nodes(cloud)
    yield found
    found.heal()


@pytest.fixture
def admin(cloud: ProcessCloud) -> Iterator[Compute]:
    with Http(cloud.url) as http:
        http.login("admin", PASSWORD, "admin")
        compute = Compute(http)
        wait_for(lambda: len(compute.call("GET", "/os-hypervisors")["hypervisors"]) == 3, 30, "three nodes")
        yield compute


@pytest.fixture(scope="module")
def furniture(cloud: ProcessCloud) -> Furniture:
    return furnished(cloud)


@pytest.fixture
def servers(admin: Compute, nodes: Nodes, furniture: Furniture) -> Iterator[dict[str, str]]:
    """One highly available server on each node, by node; their guards know."""
    named = Compute(admin.http, furniture.image, furniture.network, furniture.flavor)
    asked = {"metadata": {"fabric:ha": "true"}}
    found = {node: named.create(availability_zone=f"nova:{node}", **asked) for node in PROCESSES}
    for node, id_ in found.items():
        named.settle(id_, "ACTIVE")
        _wait_for_guard(nodes, node, id_)
    yield found
    for id_ in found.values():
        admin.call("DELETE", f"/servers/{id_}")
    for id_ in found.values():
        admin.gone(id_)


def _wait_for_guard(nodes: Nodes, node: str, id_: str) -> None:
    wait_for(lambda: id_ in nodes.fenced(node), 30, "the node to know")


def places(admin: Compute, servers: dict[str, str]) -> dict[str, str]:
    return {node: str(admin.show(id_)["OS-EXT-SRV-ATTR:host"]) for node, id_ in servers.items()}


def stays(nodes: Nodes, servers: dict[str, str], seconds: float) -> bool:
    """Whether each server runs on its node, and there only, for so long."""
    over = threading.Event()
    threading.Timer(seconds, over.set).start()
    while not over.wait(0.1):
        if any(nodes.running(id_) != [node] for node, id_ in servers.items()):
            return False
    return True


@pytest.mark.timeout(200 + _OUTAGE_S)
def test_guests_do_not_notice_that_etcd_is_gone(
    cloud: ProcessCloud, admin: Compute, nodes: Nodes, servers: dict[str, str]
) -> None:
    """Also those of a node whose agent is dead meanwhile: its guard asks."""
    cloud.kill("etcd")
    nodes.kill("node3")
    try:
        assert stays(nodes, servers, _OUTAGE_S)
    finally:
        cloud.start_process("etcd")
        nodes.heal()
    assert stays(nodes, servers, _AFTERWARDS_S)
    cloud.wait_for_service()
    assert places(admin, servers) == {node: node for node in servers}
    assert all(admin.show(id_)["status"] == "ACTIVE" for id_ in servers.values())


def test_an_agent_that_began_without_etcd_tells_that_it_has_no_lease(
    cloud: ProcessCloud, admin: Compute
) -> None:
    cloud.kill("etcd")
    try:
        cloud.restart("node2")
        wait_for(lambda: tells(cloud, "node2") == "no lease", 30, "node2 to tell")
    finally:
        cloud.start_process("etcd")
    wait_for(lambda: tells(cloud, "node2") == "a lease", 30, "node2 to live")


def tells(cloud: ProcessCloud, name: str) -> str:
    """What the node's agent says who asks whether etcd is gone; empty: it does not answer."""
    config = load(cloud.directory / f"{name}.toml")

    async def ask() -> str:
        client = Client(config.agent.listen, identity=identity(config.tls))
        try:
            life = await client.call(
                WitnessServiceStub, "GetLife", GetLifeRequest(agent="compute"), timeout_s=2
            )
        except Unavailable:
            return ""
        finally:
            await client.close()
        return "a lease" if life.alive else "no lease"

    return asyncio.run(ask())


def test_a_single_node_that_is_cut_off_gives_its_servers_up(
    cloud: ProcessCloud, admin: Compute, nodes: Nodes, servers: dict[str, str]
) -> None:
    cut = servers.pop("node2")
    watch = nodes.watch(cut)
    cloud.signal("node2", signal.SIGSTOP)  # it neither renews nor answers, and its guard does not need it
    try:
        wait_for(lambda: nodes.running(cut) not in ([], ["node2"]), 40, "the server to run elsewhere")
        assert stays(nodes, servers, 1)
    finally:
        cloud.signal("node2", signal.SIGCONT)
        most = watch.most()
    assert most == 1
    servers["node2"] = cut
    admin.settle(cut, "ACTIVE")
    nodes.settles_on(cut, places(admin, servers)["node2"])


def test_who_is_alone_with_a_dead_etcd_and_unreachable_peers_is_cut_off(
    cloud: ProcessCloud, admin: Compute, nodes: Nodes, servers: dict[str, str]
) -> None:
    """Less than half of the panel answers: others may go on with an etcd that this node does not see."""
    for name in ("agent", "node3"):
        cloud.signal(name, signal.SIGSTOP)
    cloud.kill("etcd")
    try:
        wait_for(lambda: nodes.running(servers["node2"]) == [], 30, "the node to give its servers up")
    finally:
        cloud.start_process("etcd")
        for name in ("agent", "node3"):
            cloud.signal(name, signal.SIGCONT)
    cloud.wait_for_service()
    wait_for(
        lambda: all(len(nodes.running(id_)) == 1 for id_ in servers.values()), 40, "all servers to run again"
    )
