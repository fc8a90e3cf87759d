"""One cloud with fake drivers for all tests of this folder, and what its servers need."""

from collections.abc import Iterator

import pytest

from tests.functional.compute.tenants import admin, demo, furniture
from tests.processes import ProcessCloud

__all__ = ["admin", "demo", "furniture"]


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCloud]:
    with ProcessCloud(tmp_path_factory.mktemp("compute")) as cloud:
        yield cloud
