"""What etcd holds, read directly with the controller's own configuration: for sweep and why."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fabric.controller.compose import make_store
from fabric.runtime.config import Config
from fabric.runtime.errors import Unavailable
from fabric.runtime.etcd import connect
from fabric.runtime.store import Store

_TIMEOUT_S = 10.0


@asynccontextmanager
async def cloud_state(config: Config) -> AsyncIterator[Store]:
    """The store of the whole cloud, up to date. Raises Unavailable."""
    etcd = connect(config.etcd)
    store = make_store(config, etcd)
    running = asyncio.create_task(store.run())
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await store.cache.ready.wait()
        yield store
    except TimeoutError as error:
        raise Unavailable("etcd does not answer") from error
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await etcd.close()
