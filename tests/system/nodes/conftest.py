"""One lab with fake drivers for all tests of a file: three nodes, two of which have a controller and a gateway."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fabric.ctl.bed import OUTSIDE, Lab, Shape
from tests.system.faults.namespace import entered
from tests.system.faults.tenant import Tenant

SHAPE = Shape(nodes=3, controllers=2, compute_driver="fake", network_driver="fake")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with TemporaryDirectory(prefix="fabric-lab-") as directory:
        lab = Lab(Path(directory) / "lab")
        try:
            lab.up(SHAPE)
            yield lab
        finally:
            lab.down()


@pytest.fixture(autouse=True)
def outside(lab: Lab) -> Iterator[None]:
    """Tests are clients: they reach what is reached from outside."""
    process = lab.machine(OUTSIDE).process
    assert process is not None
    with entered(process.pid):
        yield


@pytest.fixture
def admin(lab: Lab, outside: None) -> Iterator[Tenant]:
    boot = lab.config("node1").bootstrap
    with Tenant(boot.public_url, "admin", boot.admin_password) as tenant:
        yield tenant
