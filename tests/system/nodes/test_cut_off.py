"""Claim C3 between nodes: they are cut off from the others at random while servers come and go."""

import os
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fabric.ctl.bed import Lab
from tests.processes import wait_for
from tests.size import FULL, size
from tests.system.faults.history import writes_without_a_life
from tests.system.faults.storm import SEED, complaints, within_target
from tests.system.faults.tenant import Churn, Servers, Tenant
from tests.system.nodes.conftest import There
from tests.system.nodes.probe import SHAPE, fabricctl, past, swept
from tests.system.nodes.test_lab import up

VICTIMS = size("FABRIC_NODES", 1, 10)  # each is cut off for itself
ROUNDS = size("FABRIC_FAULT_ROUNDS", 2, 100) // VICTIMS
CUT_S = float(os.environ.get("FABRIC_CUT_S") or (60 if FULL else 6))  # at most; the lease lasts for 3
SWEPT_S = 90.0  # what was half made when the node was cut off and is wanted no more goes after orphan_grace_s
CONVERGED_S = 15.0  # the claim says 5, on a machine that does nothing else


@pytest.fixture
def victims(lab: Lab, there: There, admin: Tenant) -> Iterator[list[str]]:
    """The nodes without a controller, as many as there are to be."""
    extra = [f"node{number}" for number in range(SHAPE.nodes + 1, SHAPE.controllers + VICTIMS + 1)]
    if extra:
        lab.up(replace(SHAPE, nodes=SHAPE.nodes + len(extra)))
    yield lab.shape.names[SHAPE.controllers :]
    forget_images(admin)  # their bytes are on one of the nodes
    for name in reversed(extra):
        lab.kill(name)
        wait_for(lambda name=name: name not in up(admin), 30, f"{name} to be down")  # type: ignore[misc]
        assert there(fabricctl, lab.directory / "node1", "node", "remove", name) == ""
        lab.forget(name)


def forget_images(admin: Tenant) -> None:
    def there_are() -> list[dict[str, str]]:
        found: list[dict[str, str]] = admin.http.call("GET", "/image/v2/images")["images"]
        return found

    for image in there_are():
        admin.http.call("DELETE", f"/image/v2/images/{image['id']}")
    wait_for(lambda: not there_are(), 30, "the images to be gone")


class Cuts(threading.Thread):
    """Cuts one node off, again and again."""

    def __init__(self, lab: Lab, admin: Tenant, node: str, seed: int) -> None:
        super().__init__()
        self._lab = lab
        self._admin = admin
        self._node = node
        self._chance = random.Random(seed)
        self.done = 0

    def run(self) -> None:
        with Tenant(self._admin.url, "admin", self._lab.config("node1").bootstrap.admin_password) as tenant:
            for _ in range(ROUNDS):
                time.sleep(self._chance.uniform(0.1, 1.5))
                self._lab.cut(self._node)
                time.sleep(CUT_S if FULL else self._chance.uniform(0.5, CUT_S))
                self._lab.heal(self._node)
                wait_for(lambda: self._node in up(tenant), 20, f"{self._node} to be up")
                self.done += 1


@pytest.mark.timeout(300 + 30 * VICTIMS + (int(CUT_S) + 20) * ROUNDS)
def test_node_that_is_cut_off_loses_no_command_and_does_none_twice(
    lab: Lab, there: There, admin: Tenant, victims: list[str]
) -> None:
    print(f"FABRIC_FAULT_SEED={SEED} FABRIC_FAULT_ROUNDS={ROUNDS * VICTIMS} FABRIC_CUT_S={CUT_S}")
    admin.make_network()
    admin.make_image()
    servers = Servers(admin)
    worker = Churn(admin, servers, SEED, most=8 * VICTIMS, pause_s=0.3)
    cuts = [Cuts(lab, admin, node, SEED * 100 + number) for number, node in enumerate(victims)]
    worker.start()
    try:
        for cut in cuts:
            cut.start()
        for cut in cuts:
            cut.join()
    finally:
        for node in victims:
            lab.heal(node)
        worker.end()
    assert [cut.done for cut in cuts] == [ROUNDS] * VICTIMS
    healed = time.monotonic()
    within_target(lambda: complaints(admin, servers, [worker]), CONVERGED_S)
    print(f"{len(worker.gone)} servers came and went; converged after {time.monotonic() - healed:.1f} s")
    assert worker.surprises == []
    for id_ in servers.all(admin.http):
        servers.delete(admin.http, id_)
    wait_for(lambda: not servers.all(admin.http), CONVERGED_S, "the servers to be gone")
    config = lab.config("node1")
    within_target(lambda: "\n".join(there(swept, config)), SWEPT_S)
    found = there(past, config)
    for node in victims:
        for kind in ("compute", "network"):
            assert list(writes_without_a_life(found, node, kind)) == []
