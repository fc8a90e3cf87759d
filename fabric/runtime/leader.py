"""Leadership of reconcile loops: one of several controllers runs each of them at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog

from fabric.runtime.errors import LeaseLost, Unavailable
from fabric.runtime.etcd import Change, Etcd, Lease
from fabric.runtime.store import ROOT

log = structlog.get_logger(__name__)

Work = Callable[[], Awaitable[None]]
_PAUSE_S = 0.3


async def lead(etcd: Etcd, identity: str, works: Mapping[str, Work], *, ttl_s: int = 3) -> None:
    """Run each work (by name; it runs for ever) while this process leads it. Never returns.

    All leaderships of a process hang on one lease; when it is lost, all work is cancelled before another
    process can begin it, as far as clocks agree. Two leaders for a moment do no harm: all they write
    compares the revision that they read.
    """
    while True:
        lease = Lease(etcd, ttl_s)
        try:
            await lease.grant()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_alive(lease))
                for name, work in works.items():
                    tasks.create_task(_term(etcd, lease, name, identity, work))
        except* (Unavailable, LeaseLost) as lost:
            log.warning("leadership lost", leader=identity, cause=str(lost.exceptions[0]))
        except* Exception as broken:
            log.error("a loop broke; all are started again", leader=identity, exc_info=broken)
        finally:
            await lease.revoke()
        await asyncio.sleep(_PAUSE_S)


async def _alive(lease: Lease) -> None:
    await lease.run()
    raise LeaseLost("The lease of the leaderships is gone.")


async def _term(etcd: Etcd, lease: Lease, name: str, identity: str, work: Work) -> None:
    key = f"{ROOT}/leaders/{name}"
    value = orjson.dumps({"leader": identity})
    while True:
        outcome = await etcd.commit(Change(expect={key: 0}, put={key: value}, lease=lease.id))
        if outcome.succeeded:
            break
        await _gone(etcd, key, outcome.revision + 1)
    log.info("leadership won", loop=name, leader=identity)
    await work()


async def _gone(etcd: Etcd, key: str, revision: int) -> None:
    """Return when the key is deleted."""
    watch = etcd.watch(key, revision)
    try:
        async for _, events in watch:
            if any(event.value is None and event.key == key for event in events):
                return
    finally:
        await watch.aclose()  # type: ignore[attr-defined]
