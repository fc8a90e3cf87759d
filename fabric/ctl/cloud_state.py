"""What etcd holds, read directly with the controller's own configuration: for sweep and why."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fabric.controller.store import make_store
from fabric.runtime.config import Config
from fabric.runtime.errors import Unavailable
from fabric.runtime.etcd import connect
from fabric.runtime.store import Store

_TIMEOUT_S = 10.0


@asynccontextmanager
async def cloud_state(config: Config) -> AsyncIterator[Store]:
    """The store of the whole cloud, up to date. Raises Unavailable."""
    async with unread(config) as store:
        running = asyncio.create_task(store.run())
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await store.cache.ready.wait()
        except TimeoutError as error:
            raise Unavailable(f"etcd at {', '.join(config.etcd.endpoints)} does not answer") from error
        else:
            yield store
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def unread(config: Config) -> AsyncIterator[Store]:
    """The store with nothing in its memory, for who wants a few keys only."""
    etcd = connect(config.etcd)
    try:
        yield make_store(config, etcd)
    finally:
        await etcd.close()
