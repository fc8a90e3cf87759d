"""One cloud with fake drivers for all tests of a file."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabric.ctl.cloud_state import cloud_state
from fabric.runtime.config import load
from tests.processes import DEMO_PASSWORD, ProcessCloud
from tests.size import size
from tests.system.faults.tenant import Tenant

PORT_LIMIT = size("FABRIC_QUOTA", 12, 50)
_UNLIMITED = """
[quota]
"network.port" = -1
"compute.instances" = -1
"compute.cores" = -1
"compute.ram" = -1
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCloud]:
    directory: Path = tmp_path_factory.mktemp("faults")
    with ProcessCloud(directory, extra=_UNLIMITED) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def admin(cloud: ProcessCloud) -> Iterator[Tenant]:
    """Has no limits, a network and an image."""
    tenant = Tenant(cloud.url)
    tenant.make_network()
    tenant.make_image()
    yield tenant
    tenant.http.close()


@pytest.fixture(scope="module")
def demo(cloud: ProcessCloud) -> Iterator[Tenant]:
    """May have PORT_LIMIT ports."""
    tenant = Tenant(cloud.url, "demo", DEMO_PASSWORD)
    tenant.make_network()
    asyncio.run(_limit(cloud, tenant.http.project_id))
    yield tenant
    tenant.http.close()


async def _limit(cloud: ProcessCloud, project: str) -> None:
    async with cloud_state(load(cloud.config)) as store, store.transaction() as txn:
        txn.set_limit(project, "network.port", PORT_LIMIT)
