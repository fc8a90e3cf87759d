from collections.abc import AsyncIterator

import pytest

from tests.functional.gateway.harness import Client, Networks, serving


@pytest.fixture
def networks() -> Networks:
    return Networks()


@pytest.fixture
async def client(networks: Networks) -> AsyncIterator[Client]:
    async with serving(networks) as found:
        yield found
