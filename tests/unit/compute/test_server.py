"""How a server stands, and what may be done with it."""

import pytest

from fabric.compute import server as rules
from fabric.compute.v1.server_pb2 import Server, ServerSpec, ServerStatus
from fabric.runtime.errors import FailedPrecondition


def a_server(
    state: "ServerStatus.State.ValueType" = ServerStatus.STATE_ACTIVE,
    power: "ServerSpec.Power.ValueType" = ServerSpec.POWER_RUNNING,
    *,
    asked: int = 1,
    seen: int = 1,
) -> Server:
    server = Server(node="n1")
    server.meta.id, server.meta.generation = "s1", max(asked, 1)
    server.spec.power, server.spec.power_generation = power, asked
    server.status.state, server.status.observed_generation = state, seen
    rules.derive(server)
    return server


def stands(server: Server) -> tuple[str, str]:
    rules.derive(server)
    return server.view.status, server.view.task_state


def test_a_new_server_is_scheduled_then_given_ports_then_spawned() -> None:
    server = Server()
    server.spec.networks.add(port_id="p1")
    assert stands(server) == ("BUILD", "scheduling")
    server.node = "n1"
    assert stands(server) == ("BUILD", "networking")
    server.nics.add(port_id="p1")
    assert stands(server) == ("BUILD", "spawning")
    server.status.state = ServerStatus.STATE_ACTIVE
    server.status.observed_generation = 1
    assert stands(server) == ("ACTIVE", "")


def test_a_server_changes_with_its_record_and_with_its_nodes_report() -> None:
    server = a_server()
    server.meta.update_time.FromNanoseconds(5_900_000_000)
    stands(server)
    assert (server.view.update_time.seconds, server.view.update_time.nanos) == (5, 0)
    server.status.observe_time.FromSeconds(7)
    stands(server)
    assert server.view.update_time.seconds == 7


def test_a_server_that_cannot_be_placed_is_in_error() -> None:
    server = Server()
    server.fault.message = "No valid host was found."
    assert stands(server) == ("ERROR", "")
    found = rules.fault(server)
    assert found is not None
    assert found.message == "No valid host was found."


@pytest.mark.parametrize(
    ("action", "state", "status", "task"),
    [
        ("stop", ServerStatus.STATE_ACTIVE, "ACTIVE", "powering-off"),
        ("start", ServerStatus.STATE_STOPPED, "SHUTOFF", "powering-on"),
        ("pause", ServerStatus.STATE_ACTIVE, "ACTIVE", "pausing"),
        ("unpause", ServerStatus.STATE_PAUSED, "PAUSED", "unpausing"),
        ("suspend", ServerStatus.STATE_ACTIVE, "ACTIVE", "suspending"),
        ("resume", ServerStatus.STATE_SUSPENDED, "SUSPENDED", "resuming"),
    ],
)
def test_an_action_shows_as_its_task_until_the_agent_has_seen_it(
    action: str, state: "ServerStatus.State.ValueType", status: str, task: str
) -> None:
    server = a_server(state)
    rules.change_power(server, action)
    server.meta.generation += 1
    assert stands(server) == (status, task)
    server.status.observed_generation = server.meta.generation
    assert stands(server) == (status, "")


@pytest.mark.parametrize("hard", [False, True])
def test_a_reboot_shows_until_it_is_done(hard: bool) -> None:
    server = a_server()
    rules.reboot(server, hard=hard)
    assert stands(server)[0] == ("HARD_REBOOT" if hard else "REBOOT")
    server.status.reboot_count = 1
    server.status.observed_generation = server.spec.power_generation
    assert stands(server) == ("ACTIVE", "")


def test_a_hard_reboot_starts_what_is_stopped() -> None:
    server = a_server(ServerStatus.STATE_STOPPED, ServerSpec.POWER_STOPPED)
    rules.reboot(server, hard=True)
    assert server.spec.power == ServerSpec.POWER_RUNNING


def test_a_guest_that_switched_itself_off_is_shut_off_and_at_rest() -> None:
    assert stands(a_server(ServerStatus.STATE_STOPPED)) == ("SHUTOFF", "")


@pytest.mark.parametrize(
    ("action", "state"),
    [
        ("start", ServerStatus.STATE_ACTIVE),
        ("stop", ServerStatus.STATE_STOPPED),
        ("pause", ServerStatus.STATE_PAUSED),
        ("resume", ServerStatus.STATE_ACTIVE),
        ("suspend", ServerStatus.STATE_STOPPED),
    ],
)
def test_what_does_not_fit_the_state_is_refused(action: str, state: "ServerStatus.State.ValueType") -> None:
    server = a_server(state)
    with pytest.raises(FailedPrecondition, match=f"Cannot '{action}' instance"):
        rules.change_power(server, action)


def test_nothing_but_a_hard_reboot_interrupts_a_task() -> None:
    server = a_server()
    rules.change_power(server, "pause")
    rules.derive(server)
    with pytest.raises(FailedPrecondition, match="task_state pausing"):
        rules.change_power(server, "stop")
    rules.reboot(server, hard=True)


def test_a_placed_server_takes_its_nodes_capacity() -> None:
    server = a_server()
    server.spec.flavor.vcpus, server.spec.flavor.ram_mib = 2, 512
    server.spec.flavor.swap_mib = 1
    server.spec.image.virtual_size_bytes = (1 << 30) + 1
    assert rules.charges(server) == {
        "compute.instances": 1,
        "compute.cores": 2,
        "compute.ram": 512,
        ("node:n1", "compute.vcpus"): 2,
        ("node:n1", "compute.ram_mib"): 512,
        ("node:n1", "compute.disk_gb"): 3,
    }


def test_a_rescued_server_says_what_it_boots_from() -> None:
    server = a_server()
    server.rescue.generation = 2
    assert (*stands(server), server.view.vm_state) == ("ACTIVE", "rescuing", "active")
    server.status.rescue_generation = 2
    assert (*stands(server), server.view.vm_state) == ("RESCUE", "", "rescued")
    rules.unrescue(server)
    assert (*stands(server), server.view.vm_state) == ("RESCUE", "unrescuing", "rescued")
    server.status.rescue_generation = 0
    server.status.observed_generation = server.spec.power_generation
    assert (*stands(server), server.view.vm_state) == ("ACTIVE", "", "active")
    with pytest.raises(FailedPrecondition):
        rules.unrescue(server)


def test_one_that_could_not_be_rescued_can_be_unrescued() -> None:
    server = a_server(ServerStatus.STATE_ERROR)
    server.rescue.generation = 2
    assert stands(server) == ("ERROR", "")
    rules.unrescue(server)
    assert not server.HasField("rescue")
