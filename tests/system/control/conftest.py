"""One lab with fake drivers for all tests here: three machines, each with an etcd, a controller and a gateway."""

from collections.abc import Iterator

import pytest

from fabric.ctl.bed import Lab, Shape
from tests.system.nodes.conftest import admin, outside, running, there

__all__ = ["admin", "lab", "outside", "there"]
SHAPE = Shape(nodes=3, controls=3, compute_driver="fake", network_driver="fake")


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    yield from running(SHAPE)
