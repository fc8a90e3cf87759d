from dataclasses import replace

import pytest

from agents.compute.driver import (
    NO_DOMAIN,
    PAUSED,
    RUNNING,
    STOPPED,
    SUSPENDED,
    Found,
    FoundNic,
    Marks,
    Power,
)
from agents.compute.step import Around, Step, next_step, observed
from fabric.compute.v1 import server_pb2 as pb
from tests.unit.agents.compute.wants import PORT_ID, a_nic, a_want

BOOT = "boot-1"
REACHED = Marks(generation=1, boot_id=BOOT)
NIC = a_nic()
FOUND_NIC = FoundNic(PORT_ID, NIC.mac_address, NIC.tap)
HERE = Around(boot_id=BOOT, taps=frozenset([NIC.tap]))


def found(power: Power, **changes: object) -> Found:
    return replace(Found(power=power, marks=REACHED), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "around", "step"),
    [
        (None, replace(HERE, image_ready=False), Step.FETCH),
        (None, HERE, Step.MAKE_DISK),
        (found(NO_DOMAIN, has_disk=False), HERE, Step.MAKE_DISK),
        (found(NO_DOMAIN), HERE, Step.DEFINE),
        (found(STOPPED, marks=Marks()), HERE, Step.START),
        (found(STOPPED, marks=Marks()), replace(HERE, taps=frozenset()), Step.WAIT_FOR_TAPS),
        (found(RUNNING, nics=(FOUND_NIC,), marks=Marks()), HERE, Step.MARK),
        (found(RUNNING, nics=(FOUND_NIC,)), HERE, Step.SETTLE),
        (found(RUNNING), HERE, Step.PLUG),
        (found(RUNNING), replace(HERE, taps=frozenset()), Step.WAIT_FOR_TAPS),
        (found(RUNNING, nics=(FOUND_NIC, FoundNic("p2", "m2", "tap2"))), HERE, Step.UNPLUG),
        (found(PAUSED, nics=(FOUND_NIC,)), HERE, Step.RESUME),
        (found(SUSPENDED, nics=(FOUND_NIC,)), HERE, Step.START),
    ],
)
def test_on_the_way_to_running(seen: Found | None, around: Around, step: Step) -> None:
    assert next_step(a_want(nics=(NIC,)), seen, around) == step


@pytest.mark.parametrize(
    ("power", "seen", "step"),
    [
        (STOPPED, RUNNING, Step.PRESS_BUTTON),
        (STOPPED, PAUSED, Step.STOP),
        (STOPPED, SUSPENDED, Step.STOP),
        (STOPPED, STOPPED, Step.MARK),
        (PAUSED, RUNNING, Step.PAUSE),
        (PAUSED, STOPPED, Step.START),
        (PAUSED, SUSPENDED, Step.START),
        (PAUSED, PAUSED, Step.MARK),
        (SUSPENDED, RUNNING, Step.SUSPEND),
        (SUSPENDED, PAUSED, Step.SUSPEND),
        (SUSPENDED, STOPPED, Step.START),
        (SUSPENDED, SUSPENDED, Step.MARK),
        (RUNNING, STOPPED, Step.START),
        (RUNNING, PAUSED, Step.RESUME),
    ],
)
def test_power_after_a_new_intent(power: Power, seen: Power, step: Step) -> None:
    assert next_step(a_want(power=power, generation=2), found(seen), HERE) == step


def test_a_guest_that_does_not_power_off_in_time_is_stopped() -> None:
    want = a_want(power=STOPPED, generation=2)
    assert next_step(want, found(RUNNING), replace(HERE, patience_over=True)) == Step.STOP


def test_a_guest_that_went_off_by_itself_is_left_off() -> None:
    assert next_step(a_want(), found(STOPPED), HERE) == Step.SETTLE


def test_a_guest_that_we_asked_to_go_off_is_started_when_the_intent_changed_back() -> None:
    assert next_step(a_want(), found(STOPPED), replace(HERE, button_pressed=True)) == Step.START


def test_what_went_down_with_the_node_is_started_again() -> None:
    assert next_step(a_want(), found(STOPPED), replace(HERE, boot_id="boot-2")) == Step.START


def test_what_the_hypervisor_is_about_to_change_is_waited_for() -> None:
    assert next_step(a_want(generation=2), found(RUNNING, in_between=True), HERE) == Step.WAIT


def test_only_a_new_power_intent_overrules_the_guest() -> None:
    want = a_want(generation=5)
    want.server.spec.power_generation = 1
    assert next_step(want, found(STOPPED), HERE) == Step.SETTLE
    want.server.spec.power_generation = 5
    assert next_step(want, found(STOPPED), HERE) == Step.START


@pytest.mark.parametrize(
    ("hard", "seen", "step"),
    [
        (False, RUNNING, Step.PRESS_BUTTON),
        (True, RUNNING, Step.STOP),
        (False, PAUSED, Step.STOP),
        (False, SUSPENDED, Step.STOP),
        (False, STOPPED, Step.START),
    ],
)
def test_a_reboot_goes_through_off(hard: bool, seen: Power, step: Step) -> None:
    want = a_want(generation=2)
    want.server.spec.reboot_count = 1
    want.server.spec.reboot_hard = hard
    assert next_step(want, found(seen), HERE) == step


def test_a_reboot_of_what_shall_be_off_is_only_noted() -> None:
    want = a_want(power=STOPPED, generation=2)
    want.server.spec.reboot_count = 1
    assert next_step(want, found(STOPPED), HERE) == Step.MARK


def test_nics_of_a_stopped_domain_change_in_its_definition() -> None:
    want = a_want(power=STOPPED, nics=(NIC,))
    assert next_step(want, found(STOPPED), HERE) == Step.DEFINE


def test_a_port_with_another_mac_is_another_nic() -> None:
    old = replace(FOUND_NIC, mac_address="fa:16:3e:ff:ff:ff")
    assert next_step(a_want(nics=(NIC,)), found(RUNNING, nics=(old,)), HERE) == Step.PLUG


@pytest.mark.parametrize("seen", [NO_DOMAIN, RUNNING, STOPPED, PAUSED, SUSPENDED])
def test_marked_for_deletion_it_is_removed_from_any_state(seen: Power) -> None:
    want = a_want()
    want.server.meta.delete_time.GetCurrentTime()
    assert next_step(want, found(seen), HERE) == Step.REMOVE
    assert next_step(want, None, HERE) == Step.FORGET


def test_a_status_is_settled_only_for_the_generation_that_was_reached() -> None:
    want = a_want(generation=4)
    assert observed(want.server, found(RUNNING), settled=True).observed_generation == 4
    assert observed(want.server, found(RUNNING), settled=False).observed_generation == 0
    assert observed(want.server, None, settled=False).state == pb.ServerStatus.STATE_BUILDING


@pytest.mark.parametrize(
    ("seen", "around", "step"),
    [
        (found(RUNNING), replace(HERE, image_ready=False), Step.FETCH),
        (found(RUNNING), HERE, Step.STOP),
        (found(SUSPENDED), HERE, Step.STOP),
        (found(STOPPED), HERE, Step.MAKE_DISK),
        (found(STOPPED, has_disk=False), HERE, Step.MAKE_DISK),
        (found(STOPPED, build=2), HERE, Step.START),
        (found(RUNNING, build=2), HERE, Step.MARK),
    ],
)
def test_a_rebuild_runs_on_the_old_disk_until_the_new_image_is_here(
    seen: Found, around: Around, step: Step
) -> None:
    want = a_want(generation=2)
    want.server.spec.rebuild_generation = want.server.spec.power_generation = 2
    assert next_step(want, seen, around) == step


RESCUED = replace(REACHED, generation=2, rescue=2)


@pytest.mark.parametrize(
    ("seen", "around", "step"),
    [
        (found(RUNNING), replace(HERE, rescue_image_ready=False), Step.FETCH_RESCUE),
        (found(RUNNING), HERE, Step.PRESS_BUTTON),
        (found(RUNNING), replace(HERE, patience_over=True), Step.STOP),
        (found(STOPPED), HERE, Step.MAKE_RESCUE_DISK),
        (found(NO_DOMAIN), HERE, Step.MAKE_RESCUE_DISK),
        (found(STOPPED, rescue=2), HERE, Step.DEFINE),
        (found(STOPPED, rescue=2, marks=replace(REACHED, rescue=2)), HERE, Step.START),
        (found(RUNNING, rescue=2, marks=RESCUED), HERE, Step.SETTLE),
        (found(RUNNING, rescue=1, marks=replace(REACHED, rescue=1)), HERE, Step.PRESS_BUTTON),
    ],
)
def test_on_the_way_to_a_rescue(seen: Found, around: Around, step: Step) -> None:
    want = a_want(generation=2)
    want.server.rescue.generation = 2
    assert next_step(want, seen, around) == step


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (found(RUNNING, rescue=1, marks=replace(REACHED, rescue=1)), Step.PRESS_BUTTON),
        (found(STOPPED, rescue=1, marks=replace(REACHED, rescue=1)), Step.DEFINE),
        (found(RUNNING, rescue=1), Step.CLEAN),
        (found(RUNNING), Step.SETTLE),
    ],
)
def test_on_the_way_from_a_rescue(seen: Found, step: Step) -> None:
    assert next_step(a_want(), seen, HERE) == step
