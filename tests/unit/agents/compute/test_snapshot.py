"""The agent's part in a snapshot: copy, send, tidy up, whatever is forgotten between."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from agents.compute.driver import HypervisorRefused
from agents.compute.fake import FakeDriver
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import Exhausted, Unavailable
from tests.unit.agents.compute.agents import Bench
from tests.unit.agents.compute.wants import SERVER_ID, a_want

Seen = pb.SnapshotStatus


class Images:
    """An image agent that takes what it is sent, or says what is wrong."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.taken = list(errors), b""

    async def __call__(self, snapshot: pb.SnapshotWant, size: int, pieces: AsyncIterator[bytes]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.taken = b"".join([piece async for piece in pieces])
        assert len(self.taken) == size


class RefusesCopies:
    """A driver that has no room for copies."""

    def __init__(self, driver: FakeDriver) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        if name == "ensure_copy":
            return self._refuse
        return getattr(self._driver, name)

    async def _refuse(self, *_: str) -> None:
        raise HypervisorRefused("no such job")


def wanted(upload_id: str = "") -> pb.ServerWant:
    want = a_want()
    want.snapshot.image_id, want.snapshot.upload_id = "image-2", upload_id
    return want


async def told(bench: Bench, want: pb.ServerWant, state: "Seen.State.ValueType") -> pb.SnapshotStatus:
    bench.store.bind(SERVER_ID, want)
    for _ in range(20):
        await bench.settle(SERVER_ID)
        if bench.status(SERVER_ID).snapshot.state == state:
            return bench.status(SERVER_ID).snapshot
        await asyncio.sleep(0)  # what it has begun beside
    raise AssertionError(bench.status(SERVER_ID))


@pytest.mark.parametrize("restart", [Bench.restart, lambda bench: None])
async def test_a_disk_is_copied_sent_and_forgotten(restart: Callable[[Bench], None]) -> None:
    images = Images()
    bench = Bench(send_copy=images)
    await told(bench, a_want(), Seen.STATE_UNSPECIFIED)
    await told(bench, wanted(), Seen.STATE_COPIED)
    restart(bench)
    assert (await told(bench, wanted("up-1"), Seen.STATE_SENT)).upload_id == "up-1"
    assert images.taken.startswith(b"QFI\xfb")
    restart(bench)
    await told(bench, a_want(), Seen.STATE_UNSPECIFIED)
    assert bench.fake.domains[SERVER_ID].found.copies == ()


@pytest.mark.parametrize("error", [Unavailable("gone"), OSError("gone")])
async def test_an_upload_that_breaks_is_told_and_another_one_begun(error: Exception) -> None:
    bench = Bench(send_copy=Images(error))
    assert (await told(bench, wanted("up-1"), Seen.STATE_BROKEN)).message == "gone"
    await told(bench, wanted("up-2"), Seen.STATE_SENT)


async def test_what_the_image_agent_refuses_has_failed() -> None:
    bench = Bench(send_copy=Images(Exhausted("too large")))
    assert (await told(bench, wanted("up-1"), Seen.STATE_FAILED)).message == "too large"


async def test_a_disk_that_cannot_be_copied_has_failed_and_the_server_goes_on() -> None:
    fake = FakeDriver()
    bench = Bench(fake=fake, driver=RefusesCopies(fake))
    assert (await told(bench, wanted(), Seen.STATE_FAILED)).message == "no such job"
    assert bench.status(SERVER_ID).state == pb.ServerStatus.STATE_ACTIVE
