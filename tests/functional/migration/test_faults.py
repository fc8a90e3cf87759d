"""Whoever is killed while a server migrates live: it runs once, and where the cloud says."""

import pytest

from tests.functional.compute.api import Compute
from tests.functional.migration.nodes import PROCESSES, Nodes
from tests.functional.migration.test_migrations import host, live, migrations
from tests.processes import wait_for
from tests.size import FULL

PHASES = ["accepted", "running", "post-migrating"] if FULL else ["running"]
OVER = {"completed", "error"}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("victim", ["source", "target", "controller"])
def test_exactly_one_copy_runs_where_the_record_says(
    admin: Compute, demo: Compute, nodes: Nodes, victim: str, phase: str
) -> None:
    id_ = demo.boot()
    source = host(admin, id_)
    target = next(node for node in PROCESSES if node != source)
    process = {"source": PROCESSES[source], "target": PROCESSES[target]}.get(victim, victim)
    watch = nodes.watch(id_)
    try:
        admin.act(id_, "os-migrateLive", live(target), version="2.25")
        wait_for(lambda: reached(admin, id_, phase), 10, phase)
        nodes.cloud.restart(process)
        wait_for(lambda: settled(admin, nodes, id_), 30, "one copy where the record says")
    finally:
        most = watch.most()
    assert most == 1
    admin.settle(id_, "ACTIVE")


def reached(admin: Compute, id_: str, phase: str) -> bool:
    """Whether the migration is in the phase, or further."""
    order = ["accepted", "preparing", "running", "post-migrating", "completed", "error"]
    return order.index(migrations(admin, id_)[0][1]) >= order.index(phase)


def settled(admin: Compute, nodes: Nodes, id_: str) -> bool:
    try:
        over = migrations(admin, id_)[0][1] in OVER
        return over and nodes.running(id_) == [host(admin, id_)] == nodes.holding(id_)
    except RuntimeError:  # the controller is not back yet
        return False
