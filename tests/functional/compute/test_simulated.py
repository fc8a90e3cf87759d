"""Many nodes in one process: each lives and dies by itself, and servers spread over them."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.functional.compute.api import Compute
from tests.functional.compute.tenants import furnished
from tests.http_client import Http
from tests.processes import DEMO_PASSWORD, PASSWORD, ROOT, ProcessCloud, wait_for

SIMULATED = 4
NODES = SIMULATED + 1


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCloud]:
    with ProcessCloud(tmp_path_factory.mktemp("crowd")) as cloud:
        words = ["-m", "agents.simulated", "--config", str(cloud.config), "--nodes", str(SIMULATED)]
        with (cloud.logs / "simulated.log").open("wb") as log:
            process = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log, cwd=ROOT)
        try:
            yield cloud
        finally:
            process.terminate()
            process.wait(30)


def test_servers_that_are_made_at_once_spread_over_the_nodes(crowd: ProcessCloud) -> None:
    kinds = furnished(crowd)
    with Http(crowd.url) as http, Http(crowd.url) as operator:
        http.login("demo", DEMO_PASSWORD, "demo")
        operator.login("admin", PASSWORD, "admin")
        demo, admin = Compute(http, kinds.image, kinds.network, kinds.flavor), Compute(operator)

        def up() -> int:
            found = admin.call("GET", "/os-services?binary=nova-compute")["services"]
            return sum(service["state"] == "up" for service in found)

        wait_for(lambda: up() == NODES, 30, f"{NODES} nodes")
        demo.create(min_count=2 * NODES, max_count=2 * NODES)

        def hosts() -> list[str]:
            found = admin.call("GET", "/servers/detail?all_tenants=1&status=ACTIVE")["servers"]
            return [server["OS-EXT-SRV-ATTR:host"] for server in found]

        wait_for(lambda: len(hosts()) == 2 * NODES, 30, "all servers")
        assert {hosts().count(host) for host in hosts()} == {2}
        demo.clean()
