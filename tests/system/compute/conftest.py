"""A libvirtd for all tests of a file, a machine for each."""

import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agents.compute.libvirtd import PrivateLibvirtd
from agents.compute.settings import ComputeSettings
from guest.build import build
from tests.system.compute.machine import Machine


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("image") / "fabric-guest.qcow2"
    build(out)
    return out


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateLibvirtd]:
    if shutil.which("libvirtd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("no libvirtd here")
    daemon = PrivateLibvirtd(tmp_path_factory.mktemp("lv"))
    daemon.start()
    yield daemon
    daemon.wipe()


@pytest.fixture
async def machine(libvirtd: PrivateLibvirtd, image: Path, tmp_path: Path) -> AsyncIterator[Machine]:
    settings = ComputeSettings(
        connection_uri=libvirtd.uri,
        orphan_grace=timedelta(seconds=2),
        sweep_every=timedelta(seconds=1),
        stop_timeout=timedelta(seconds=60),
        soft_reboot_timeout=timedelta(seconds=60),
    )
    made = Machine(libvirtd, tmp_path, image, settings)
    made.start()
    yield made
    libvirtd.start()  # a test may have killed it
    await made.kill()
    await made.clean()
