"""Which controllers live: each has a key under a lease; who calls them follows the keys."""

import asyncio
from collections.abc import Callable, Sequence

import orjson
import structlog

from fabric.runtime.cache import Cache, Table
from fabric.runtime.config import Config
from fabric.runtime.errors import FabricError
from fabric.runtime.etcd import Change, Etcd, Lease
from fabric.runtime.store import ROOT

CONTROLLERS = f"{ROOT}/controllers"
_TTL_S = 3
_PAUSE_S = 0.5

log = structlog.get_logger(__name__)


async def announce(etcd: Etcd, config: Config) -> None:
    """Be known as a controller until cancelled; then nobody calls it any more."""
    address = _reachable(config.controller.listen, config)
    value = {"node": config.node.name}
    if config.controller.join_listen:
        value["join"] = _reachable(config.controller.join_listen, config)
    while True:
        lease = Lease(etcd, _TTL_S)
        try:
            await lease.grant()
            put = {f"{CONTROLLERS}/{address}": orjson.dumps(value)}
            await etcd.commit(Change(put=put, lease=lease.id))
            await lease.run()
        except FabricError as error:
            log.warning("the controller is not known to gateways", cause=error.message)
        finally:
            await lease.revoke()
        await asyncio.sleep(_PAUSE_S)


async def follow(etcd: Etcd, told: Callable[[Sequence[str]], None]) -> None:
    """Tell the addresses of the controllers, at first and at each change, until cancelled."""
    cache = Cache(etcd, f"{CONTROLLERS}/", lambda _: Table(orjson.loads))
    table = cache.table(CONTROLLERS)

    def tell(_: str) -> None:
        if cache.ready.is_set():
            told(sorted(table.ids()))

    table.subscribe(tell)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cache.run())
        await cache.ready.wait()
        tell("")


def _reachable(listen: str, config: Config) -> str:
    """Where others reach what listens there."""
    host, _, port = listen.rpartition(":")
    return f"{config.node.address}:{port}" if host in ("0.0.0.0", "[::]") else listen
