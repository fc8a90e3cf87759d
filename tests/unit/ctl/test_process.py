"""Processes by pid and start time, with real ones."""

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabric.ctl.process import Process


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def process_of(child: subprocess.Popen[bytes]) -> Process:
    process = Process.of(child.pid)
    assert process is not None
    return process


def test_saved_process_is_found_again(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    process_of(sleeper).save(tmp_path / "pid")
    assert Process.load(tmp_path / "pid") == process_of(sleeper)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "12", '{"pid": 1}', '{"pid": 1, "start_ticks": 1, "boot": ""}']
)
def test_broken_pid_file_is_no_process(text: str, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(text)
    assert Process.load(tmp_path / "pid") is None


def test_process_with_a_reused_pid_is_another(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    earlier = dataclasses.replace(process_of(sleeper), start_ticks=1)
    earlier.save(tmp_path / "pid")
    assert Process.load(tmp_path / "pid") is None
    earlier.send(signal.SIGKILL)
    assert earlier.stop(0.1)
    assert sleeper.poll() is None


def test_process_of_an_earlier_boot_is_another(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(json.dumps(dataclasses.asdict(process_of(sleeper)) | {"boot": "before"}))
    assert Process.load(tmp_path / "pid") is None


def test_corpse_does_not_live(sleeper: subprocess.Popen[bytes]) -> None:
    process = process_of(sleeper)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive()


def test_stop_kills_what_does_not_listen() -> None:
    with subprocess.Popen(["sh", "-c", "trap '' TERM; echo; sleep 60"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert process_of(child).stop(0.2) is False
        assert child.wait(20) == -signal.SIGKILL


async def test_end_is_seen_at_once_also_of_a_stranger(tmp_path: Path) -> None:
    command = f"sleep 60 & echo $! > {tmp_path / 'pid'}"
    subprocess.run(["sh", "-c", command], check=True)
    stranger = Process.of(int((tmp_path / "pid").read_text()))
    assert stranger is not None
    waiting = asyncio.create_task(stranger.gone())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    stranger.send(signal.SIGKILL)
    await asyncio.wait_for(waiting, 30)


async def test_what_is_gone_is_gone() -> None:
    with subprocess.Popen(["true"]) as child:
        process = Process(child.pid, 1, "another boot")
    await asyncio.wait_for(process.gone(), 30)
    assert process.rss_bytes() == 0
