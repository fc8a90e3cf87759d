"""Three machines hold the cloud: the loss of any, also of the first, is not noticed, and it comes back by itself."""

from functools import partial

from fabric.ctl.bed import Lab
from fabric.runtime.etcd import endpoints
from tests.processes import wait_for
from tests.size import size
from tests.system.faults.tenant import Tenant
from tests.system.nodes.conftest import There
from tests.system.nodes.probe import members
from tests.system.nodes.test_controllers import Client, Load, known

ROUNDS = size("FABRIC_FAULT_ROUNDS", 1, 12)  # machines without power
NAMES = ("node1", "node2", "node3")
CALLS = 20


def test_no_idempotent_call_fails_while_control_machines_lose_power(
    lab: Lab, there: There, admin: Tenant
) -> None:
    assert there(members, lab.config("node2")) == set(NAMES)
    urls = {name: f"http://{lab.config(name).gateway.listen}" for name in NAMES}
    for victim in (NAMES * ROUNDS)[:ROUNDS]:
        others = [name for name in NAMES if name != victim]
        load = Load(Client([urls[name] for name in (victim, *others)], admin.http.token))
        load.start()
        try:
            wait_for(partial(load.has_called, CALLS), 30, "calls")
            lab.kill(victim)
            wait_for(partial(load.has_called, load.calls + CALLS), 60, "calls without it")
            wait_for(partial(known, lab, there, others[0], set(others)), 20, f"{victim} to be forgotten")
            lab.start(victim)
            wait_for(partial(known, lab, there, victim, set(NAMES)), 30, f"{victim} to be back")
        finally:
            load.end()
        assert load.failed == [], victim


def test_machine_knows_the_members_of_etcd_that_it_was_not_told_of(lab: Lab) -> None:
    """Which began when there was one."""
    told = lab.config("node1").etcd
    assert len(told.endpoints) == 1
    wait_for(lambda: len(endpoints(told)) == len(NAMES), 30, "all members to be remembered")
