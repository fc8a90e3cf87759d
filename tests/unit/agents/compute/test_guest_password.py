"""What a guest leaves as its password: kept once, until it is thrown away."""

import asyncio

import pytest

from agents.compute.metadata import Metadata, documents
from fabric.compute import guest_password
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import Conflict, InvalidArgument, Unavailable
from tests.unit.agents.compute.agents import Bench
from tests.unit.agents.compute.wants import SERVER_ID, a_want

PATH = "/openstack/latest/password"


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    made.store.bind(SERVER_ID, a_want())
    await made.settle(SERVER_ID)
    return made


def metadata(bench: Bench) -> Metadata:
    return Metadata(documents(a_want()), SERVER_ID, bench.agent.passwords)


async def left(bench: Bench, password: bytes) -> None:
    leaving = asyncio.create_task(metadata(bench).leave(password))
    await asyncio.sleep(0)
    await bench.settle(SERVER_ID)
    await leaving


async def test_it_is_kept_once_also_by_the_agents_next_life(bench: Bench) -> None:
    assert metadata(bench).lookup(PATH) == b""
    await left(bench, b"secret")
    assert bench.status(SERVER_ID).guest_password == "secret"
    bench.restart()
    assert metadata(bench).lookup(PATH) == b"secret"
    with pytest.raises(Conflict):
        await metadata(bench).leave(b"other")
    want = a_want(power=pb.ServerSpec.POWER_STOPPED, generation=2)
    bench.store.bind(SERVER_ID, want)
    await bench.settle(SERVER_ID)
    assert bench.status(SERVER_ID).guest_password == "secret"


async def test_when_it_was_thrown_away_another_one_is_kept(bench: Bench) -> None:
    await left(bench, b"secret")
    want = a_want(generation=2)
    guest_password.clear(want.server)
    bench.store.bind(SERVER_ID, want)
    assert metadata(bench).lookup(PATH) == b""
    await left(bench, b"other")
    assert guest_password.left(want.server, bench.status(SERVER_ID)) == "other"


async def test_on_another_node_it_is_what_the_record_says(bench: Bench) -> None:
    want = a_want()
    want.server.guest_password = "secret"
    bench.store.bind(SERVER_ID, want)
    assert metadata(bench).lookup(PATH) == b"secret"
    with pytest.raises(Conflict):
        await metadata(bench).leave(b"other")


async def test_one_that_is_no_password_is_refused(bench: Bench) -> None:
    for body in (b"x" * 1021, b"\xff"):
        with pytest.raises(InvalidArgument):
            await metadata(bench).leave(body)


async def test_one_that_cannot_be_reported_is_not_kept(bench: Bench) -> None:
    bench.store.failure = Unavailable("etcd is away")
    leaving = asyncio.create_task(metadata(bench).leave(b"secret"))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await bench.settle(SERVER_ID)
    assert not leaving.done()
    await bench.settle(SERVER_ID)
    await leaving
    assert metadata(bench).lookup(PATH) == b"secret"


def test_it_has_its_place_in_the_versions_that_know_it(bench: Bench) -> None:
    told = metadata(bench)
    assert "password" in (told.lookup("/openstack/2013-10-17/") or [])
    assert told.lookup("/openstack/2012-08-10/password") is None
    assert not told.takes("/latest/meta-data")
