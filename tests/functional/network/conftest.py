"""The fixtures of this folder."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.functional.etcd import EtcdProcess
from tests.functional.network.harness import Cloud, a_cloud


@pytest.fixture(scope="session")
def etcd_process() -> Iterator[EtcdProcess]:
    with EtcdProcess() as process:
        yield process


@pytest.fixture
async def cloud(etcd_process: EtcdProcess) -> AsyncIterator[Cloud]:
    async with a_cloud(etcd_process.endpoint) as made:
        yield made
