"""An etcd that is silent, with no end of the connection, as when its packets are lost."""

import asyncio
import os
import signal

import pytest

from fabric.runtime.errors import Unavailable
from fabric.runtime.etcd import Etcd
from tests.functional.etcd import EtcdProcess

QUIET_S = 8.0  # longer than gRPC pings on its own while nothing is sent


async def test_a_watch_that_nothing_comes_on_breaks_when_etcd_is_silent() -> None:
    with EtcdProcess() as process:
        etcd = Etcd([process.endpoint])

        async def follow() -> None:
            async for _ in etcd.watch("/fabric/nothing/", await etcd.revision() + 1):
                pass

        watch = asyncio.create_task(follow())
        done, _ = await asyncio.wait([watch], timeout=QUIET_S)
        assert not done
        os.kill(process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable):  # after 5 s at most
                await asyncio.wait_for(watch, 30)
        finally:
            os.kill(process.pid, signal.SIGCONT)
            await etcd.close()
