import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.network.lab import clean, own_namespace


@pytest.fixture(autouse=True)
def node_namespace(tmp_path: Path) -> Iterator[None]:
    """Each test is a node of its own; the host's network is not touched."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with own_namespace():
        yield
        clean(tmp_path)
