"""One lab with fake drivers for all tests here: three machines, each with an etcd, a controller and a gateway."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fabric.ctl.bed import Lab, Shape
from tests.system.nodes.conftest import admin, outside, there

__all__ = ["admin", "lab", "outside", "there"]
SHAPE = Shape(nodes=3, controls=3, compute_driver="fake", network_driver="fake")


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    with TemporaryDirectory(prefix="fabric-lab-") as directory:
        lab = Lab(Path(directory) / "lab")
        try:
            lab.up(SHAPE)
            yield lab
        finally:
            lab.down()
