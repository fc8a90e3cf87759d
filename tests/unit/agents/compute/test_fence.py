"""What ends with the node's lease."""

import os
import time
from pathlib import Path

from agents.compute.fence import Manifest, Paths, guard, is_due

BOOT = "boot-1"


def a_manifest(renewed: float, *servers: str) -> Manifest:
    return Manifest(BOOT, renewed, 5.0, list(servers))


def test_it_is_due_when_the_lease_is_too_old_and_the_machine_is_still_the_same() -> None:
    assert not is_due(a_manifest(100.0, "s"), BOOT, 104.0)
    assert is_due(a_manifest(100.0, "s"), BOOT, 106.0)
    assert not is_due(a_manifest(100.0, "s"), "boot-2", 106.0)


def test_the_guard_ends_what_is_written_down_and_tells_the_next_agent(tmp_path: Path) -> None:
    paths, runs = Paths(tmp_path), {"a", "b", "c"}
    paths.write(a_manifest(time.monotonic() - 6, "a", "b"))

    def end(server_id: str) -> bool:
        runs.remove(server_id)
        return True

    guard(paths, BOOT, end)
    assert runs == {"c"}
    assert paths.ended_servers() == {"a", "b"}


def test_the_guard_goes_when_nothing_is_left_to_guard(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.write(a_manifest(time.monotonic() - 6))
    guard(paths, BOOT, lambda _: os.abort())
    assert paths.ended_servers() == set()
