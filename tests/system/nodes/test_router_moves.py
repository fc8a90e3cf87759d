"""A router whose node dies answers from another one, at the same address."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fabric.ctl.bed import Lab, Shape
from tests.processes import wait_for
from tests.system.faults.tenant import Tenant

MOVED_S = 15.0  # alone it takes 4: the lease, and one second of patience


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with TemporaryDirectory(prefix="fabric-lab-") as directory:
        lab = Lab(Path(directory) / "lab")
        try:
            lab.up(Shape(nodes=3, controllers=1, compute_driver="fake", network_driver="linux"))
            yield lab
        finally:
            lab.down()


def answers(address: str) -> bool:
    ping = ["ping", "-c", "1", "-W", "1", address]
    return subprocess.run(ping, stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_a_gateway_answers_again_when_its_node_has_died(admin: Tenant, lab: Lab) -> None:
    def call(method: str, path: str, body: Any = None) -> Any:
        return admin.http.call(method, f"/network/v2.0{path}", body)

    def agent(node: str) -> str:
        found = call("GET", f"/agents?host={node}&agent_type=L3%20agent")["agents"]
        return str(found[0]["id"])

    def place() -> list[str]:
        return [found["host"] for found in call("GET", f"/routers/{router['id']}/l3-agents")["agents"]]

    (public,) = call("GET", "/networks?router:external=true")["networks"]
    info = {"external_gateway_info": {"network_id": public["id"]}}
    router = call("POST", "/routers", {"router": info})["router"]
    address = router["external_gateway_info"]["external_fixed_ips"][0]["ip_address"]
    call("POST", f"/agents/{agent('node2')}/l3-routers", {"router_id": router["id"]})
    wait_for(lambda: answers(address), 20, "the router on node2")
    assert place() == ["node2"]
    lab.kill("node2")
    killed = time.monotonic()
    wait_for(lambda: answers(address) and place() != ["node2"], MOVED_S, "the router elsewhere")
    print(f"answered elsewhere after {time.monotonic() - killed:.1f} s")
    lab.start("node2")
    assert call("GET", f"/routers/{router['id']}")["router"]["status"] == "ACTIVE"
