"""What ends with the node's lease."""

import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from agents.fence import Fence, Guard, Manifest, Paths, is_due

BOOT = "boot-1"


def a_manifest(renewed: float, *held: str) -> Manifest:
    return Manifest(BOOT, renewed, silent_s=3.0, fence_after_s=5.0, held=list(held))


def test_it_is_due_when_the_lease_is_too_old_and_the_machine_is_still_the_same() -> None:
    assert not is_due(a_manifest(100.0, "s"), BOOT, 104.0, 0.0)
    assert is_due(a_manifest(100.0, "s"), BOOT, 106.0, 0.0)
    assert not is_due(a_manifest(100.0, "s"), "boot-2", 106.0, 0.0)


def test_it_is_not_due_as_long_as_etcd_is_gone_for_all() -> None:
    assert not is_due(a_manifest(100.0, "s"), BOOT, 400.0, 396.0)
    assert is_due(a_manifest(100.0, "s"), BOOT, 400.0, 394.0)


def test_the_guard_ends_what_is_written_down_and_tells_the_next_agent(tmp_path: Path) -> None:
    paths, runs = Paths(tmp_path), {"a", "b", "c"}
    paths.write(a_manifest(time.monotonic() - 6, "a", "b"))

    def end(ids: Collection[str]) -> set[str]:
        runs.difference_update(ids)
        paths.write(a_manifest(time.monotonic()))
        return set(ids)

    Guard(paths, BOOT, end).run()
    assert runs == {"c"}
    assert paths.ended_ids() == {"a", "b"}


def test_what_begins_after_the_guard_has_ended_it_ends_again_until_the_lease_is_renewed(
    tmp_path: Path,
) -> None:
    paths, runs, rounds = Paths(tmp_path), {"a"}, iter(range(3))
    paths.write(a_manifest(time.monotonic() - 6, "a"))

    def end(ids: Collection[str]) -> set[str]:
        ended = runs.intersection(ids)
        runs.difference_update(ids)
        match next(rounds):
            case 0:
                runs.add("a")  # whoever had begun to start it did not know yet
            case 2:
                paths.write(a_manifest(time.monotonic()))
        return ended

    Guard(paths, BOOT, end).run()
    assert runs == set()
    assert next(rounds, None) is None


def test_a_lease_that_is_renewed_while_the_panel_is_asked_is_not_too_old(tmp_path: Path) -> None:
    paths, ended = Paths(tmp_path), set[str]()
    paths.write(a_manifest(time.monotonic() - 6, "a"))

    class Slow:
        def silences_s(self, _: Iterable[str]) -> list[float | None]:
            paths.write(a_manifest(time.monotonic(), "a"))
            return []

        def close(self) -> None:
            paths.write(a_manifest(time.monotonic()))

    def end(ids: Collection[str]) -> set[str]:
        ended.update(ids)
        paths.write(a_manifest(time.monotonic()))
        return set(ids)

    Guard(paths, BOOT, end, lambda _: Slow()).run()
    assert ended == set()


def test_an_agent_that_lives_again_while_its_guard_ends_something_is_told_of_it(tmp_path: Path) -> None:
    paths, fence = Paths(tmp_path), Fence(tmp_path, a_manifest(0.0), ("fake", ""))
    paths.write(a_manifest(time.monotonic() - 6, "a"))

    def end(ids: Collection[str]) -> set[str]:
        fence.started("a")  # it was not yet ended when the agent looked
        paths.write(a_manifest(time.monotonic()))
        return set(ids)

    Guard(paths, BOOT, end).run()
    assert fence.was_ended("a")


def test_the_guard_goes_when_nothing_is_left_to_guard(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.write(a_manifest(time.monotonic() - 6))
    Guard(paths, BOOT, lambda _: os.abort()).run()
    assert paths.ended_ids() == set()
