"""What is next about a shelved server, and what its node is told."""

from datetime import UTC, datetime, timedelta

import pytest

from fabric.compute import server as servers
from fabric.compute import shelf as rules
from fabric.compute.shelf import Step
from fabric.compute.v1.server_pb2 import ImageRef, Server, ServerSpec, ServerStatus, Shelf, Snapshot
from tests.unit.compute.test_server import a_server

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def shelved(
    phase: "Shelf.Phase.ValueType",
    state: "ServerStatus.State.ValueType" = ServerStatus.STATE_STOPPED,
    *,
    seen: int = 1,
) -> Server:
    server = a_server(state, seen=seen)
    server.spec.image.id, server.shelf.image.id = "base", "kept"
    server.shelf.phase = phase
    server.shelf.keep_time.FromDatetime(NOW)
    return server


@pytest.mark.parametrize(
    ("phase", "state", "seen", "step"),
    [
        (rules.STORING, ServerStatus.STATE_STOPPED, 1, Step.WAIT),
        (rules.KEPT, ServerStatus.STATE_STOPPED, 1, Step.OFFLOAD),
        (rules.LEAVING, ServerStatus.STATE_STOPPED, 1, Step.WAIT),
        (rules.AWAY, ServerStatus.STATE_UNSPECIFIED, 0, Step.WAIT),
        (rules.RETURNING, ServerStatus.STATE_BUILDING, 0, Step.WAIT),
        (rules.RETURNING, ServerStatus.STATE_ACTIVE, 1, Step.END),
        (rules.RETURNING, ServerStatus.STATE_ERROR, 1, Step.GIVE_UP),
        (rules.WAKING, ServerStatus.STATE_STOPPED, 0, Step.WAIT),
        (rules.WAKING, ServerStatus.STATE_ACTIVE, 1, Step.END),
    ],
)
def test_what_is_next(
    phase: "Shelf.Phase.ValueType", state: "ServerStatus.State.ValueType", seen: int, step: Step
) -> None:
    assert rules.next_step(shelved(phase, state, seen=seen), NOW, 0)[0] == step


def test_its_node_keeps_it_for_the_time_that_is_configured() -> None:
    server = shelved(rules.KEPT)
    assert rules.next_step(server, NOW, 10) == (Step.WAIT, timedelta(seconds=10))
    assert rules.next_step(server, NOW + timedelta(seconds=10), 10)[0] == Step.OFFLOAD
    assert rules.next_step(server, NOW + timedelta(days=9), -1) == (Step.WAIT, None)


def test_it_leaves_once_its_node_holds_nothing_of_it() -> None:
    server = shelved(rules.LEAVING)
    assert rules.told(server).meta.HasField("delete_time")
    server.status.released = True
    assert rules.next_step(server, NOW, 0)[0] == Step.LEAVE
    rules.leave(server)
    assert (server.node, rules.is_away(server)) == ("", True)


def test_it_runs_until_its_image_is_recorded_and_is_copied_once_it_is_off() -> None:
    server = shelved(rules.STORING, ServerStatus.STATE_ACTIVE)
    server.snapshot.image_id, server.snapshot.phase = "kept", Snapshot.PHASE_ACCEPTED
    assert rules.told(server).spec.power == ServerSpec.POWER_RUNNING
    server.snapshot.phase = Snapshot.PHASE_COPYING
    assert rules.told(server).spec.power == ServerSpec.POWER_STOPPED
    assert not rules.may_copy(server)
    server.status.state = ServerStatus.STATE_STOPPED
    assert rules.may_copy(server)


def test_it_comes_back_from_its_own_image_and_keeps_the_name_of_the_first() -> None:
    server = shelved(rules.AWAY)
    rules.bring_back(server, "req-2", "n2")
    assert (rules.told(server).spec.image.id, server.spec.image.id) == ("kept", "base")
    assert (rules.asked(server).spec.requested_node, server.whole_disk) == ("n2", True)


def test_one_whose_disks_are_kept_only_starts() -> None:
    server = shelved(rules.KEPT)
    rules.bring_back(server, "req-2", "")
    assert server.shelf.phase == rules.WAKING
    assert (rules.told(server).spec.image.id, server.whole_disk) == ("base", False)


@pytest.mark.parametrize(
    ("phase", "node", "words"),
    [
        (rules.STORING, "n1", ("ACTIVE", "active", "shelving")),
        (rules.KEPT, "n1", ("SHELVED", "shelved", "")),
        (rules.LEAVING, "n1", ("SHELVED", "shelved", "shelving_offloading")),
        (rules.AWAY, "", ("SHELVED_OFFLOADED", "shelved_offloaded", "")),
        (rules.RETURNING, "", ("SHELVED_OFFLOADED", "shelved_offloaded", "unshelving")),
        (rules.RETURNING, "n2", ("SHELVED_OFFLOADED", "shelved_offloaded", "spawning")),
        (rules.WAKING, "n1", ("SHELVED", "shelved", "powering-on")),
    ],
)
def test_it_says_how_it_stands(
    phase: "Shelf.Phase.ValueType", node: str, words: tuple[str, str, str]
) -> None:
    server = shelved(phase, ServerStatus.STATE_ACTIVE)
    server.node, server.spec.rebuild_generation = node, 1
    servers.derive(server)
    assert (server.view.status, server.view.vm_state, server.view.task_state) == words


def test_an_image_that_is_complete_makes_it_shelved_and_what_its_node_said_is_kept() -> None:
    server = shelved(rules.STORING)
    server.status.launch_time.FromSeconds(5)
    rules.keep(server, ImageRef(id="kept", size_bytes=7), NOW)
    server.ClearField("status")
    servers.derive(server)
    assert (server.shelf.phase, server.shelf.image.size_bytes) == (rules.KEPT, 7)
    assert server.view.launch_time.seconds == 5
