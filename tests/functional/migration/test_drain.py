"""A node is emptied: each server goes as it can, and of one that stays it is told why."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.functional.compute.api import Compute
from tests.functional.migration.conftest import Operator
from tests.functional.migration.nodes import Nodes
from tests.functional.migration.test_migrations import host, live, migrations
from tests.processes import ROOT, ProcessCloud, wait_for


def fabricctl(cloud: ProcessCloud, *words: str) -> tuple[int, str]:
    """Its exit status, and what it says."""
    command = [sys.executable, "-m", "fabric.ctl", "--state-dir", str(cloud.directory), *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=90)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def bound(admin: Compute) -> Iterator[str]:
    """A flavor that only node1 serves."""
    aggregate = {"name": "only-one", "availability_zone": None}
    number = admin.call("POST", "/os-aggregates", {"aggregate": aggregate})["aggregate"]["id"]
    path = f"/os-aggregates/{number}/action"
    admin.call("POST", path, {"add_host": {"host": "node1"}})
    admin.call("POST", path, {"set_metadata": {"metadata": {"only": "one"}}})
    flavor = {"name": "bound", "ram": 64, "vcpus": 1, "disk": 1}
    id_ = str(admin.call("POST", "/flavors", {"flavor": flavor})["flavor"]["id"])
    specs = {"aggregate_instance_extra_specs:only": "one"}
    admin.call("POST", f"/flavors/{id_}/os-extra_specs", {"extra_specs": specs})
    yield id_
    admin.call("DELETE", f"/flavors/{id_}")
    admin.call("POST", path, {"remove_host": {"host": "node1"}})
    admin.call("DELETE", f"/os-aggregates/{number}")


@pytest.fixture
def enabled(cloud: ProcessCloud) -> Iterator[None]:
    yield
    assert fabricctl(cloud, "node", "enable", "node1") == (0, "")


@pytest.mark.usefixtures("enabled")
def test_each_server_goes_as_it_can_and_the_rest_is_told_of(
    cloud: ProcessCloud, operator: Operator, nodes: Nodes, bound: str
) -> None:
    states = {
        "ACTIVE": "",
        "PAUSED": "pause",
        "SHUTOFF": "os-stop",
        "SUSPENDED": "suspend",
        "SHELVED": "shelve",
    }
    servers = {status: operator.boot_on("node1", name=status) for status in states}
    for status, action in states.items():
        if action:
            operator.act(servers[status], action)
        operator.settle(servers[status], status)
    servers["bound"] = operator.boot_on("node1", name="bound", flavorRef=bound)
    servers["unsure"] = operator.boot_on("node1", name="unsure")
    operator.act(servers["unsure"], "migrate")
    operator.settle(servers["unsure"], "VERIFY_RESIZE")

    code, told = fabricctl(cloud, "node", "drain", "node1", "--timeout", "60")
    assert code == 1, told
    for status in ("ACTIVE", "PAUSED", "SHUTOFF"):
        id_ = servers[status]
        operator.settle(id_, status)
        assert host(operator, id_) != "node1"
        assert f"server {id_} ({status}) is on {host(operator, id_)}" in told
        nodes.settles_on(id_, host(operator, id_))
    assert migrations(operator, servers["SHUTOFF"]) == [("migration", "confirmed")]
    operator.settle(servers["SHELVED"], "SHELVED_OFFLOADED")
    assert nodes.holding(servers["SHELVED"]) == []
    assert f"server {servers['SHELVED']} (SHELVED) is SHELVED_OFFLOADED" in told
    assert f"server {servers['SUSPENDED']} (SUSPENDED) stays: it is SUSPENDED" in told
    assert f"server {servers['bound']} (bound) stays: its live migration failed: No valid host" in told
    assert (
        f"server {servers['unsure']} is on {host(operator, servers['unsure'])}, and its disk still here"
        in told
    )
    assert "node1 takes no new servers; it has 2" in told


def test_why_tells_of_a_migration_that_failed(cloud: ProcessCloud, operator: Operator, bound: str) -> None:
    id_ = operator.boot_on("node1", flavorRef=bound)
    operator.act(id_, "os-migrateLive", live(), version="2.25")
    wait_for(lambda: migrations(operator, id_) == [("live-migration", "error")], 30, "the refusal")
    found = operator.call("GET", f"/os-migrations?instance_uuid={id_}", version="2.59")["migrations"]
    told = fabricctl(cloud, "why", id_)[1]
    cause = "No valid host was found. AggregateInstanceExtraSpecs removed node2, node3"
    assert "live-migration by user" in told
    assert f"which ended with: {cause}" in told
    assert f"cause: {cause}" in fabricctl(cloud, "why", found[0]["uuid"])[1]
    action = operator.call("GET", f"/servers/{id_}/os-instance-actions")["instanceActions"][0]
    path = f"/servers/{id_}/os-instance-actions/{action['request_id']}"
    (event,) = operator.call("GET", path, version="2.84")["instanceAction"]["events"]
    assert (event["result"], event["details"]) == ("Error", action["message"])
