"""The whole of `fabricctl up`: to a guest that answers, and back to nothing."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.system.ctl.machine import Machine, processes_below


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with TemporaryDirectory(prefix="fabric-up-") as directory:
        machine = Machine(Path(directory) / "cloud")
        try:
            yield machine
        finally:
            machine.close()


@pytest.mark.timeout(600)
def test_up_ends_with_a_guest_that_answers_also_after_down_and_nothing_is_left_at_the_end(
    machine: Machine,
) -> None:
    done = machine.fabricctl("up", timeout_s=400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the first server" in done.stdout
    login = next(line for line in done.stdout.splitlines() if line.startswith("  ssh -i"))
    assert _hostname(machine, login) == "first"

    assert machine.fabricctl("down").returncode == 0
    assert processes_below(machine.directory) == []
    assert machine.links() == []

    assert machine.fabricctl("up", timeout_s=400).returncode == 0
    assert _hostname(machine, login) == "first"

    guests = _guests(machine)
    assert machine.fabricctl("restart").returncode == 0
    assert _guests(machine) == guests != []

    assert machine.fabricctl("down", "--wipe").returncode == 0
    assert processes_below(machine.directory) == []
    assert machine.links() == []
    assert not machine.directory.exists()


def _guests(machine: Machine) -> list[str]:
    """The process ids of its QEMUs."""
    return machine.run("pgrep", "-f", f"^[^ ]*/qemu-system-.*{machine.directory}/").stdout.split()


def _hostname(machine: Machine, login: str) -> str:
    """By ssh, as fabricctl says how; again until sshd is there."""
    options = [
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "ConnectionAttempts=60",
    ]
    ssh, *arguments = login.split()
    command = [ssh, *options, *arguments, "hostname"]
    done: subprocess.CompletedProcess[str] = machine.run(*command, timeout_s=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
