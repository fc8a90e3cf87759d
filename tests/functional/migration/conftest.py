"""A cloud of three fake nodes whose domains outlive their agents, and what its servers need."""

from collections.abc import Iterator

import pytest

from tests.functional.compute.api import Compute
from tests.functional.compute.conftest import Furniture, furnished
from tests.functional.migration.nodes import Nodes
from tests.http_client import Http
from tests.processes import DEMO_PASSWORD, PASSWORD, ProcessCloud, wait_for

_FAST = """
[compute]
driver = "fake"
fake_vcpus = 1000
fake_ram_mib = 1000000
fake_disk_gb = 100000
evacuate_after_s = 2.5
fence_after_s = 1.5
fake_send_s = 8
"""


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCloud]:
    with ProcessCloud(tmp_path_factory.mktemp("migration"), compute=_FAST) as cloud:
        for name in ("node2", "node3"):
            cloud.add_node(name)
        with Http(cloud.url) as http:
            http.login("admin", PASSWORD, "admin")
            admin = Compute(http)
            wait_for(lambda: len(admin.call("GET", "/os-hypervisors")["hypervisors"]) == 3, 30, "three nodes")
        yield cloud


@pytest.fixture
def nodes(cloud: ProcessCloud) -> Iterator[Nodes]:
    """All alive before and after the test."""
    found = Nodes(cloud)
    yield found
    found.heal()


@pytest.fixture
def admin(cloud: ProcessCloud) -> Iterator[Compute]:
    with Http(cloud.url) as http:
        http.login("admin", PASSWORD, "admin")
        yield Compute(http)


@pytest.fixture(scope="package")
def furniture(cloud: ProcessCloud) -> Furniture:
    return furnished(cloud)


@pytest.fixture
def demo(cloud: ProcessCloud, furniture: Furniture) -> Iterator[Compute]:
    with Http(cloud.url) as http:
        http.login("demo", DEMO_PASSWORD, "demo")
        compute = Compute(http, furniture.image, furniture.network, furniture.flavor)
        yield compute
        compute.clean()
