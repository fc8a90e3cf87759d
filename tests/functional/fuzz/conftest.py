"""One cloud with fake drivers, furnished, for all tests of this folder."""

import asyncio
from collections.abc import Iterator

import pytest

from fabric.runtime.config import load
from tests.functional.fuzz.seeds import Owner, boot, furnish, rule, vital
from tests.functional.fuzz.world import Callers, Watcher
from tests.http_client import Http
from tests.processes import DEMO_PASSWORD, PASSWORD, ProcessCloud


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCloud]:
    with ProcessCloud(tmp_path_factory.mktemp("fuzz")) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def callers(cloud: ProcessCloud) -> Iterator[Callers]:
    with Http(cloud.url) as first, Http(cloud.url) as second, Http(cloud.url) as third:
        first.login("admin", PASSWORD, "admin")
        second.login("demo", DEMO_PASSWORD, "demo")
        third.login("demo", DEMO_PASSWORD, "demo")
        admin, demo = Owner("admin", first), Owner("demo", second)
        rule(admin)
        for owner in (admin, demo):
            furnish(owner)
            boot(owner, admin.own["flavors"][0])
        yield Callers(admin, demo, vital(admin, [demo]), third.token)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def watcher(cloud: ProcessCloud, loop: asyncio.Runner) -> Iterator[Watcher]:
    async def start() -> Watcher:
        return Watcher(load(cloud.config))

    watcher = loop.run(start())
    yield watcher
    loop.run(watcher.close())
