"""Nodes of a cloud that are cut off, lose power and come back."""

import time

from fabric.ctl.bed import Lab
from tests.processes import wait_for
from tests.size import FULL
from tests.system.faults.tenant import Tenant

DOWN_S = 5.0 if FULL else 20.0  # 5, on a machine that does nothing else


def up(tenant: Tenant) -> set[str]:
    """The nodes that can take servers."""
    services = tenant.http.call("GET", "/compute/v2.1/os-services?binary=nova-compute")["services"]
    return {service["host"] for service in services if service["state"] == "up"}


def test_all_nodes_are_up(lab: Lab, admin: Tenant) -> None:
    wait_for(lambda: up(admin) == {"node1", "node2", "node3"}, DOWN_S, "three nodes")


def test_node_that_is_cut_off_is_down_at_once_and_up_when_it_is_healed(lab: Lab, admin: Tenant) -> None:
    lab.cut("node3")
    cut = time.monotonic()
    wait_for(lambda: up(admin) == {"node1", "node2"}, DOWN_S, "node3 to be down")
    print(f"down after {time.monotonic() - cut:.1f} s")
    lab.heal("node3")
    healed = time.monotonic()
    wait_for(lambda: len(up(admin)) == 3, 30, "node3 to be up")
    print(f"up after {time.monotonic() - healed:.1f} s")


def test_node_without_power_is_down_and_comes_back_with_one_command(lab: Lab, admin: Tenant) -> None:
    lab.kill("node2")
    wait_for(lambda: up(admin) == {"node1", "node3"}, DOWN_S, "node2 to be down")
    lab.start("node2")
    wait_for(lambda: len(up(admin)) == 3, 30, "node2 to be up")
