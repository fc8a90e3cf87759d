"""The supervisor with real short-lived programs."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from fabric.ctl.place import Place
from fabric.ctl.process import Process
from fabric.ctl.program import Desk, Program, answers_tcp, answers_unix
from fabric.ctl.renewal import renewal
from fabric.ctl.supervisor import DELAYS_S, LIVED_WELL_S, LOG_BYTES, Backoff, Supervisor, rotate

T = TypeVar("T")
SLEEPER = Program("sleeper", ("sleep", "60"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "run").mkdir()
    (tmp_path / "log").mkdir()
    desk = Desk(tmp_path / "run", tmp_path / "log")
    yield desk
    for path in desk.run.glob("*.pid"):
        desk.stop(path.stem, 1)


@contextlib.asynccontextmanager
async def supervised(desk: Desk, *programs: Program) -> AsyncIterator[None]:
    task = asyncio.create_task(Supervisor(desk, list(programs)).run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def until(look: Callable[[], T | None], timeout_s: float = 20) -> T:
    async with asyncio.timeout(timeout_s):
        while not (found := look()):
            await asyncio.sleep(0.01)
    return found


def another(desk: Desk, earlier: Process) -> Callable[[], Process | None]:
    def look() -> Process | None:
        now = desk.find("sleeper")
        return now if now != earlier else None

    return look


async def test_killed_program_is_back_at_once(desk: Desk) -> None:
    async with supervised(desk, SLEEPER):
        first = await until(lambda: desk.find("sleeper"))
        first.send(signal.SIGKILL)
        second = await until(another(desk, first))
        assert second.alive()


async def test_end_of_the_supervisor_leaves_programs_and_the_next_adopts_them(desk: Desk) -> None:
    async with supervised(desk, SLEEPER):
        first = await until(lambda: desk.find("sleeper"))
    assert first.alive()
    async with supervised(desk, SLEEPER):
        await asyncio.sleep(0.1)
        assert desk.find("sleeper") == first
        first.send(signal.SIGKILL)
        await until(another(desk, first))


async def test_stranger_with_the_recorded_pid_is_left_alone(desk: Desk) -> None:
    myself = Process.of(os.getpid())
    assert myself is not None
    dataclasses.replace(myself, start_ticks=1).save(desk.pid_file("sleeper"))
    async with supervised(desk, SLEEPER):
        started = await until(lambda: desk.find("sleeper"))
    assert started.pid != myself.pid


async def test_program_starts_when_what_it_needs_is_there(desk: Desk, tmp_path: Path) -> None:
    needed = tmp_path / "needed"
    async with supervised(desk, dataclasses.replace(SLEEPER, needs=(needed.exists,))):
        await asyncio.sleep(0.2)
        assert desk.find("sleeper") is None
        needed.touch()
        await until(lambda: desk.find("sleeper"))


async def test_program_that_is_not_there_is_tried_again(desk: Desk, tmp_path: Path) -> None:
    program = tmp_path / "program"
    async with supervised(desk, Program("late", (str(program),))):
        await asyncio.sleep(0.1)
        program.write_text("#!/bin/sh\nexec sleep 60\n")
        program.chmod(0o755)
        await until(lambda: desk.find("late"))


async def test_who_supervises_goes_on_where_logs_and_certificates_are_not_as_they_should_be(
    desk: Desk, tmp_path: Path
) -> None:
    full = desk.log_file("full")
    full.touch()
    os.truncate(full, LOG_BYTES)
    full.with_name("full.log.2").touch()
    full.with_name("full.log.3").mkdir()  # where the other one is to go
    place = Place(tmp_path / "fabric.toml", tmp_path / "state", desk.logs, desk.run)
    place.keys.mkdir(parents=True)
    (place.keys / "none.pem").write_text("no certificate")
    renewing = asyncio.create_task(renewal(place))
    async with supervised(desk, SLEEPER):
        first = await until(lambda: desk.find("sleeper"))
        first.send(signal.SIGKILL)
        await until(another(desk, first))
    assert not renewing.done()
    renewing.cancel()


async def test_output_goes_to_the_log(desk: Desk) -> None:
    talker = Program(
        "talker", ("sh", "-c", "echo $WORD; echo problem >&2; exec sleep 60"), environment={"WORD": "hello"}
    )
    async with supervised(desk, talker):
        log = desk.log_file("talker")
        await until(lambda: log.exists() and log.read_text() == "hello\nproblem\n")


async def test_program_is_in_a_session_of_its_own(desk: Desk) -> None:
    async with supervised(desk, SLEEPER):
        process = await until(lambda: desk.find("sleeper"))
        assert os.getsid(process.pid) == process.pid


def test_first_restart_is_at_once_and_later_ones_wait_longer() -> None:
    backoff = Backoff()
    assert [backoff.delay_s(0.1) for _ in range(8)] == [*DELAYS_S, DELAYS_S[-1], DELAYS_S[-1]]
    assert backoff.delay_s(LIVED_WELL_S) == 0


def test_stop_says_how_it_went(desk: Desk) -> None:
    process = desk.start(SLEEPER)
    assert desk.stop("sleeper", 5) is True
    assert desk.stop("sleeper", 5) is None
    assert os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1]) == -signal.SIGTERM
    assert not desk.pid_file("sleeper").exists()


def test_full_log_is_rotated_and_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    with path.open("a") as writer:
        for text in ("one", "two", "three"):
            writer.write(text)
            writer.flush()
            rotate(path, 3, 2)
        writer.write("4")
    names = ("a.log", "a.log.1", "a.log.2")
    assert [(tmp_path / name).read_text() for name in names] == ["4", "three", "two"]
    assert not (tmp_path / "a.log.3").exists()


def test_listening_is_seen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert answers_tcp(address)()
    assert not answers_tcp(address)()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert not answers_unix(tmp_path / "socket")()
        listener.listen()
        assert answers_unix(tmp_path / "socket")()
    assert not answers_unix(tmp_path / "none")()
