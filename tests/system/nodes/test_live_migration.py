"""A guest goes from node to node and keeps its connections; whoever is killed meanwhile, it runs once: claim C14."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fabric.ctl.bed import Lab, Shape
from tests.functional.migration.nodes import Watch
from tests.http_client import Refused
from tests.processes import wait_for
from tests.size import FULL
from tests.system.faults.tenant import Tenant
from tests.system.nodes.guest import Guest, silence_s

ORDER = ["accepted", "preparing", "running", "post-migrating", "completed", "cancelled", "error"]
BEFORE = ORDER[:2]
PHASES = ORDER[:4] if FULL else ["running"]
CLAIM_S = 10.0 if FULL else 40.0  # 10, on a machine that does nothing else
PAUSE_S = 5.0 if FULL else 20.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with TemporaryDirectory(prefix="fabric-lab-") as directory:
        lab = Lab(Path(directory) / "lab")
        try:
            lab.up(Shape(nodes=2, guest=True))
            yield lab
        finally:
            lab.down()


@pytest.fixture
def guest(lab: Lab, admin: Tenant) -> Guest:
    found = Guest(lab, admin)
    wait_for(found.answers, 60, "the guest to answer")
    return found


@pytest.mark.timeout(400)
def test_a_connection_outlives_the_way_there_and_back(guest: Guest) -> None:
    with guest.counting() as count, guest.pinged() as replies:
        for _ in range(2):
            target = guest.migrate()
            wait_for(lambda target=target: guest.arrived(target), 60, "the guest to arrive")  # type: ignore[misc]
            count.go_on()
            replies.go_on()
        told, alive = list(count.told), count.alive
    assert alive
    assert told == [str(number) for number in range(len(told))]
    print(f"silent for {silence_s(replies.told) * 1000:.0f} ms at most")
    assert silence_s(replies.told) < PAUSE_S


@pytest.mark.timeout(300)
def test_the_password_that_a_guest_has_left_goes_with_it(guest: Guest) -> None:
    url, path = "http://169.254.169.254/openstack/latest/password", f"/servers/{guest.id}/os-server-password"
    guest.run(f"curl -X POST -d secret {url}")
    assert guest.call("GET", path) == {"password": "secret"}
    target = guest.migrate()
    wait_for(lambda: guest.arrived(target), 60, "the guest to arrive")
    assert guest.run(f"curl {url}") == "secret"
    assert guest.call("GET", path) == {"password": "secret"}
    guest.call("DELETE", path)
    assert guest.call("GET", path) == {"password": ""}
    wait_for(lambda: guest.run(f"curl {url}") == "", 20, "the node to know")


@pytest.mark.timeout(300)
def test_a_guest_whose_migration_is_broken_off_stays_and_answers(guest: Guest) -> None:
    for _ in range(5):
        source, target = guest.node, guest.migrate()
        wait_for(lambda: guest.phase() not in BEFORE, 30, "the sending")
        with contextlib.suppress(Refused):  # it is too late
            guest.break_off()
        wait_for(lambda: is_settled(guest), 60, "one copy where the record says")
        if guest.phase() == "cancelled":
            assert guest.node == source
            assert guest.answers()
            return
        assert guest.node == target
    pytest.fail("it was always too late")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("victim", ["source", "target", "controller"])
def test_exactly_one_copy_runs_where_the_record_says(lab: Lab, guest: Guest, victim: str, phase: str) -> None:
    source = guest.node
    target = next(node for node in lab.shape.names if node != source)
    watch = Watch(lambda: len(guest.copies(target, source)))
    try:
        reached = comes_to(guest, phase)
        node, program = {"source": (source, "agent"), "target": (target, "agent")}.get(
            victim, ("node1", victim)
        )
        lab.kill_program(node, program)
        killed = time.monotonic()
        wait_for(lambda: is_settled(guest), 60, "one copy where the record says")
        took_s = time.monotonic() - killed
        print(f"{victim} killed in {reached}: {guest.phase()} after {took_s:.1f} s")
    finally:
        most = watch.most()
    assert most == 1
    assert took_s < CLAIM_S
    wait_for(guest.answers, 30, "the guest to answer")


def comes_to(guest: Guest, phase: str) -> str:
    """Begin a migration, again while an agent that was killed before is not back; the phase: this one or a later."""
    while True:
        guest.migrate()
        reached = ORDER[0]
        while ORDER.index(reached) < ORDER.index(phase):
            reached = guest.phase()
        if reached != "error":
            return reached
        wait_for(lambda: is_settled(guest), 60, "one copy where the record says")


def is_settled(guest: Guest) -> bool:
    try:
        node = guest.node
        return guest.arrived(node) and guest.copies("node1", "node2") == [node] == guest.holders()
    except (RuntimeError, OSError):  # the controller is not back yet
        return False
