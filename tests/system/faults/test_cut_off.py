"""Claim C3 with the fake drivers: an agent that stands still for longer than its lease lasts."""

import asyncio
import random
import signal
import time

import pytest

from fabric.runtime.config import load
from tests.processes import ProcessCloud, wait_for
from tests.size import FULL
from tests.system.faults.history import history, writes_without_a_life
from tests.system.faults.storm import ROUNDS, SEED, clean, complaints, within_target
from tests.system.faults.tenant import Churn, Servers, Tenant

DOWN_S = 5.0 if FULL else 20.0  # 5, on a machine that does nothing else
NODE, KINDS = "node1", ("compute", "network", "image")


def is_up(tenant: Tenant) -> bool:
    services = tenant.http.call("GET", "/compute/v2.1/os-services?binary=nova-compute")["services"]
    return [service["state"] for service in services] == ["up"]


def is_alive(tenant: Tenant) -> bool:
    return all(agent["alive"] for agent in tenant.http.call("GET", "/network/v2.0/agents")["agents"])


def test_node_of_a_silent_agent_is_down_at_once_and_work_waits_for_it(
    cloud: ProcessCloud, admin: Tenant
) -> None:
    servers = Servers(admin)
    old = [servers.create(admin.http, f"old-{n}") for n in range(3)]
    within_target(lambda: complaints(admin, servers, []))
    assert is_up(admin)
    assert is_alive(admin)
    cloud.signal("agent", signal.SIGSTOP)
    wait_for(lambda: not is_up(admin) and not is_alive(admin), DOWN_S, "the node to be down")
    new = servers.create(admin.http, "new")
    servers.delete(admin.http, old[0])
    time.sleep(1)
    assert servers.all(admin.http)[new]["status"] == "BUILD"
    cloud.signal("agent", signal.SIGCONT)
    wait_for(lambda: is_up(admin) and is_alive(admin), DOWN_S, "the node to be up")
    within_target(lambda: complaints(admin, servers, []))
    assert set(servers.all(admin.http)) == {*old[1:], new}
    assert asyncio.run(clean(cloud)) == []


@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_agent_writes_nothing_after_its_lease_and_loses_no_command(
    cloud: ProcessCloud, admin: Tenant
) -> None:
    print(f"FABRIC_FAULT_SEED={SEED} FABRIC_FAULT_ROUNDS={ROUNDS}")
    chance, servers = random.Random(SEED), Servers(admin)
    worker = Churn(admin, servers, SEED)
    worker.start()
    try:
        for _ in range(max(1, ROUNDS // 4)):
            time.sleep(chance.uniform(0.1, 1.5))
            cloud.signal("agent", signal.SIGSTOP)
            time.sleep(chance.uniform(0.5, 6))  # the lease lasts for 3
            cloud.signal("agent", signal.SIGCONT)
    finally:
        worker.end()
    within_target(lambda: complaints(admin, servers, [worker]))
    assert worker.surprises == []
    assert asyncio.run(clean(cloud)) == []
    past = asyncio.run(history(load(cloud.config)))
    for kind in KINDS:
        assert list(writes_without_a_life(past, NODE, kind)) == []
