"""Claim C3 between nodes: one is cut off from the others at random while servers come and go."""

import os
import random
import time

import pytest

from fabric.ctl.bed import Lab
from tests.processes import wait_for
from tests.system.faults.history import writes_without_a_life
from tests.system.faults.storm import SEED, complaints, within_target
from tests.system.faults.tenant import Churn, Servers, Tenant
from tests.system.nodes.conftest import There
from tests.system.nodes.probe import past, swept
from tests.system.nodes.test_lab import up

ROUNDS = int(os.environ.get("FABRIC_FAULT_ROUNDS", "2"))  # CLAIMS.md's size: 100
LONGEST_S = float(os.environ.get("FABRIC_CUT_S", "6"))  # 60; the lease lasts for 3
SWEPT_S = 90.0  # what was half made when the node was cut off and is wanted no more goes after orphan_grace_s
CONVERGED_S = 15.0  # the claim says 5, on a machine that does nothing else


@pytest.mark.timeout(180 + 80 * ROUNDS)
def test_node_that_is_cut_off_loses_no_command_and_does_none_twice(
    lab: Lab, there: There, admin: Tenant
) -> None:
    print(f"FABRIC_FAULT_SEED={SEED} FABRIC_FAULT_ROUNDS={ROUNDS} FABRIC_CUT_S={LONGEST_S}")
    admin.make_network()
    admin.make_image()
    chance, servers = random.Random(SEED), Servers(admin)
    worker = Churn(admin, servers, SEED, pause_s=0.3)
    worker.start()
    try:
        for _ in range(ROUNDS):
            time.sleep(chance.uniform(0.1, 1.5))
            lab.cut("node3")
            time.sleep(chance.uniform(0.5, LONGEST_S))
            lab.heal("node3")
            wait_for(lambda: len(up(admin)) == 3, 10, "node3 to be up")
    finally:
        lab.heal("node3")
        worker.end()
    within_target(lambda: complaints(admin, servers, [worker]), CONVERGED_S)
    assert worker.surprises == []
    for id_ in servers.all(admin.http):
        servers.delete(admin.http, id_)
    wait_for(lambda: not servers.all(admin.http), CONVERGED_S, "the servers to be gone")
    config = lab.config("node1")
    within_target(lambda: "\n".join(there(swept, config)), SWEPT_S)
    found = there(past, config)
    for kind in ("compute", "network"):
        assert list(writes_without_a_life(found, "node3", kind)) == []
