"""One lab with fake drivers for all tests here: three nodes, two of which have a controller and a gateway.

A test leaves them as they were: on and healed.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from fabric.ctl.bed import OUTSIDE, Lab, Shape
from tests.system.faults.namespace import entered
from tests.system.faults.tenant import Tenant
from tests.system.nodes.probe import SHAPE

There = Callable[..., Any]


def running(shape: Shape) -> Iterator[Lab]:
    """A lab in a directory of its own, and nothing of it afterwards."""
    with TemporaryDirectory(prefix="fabric-lab-") as directory:
        lab = Lab(Path(directory) / "lab")
        try:
            lab.up(shape)
            yield lab
        finally:
            lab.down()


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    yield from running(SHAPE)


@pytest.fixture(scope="package")
def there(lab: Lab) -> Iterator[There]:
    """Calls a function in a process outside: gRPC's threads stay in the network in which they began."""
    process = lab.machine(OUTSIDE).process
    assert process is not None
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        with entered(process.pid):
            pool.submit(int).result()  # it begins here
        yield lambda function, *arguments: pool.submit(function, *arguments).result()


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
