"""Leadership of a reconcile loop: one of several controllers runs it at a time."""

import asyncio
from collections.abc import Awaitable, Callable

import orjson
import structlog

from fabric.runtime.errors import LeaseLost, Unavailable
from fabric.runtime.etcd import Change, Etcd, Lease
from fabric.runtime.store import ROOT

log = structlog.get_logger(__name__)


async def lead(
    etcd: Etcd, name: str, identity: str, work: Callable[[], Awaitable[None]], *, ttl_s: int = 3
) -> None:
    """Run work whenever this process is the leader of the name; cancel it when it no longer is. Never returns.

    Two leaders for a moment do no harm: all they write compares the revision that they read.
    """
    key = f"{ROOT}/leaders/{name}"
    while True:
        try:
            await _term(etcd, key, identity, work, ttl_s)
        except (Unavailable, LeaseLost) as error:
            log.warning("leadership lost", loop=name, cause=error.message)
            await asyncio.sleep(0.2)


async def _term(etcd: Etcd, key: str, identity: str, work: Callable[[], Awaitable[None]], ttl_s: int) -> None:
    lease = Lease(etcd, ttl_s)
    await lease.grant()
    alive = asyncio.create_task(lease.run())
    try:
        await _win(etcd, key, identity, lease)
        log.info("leadership won", key=key, leader=identity)
        working = asyncio.ensure_future(work())
        done, _ = await asyncio.wait({alive, working}, return_when=asyncio.FIRST_COMPLETED)
        if working not in done:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            raise LeaseLost("The lease of the leadership is gone.", key=key)
        working.result()
    finally:
        alive.cancel()
        await lease.revoke()


async def _win(etcd: Etcd, key: str, identity: str, lease: Lease) -> None:
    value = orjson.dumps({"leader": identity})
    while not lease.lost.is_set():
        outcome = await etcd.commit(Change(expect={key: 0}, put={key: value}, lease=lease.id))
        if outcome.succeeded:
            return
        await _gone(etcd, key, outcome.revision + 1, lease)
    raise LeaseLost("The lease was lost while waiting for leadership.", key=key)


async def _gone(etcd: Etcd, key: str, revision: int, lease: Lease) -> None:
    """Return when the key is deleted or the own lease is lost."""

    async def watch() -> None:
        async for _, events in etcd.watch(key, revision):
            if any(event.value is None for event in events):
                return

    watching, lost = asyncio.create_task(watch()), asyncio.create_task(lease.lost.wait())
    try:
        done, _ = await asyncio.wait({watching, lost}, return_when=asyncio.FIRST_COMPLETED)
        if watching in done and (error := watching.exception()):
            raise error if isinstance(error, Unavailable) else Unavailable(str(error)) from error
    finally:
        watching.cancel()
        lost.cancel()
