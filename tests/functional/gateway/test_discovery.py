"""Controllers that come and go while a gateway runs: nobody tells it but etcd."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from fabric.runtime.config import Config, Controller
from fabric.runtime.discovery import announce, follow
from fabric.runtime.errors import FabricError
from fabric.runtime.etcd import Etcd, KeyValue
from gateway.core.app import application
from gateway.core.upstream import Upstream
from gateway.network.api import API
from tests.functional.etcd import EtcdProcess
from tests.functional.gateway.harness import Client, Networks, Settings, controller

NETWORKS = "/network/v2.0/networks"


class Counting(Networks):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    async def ListNetworks(self, request, context):  # type: ignore[no-untyped-def]
        self.calls += 1
        return await super().ListNetworks(request, context)


@pytest.fixture
def etcd_process() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@asynccontextmanager
async def running(etcd: Etcd, networks: Networks) -> AsyncIterator[None]:
    """A controller that is known as long as it is there."""
    async with controller(networks) as port:
        config = replace(Config(), controller=Controller(listen=f"0.0.0.0:{port}"))
        announced = asyncio.create_task(announce(etcd, config))
        yield
        announced.cancel()
        await asyncio.wait({announced})


async def until_asked(client: Client, networks: Counting) -> None:
    """Calls, all of which must be answered, until one of them has come here."""
    before = networks.calls
    async with asyncio.timeout(30):
        while networks.calls == before:
            assert (await client("GET", NETWORKS)).status == 200


async def test_controllers_are_found_when_they_come_and_left_when_they_go(etcd_process: EtcdProcess) -> None:
    etcd = Etcd([etcd_process.endpoint])
    upstream = Upstream()
    client = Client(application([API], upstream, Settings()))
    following = asyncio.create_task(follow(etcd, upstream.use))
    waiting = asyncio.create_task(client("GET", NETWORKS))
    first, second, third = Counting(), Counting(), Counting()
    async with running(etcd, second):
        async with running(etcd, first):
            assert (await asyncio.wait_for(waiting, 30)).status == 200
            await until_asked(client, first)
            await until_asked(client, second)
        await until_asked(client, second)
    async with asyncio.timeout(30):
        while upstream.knows_any:
            await asyncio.sleep(0.01)
    async with running(etcd, third):
        await until_asked(client, third)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    await upstream.close()
    await etcd.close()


class Refuses(Etcd):
    """Whatever it is asked to list."""

    async def scan(self, prefix: str) -> tuple[list[KeyValue], int]:
        raise FabricError("etcd refused")


async def test_who_cannot_follow_any_more_does_not_wait_for_ever(etcd_process: EtcdProcess) -> None:
    etcd = Refuses([etcd_process.endpoint])
    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(follow(etcd, Upstream().use), 30)
    await etcd.close()
