"""How long highly available servers are away when the node that they run on loses its power."""

import tempfile
import time
from pathlib import Path

from tests.functional.compute.api import Compute
from tests.functional.compute.tenants import furnished
from tests.functional.migration.nodes import PROCESSES, Nodes
from tests.http_client import Http
from tests.processes import PASSWORD, ProcessCloud, wait_for

SERVERS = 10


def measure() -> float:
    """Seconds from the power cut until the last of its servers runs elsewhere, as operators have it configured."""
    with (
        tempfile.TemporaryDirectory(prefix="fabric-bench-") as directory,
        ProcessCloud(Path(directory)) as cloud,
        Http(cloud.url) as http,
    ):
        for name in list(PROCESSES)[1:]:
            cloud.add_node(name)
        http.login("admin", PASSWORD, "admin")
        plain = furnished(cloud)
        admin = Compute(http, plain.image, plain.network, plain.flavor)
        wait_for(lambda: len(admin.call("GET", "/os-hypervisors")["hypervisors"]) == 3, 60, "three nodes")
        return _failover(admin, Nodes(cloud))


def _failover(admin: Compute, nodes: Nodes) -> float:
    asked = {"availability_zone": "nova:node2", "metadata": {"fabric:ha": "true"}}
    servers = [admin.create(**asked) for _ in range(SERVERS)]
    for id_ in servers:
        admin.settle(id_, "ACTIVE")
    nodes.power_off("node2")
    began = time.monotonic()
    wait_for(lambda: all(nodes.running(id_) for id_ in servers), 120, "all servers to run elsewhere")
    return time.monotonic() - began
