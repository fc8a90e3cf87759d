"""Claim C13: every program of each control machine starts anew, as for another release, and no call fails."""

from functools import partial

from fabric.ctl.bed import Lab
from tests.functional.gateway.test_rolling_restart import Work
from tests.processes import wait_for
from tests.size import size
from tests.system.control.test_control_machines import NAMES
from tests.system.faults.tenant import Servers, Tenant

PROGRAMS = ("etcd", "controller", "gateway", "agent", "supervisor")
ROUNDS = size("FABRIC_FAULT_ROUNDS", 1, 10)  # over all machines
CALLS = 10


def pids(lab: Lab, name: str) -> set[int]:
    return {lab.pid(name, program) for program in PROGRAMS}


def test_no_call_fails_and_servers_stay_while_one_machine_after_the_other_is_restarted(
    lab: Lab, admin: Tenant
) -> None:
    admin.make_network()
    admin.make_image()
    servers = Servers(admin)
    mine = [servers.create(admin.http, f"stays-{number}") for number in range(2)]
    wait_for(lambda: all(servers.all(admin.http)[id_]["status"] == "ACTIVE" for id_ in mine), 60, "servers")
    before = {id_: servers.all(admin.http)[id_] for id_ in mine}
    urls = [f"http://{lab.config(name).gateway.listen}" for name in NAMES]
    work = Work(urls, admin.http.token)
    work.start()
    try:
        for name in NAMES * ROUNDS:
            old = pids(lab, name)
            lab.fabricctl(name, "restart", "--etcd")
            assert not old & pids(lab, name)
            wait_for(partial(work.has_called, work.calls + CALLS), 60, "calls")
    finally:
        work.end()
    print(f"{work.calls} calls")
    assert work.failed == []
    assert {id_: servers.all(admin.http)[id_] for id_ in mine} == before
    for id_ in mine:
        servers.delete(admin.http, id_)
