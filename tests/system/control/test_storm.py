"""Claim C1 with three control machines: kill -9 of any process, also of members of etcd, at random instants."""

import random
import time

import pytest

from fabric.ctl.bed import Lab
from tests.size import size
from tests.system.control.test_control_machines import NAMES
from tests.system.faults.storm import SEED, complaints, within_target
from tests.system.faults.tenant import Churn, Servers, Tenant
from tests.system.nodes.conftest import There
from tests.system.nodes.probe import swept

ROUNDS = size("FABRIC_FAULT_ROUNDS", 6, 200)  # kills
PROGRAMS = ("etcd", "controller", "gateway", "agent")
SWEPT_S = 90.0  # what was half made and is wanted no more goes after orphan_grace_s


@pytest.mark.timeout(240 + 6 * ROUNDS)
def test_servers_reach_their_targets_whatever_is_killed_on_whichever_machine(
    lab: Lab, there: There, admin: Tenant
) -> None:
    print(f"FABRIC_FAULT_SEED={SEED} FABRIC_FAULT_ROUNDS={ROUNDS}")
    admin.make_network()
    admin.make_image()
    chance, servers = random.Random(SEED), Servers(admin)
    workers = [Churn(admin, servers, SEED * 10 + n, pause_s=0.2) for n in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(ROUNDS):
            time.sleep(chance.uniform(0.2, 2.0))
            lab.kill_program(chance.choice(NAMES), chance.choice(PROGRAMS))
    finally:
        for worker in workers:
            worker.end()
    within_target(lambda: complaints(admin, servers, workers))
    assert [surprise for worker in workers for surprise in worker.surprises] == []
    for id_ in servers.all(admin.http):
        servers.delete(admin.http, id_)
    within_target(lambda: str(list(servers.all(admin.http))).strip("[]"))
    within_target(lambda: "\n".join(there(swept, lab.config("node1"))), SWEPT_S)
    print(f"{sum(len(worker.gone) for worker in workers)} servers came and went")
