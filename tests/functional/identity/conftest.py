"""One cloud for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.http_client import Http
from tests.processes import PASSWORD, ProcessCloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessCloud]:
    with ProcessCloud(tmp_path_factory.mktemp("identity")) as cloud:
        yield cloud


@pytest.fixture
def admin(cloud: ProcessCloud) -> Iterator[Http]:
    with Http(cloud.url) as http:
        http.login("admin", PASSWORD, "admin")
        yield http
