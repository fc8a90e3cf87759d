"""A cloud of three fake nodes whose domains outlive their agents, and what its servers need."""

from collections.abc import Iterator

import pytest

from tests.functional.compute.api import Compute
from tests.functional.compute.tenants import Furniture, admin, demo, furniture
from tests.functional.migration.nodes import Nodes
from tests.http_client import Http
from tests.processes import PASSWORD, ProcessCloud, wait_for

__all__ = ["admin", "demo", "furniture"]

FAST = """
[compute]
driver = "fake"
fake_vcpus = 1000
fake_ram_mib = 1000000
fake_disk_gb = 100000
evacuate_after_s = 5
fence_after_s = 4
fake_send_s = 8
shelved_offload_s = -1
"""


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCloud]:
    with ProcessCloud(tmp_path_factory.mktemp("migration"), compute=FAST) as cloud:
        for name in ("node2", "node3"):
            cloud.add_node(name)
        with Http(cloud.url) as http:
            http.login("admin", PASSWORD, "admin")
            compute = Compute(http)
            wait_for(
                lambda: len(compute.call("GET", "/os-hypervisors")["hypervisors"]) == 3, 30, "three nodes"
            )
        yield cloud


@pytest.fixture
def nodes(cloud: ProcessCloud, admin: Compute) -> Iterator[Nodes]:
    """All alive before the test, and on their way to be so after it."""
    found = Nodes(cloud)
    wait_for(lambda: all_up(admin), 60, "all nodes, of which the test before has killed some")
    yield found
    found.heal()


def all_up(admin: Compute) -> bool:
    services = admin.call("GET", "/os-services?binary=nova-compute")["services"]
    agents = admin.http.call("GET", "/network/v2.0/agents")["agents"]
    return all(service["state"] == "up" for service in services) and all(agent["alive"] for agent in agents)


class Operator(Compute):
    """Boots servers where it says."""

    def boot_on(self, node: str, **more: object) -> str:
        """The id of a new server, ACTIVE."""
        placed = {"availability_zone": f"nova:{node}", "networks": "none"}
        wish = self.wish(**placed, **more)
        id_ = str(self.call("POST", "/servers", {"server": wish}, version="2.37")["server"]["id"])
        self.settle(id_, "ACTIVE")
        return id_


@pytest.fixture
def operator(admin: Compute, furniture: Furniture) -> Iterator[Operator]:
    made = Operator(admin.http, furniture.image, furniture.network, furniture.flavor)
    yield made
    made.clean()
