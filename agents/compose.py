"""What a node's agent is made of: its kinds, one gRPC server, and lives under etcd leases."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, cast

import orjson
import structlog

from agents.compute.wiring import Compute
from agents.expulsion import obey
from agents.image.wiring import Image
from agents.network.wiring import Network
from agents.running import Kind, Running, first_of
from fabric.runtime.cache import Cache, Table
from fabric.runtime.caller import Caller
from fabric.runtime.codec import Codec
from fabric.runtime.config import Config
from fabric.runtime.errors import Conflict, FabricError, LeaseLost, Unavailable
from fabric.runtime.etcd import Etcd, as_node, connect
from fabric.runtime.node import Life
from fabric.runtime.rpc import Server
from fabric.runtime.ticket import PUBLIC_KEY, Verifier
from fabric.runtime.tls import KEYS, REFUSED, PeerCheck, identity, server_credentials
from fabric.runtime.witness import PANEL
from fabric.type.v1 import holding_pb2, node_pb2, witness_pb2

log = structlog.get_logger(__name__)

KINDS: dict[str, Callable[[Running], Kind]] = {"compute": Compute, "network": Network, "image": Image}
_OUTLIVED = frozenset({"network"})  # routers work without their agent, and stay when it is back at once
_PAUSE_S = 0.5


async def run(config: Config, *, stop: asyncio.Event, ready: Callable[[int], None] = lambda _: None) -> None:
    """Run the node's agents until stop is set; ready is called with the port of the gRPC server."""
    await run_nodes([config], stop=stop, ready=ready)


async def run_nodes(
    configs: Sequence[Config], *, stop: asyncio.Event, ready: Callable[[int], None] = lambda _: None
) -> None:
    """Run the agents of several nodes over one connection to etcd; each has its own lives, stores and server."""
    config = configs[0]
    unknown = sorted(set(config.agent.kinds) - set(KINDS))
    if unknown:
        raise ValueError(f"agent.kinds: {unknown[0]} is not one of {', '.join(KINDS)}")
    etcd = connect(as_node(config))
    verifier = Verifier()
    learning = asyncio.create_task(_learn(verifier, etcd))
    keys = Cache(etcd, KEYS, lambda _: Table(orjson.loads))
    check = PeerCheck(lambda number: keys.table(REFUSED).get(number) is not None)
    shown, panel = identity(config.tls), partial(_panel, keys)
    codec = Codec()  # of all: what several nodes are told alike is decoded once
    nodes = [Running(each, etcd, codec, verifier, shown, panel) for each in configs]
    try:
        await first_of(
            asyncio.create_task(stop.wait()),
            asyncio.create_task(keys.run()),
            asyncio.create_task(etcd.follow_members()),
            *(asyncio.create_task(_run_node(node, check, learning, ready)) for node in nodes),
        )
    finally:
        learning.cancel()
        await etcd.close()


async def _run_node(
    running: Running, check: PeerCheck, learning: asyncio.Task[None], ready: Callable[[int], None]
) -> None:
    """Without etcd it tells that it has no life, and lives from when the controllers' key was learned."""
    config = running.config
    kinds = [KINDS[name](running) for name in config.agent.kinds]
    server = Server(credentials=server_credentials(config.tls), peer_check=check)
    for kind in kinds:
        kind.register(server)
    holdings = holding_pb2.DESCRIPTOR.services_by_name["HoldingService"]
    server.add(holdings, {"ListHoldings": partial(_holdings, running, kinds)})
    witness = witness_pb2.DESCRIPTOR.services_by_name["WitnessService"]
    server.add(witness, {"GetLife": partial(_life, running)})
    await server.start(config.agent.listen, serving=False)
    living = _Living(server, len(kinds))
    ready(server.port)
    address = f"{config.node.address}:{server.port}"
    try:
        await first_of(
            asyncio.create_task(obey(running, kinds)),
            *(asyncio.create_task(_live(running, kind, address, living, learning)) for kind in kinds),
        )
    finally:
        await server.stop(grace_s=2)
        for kind in kinds:
            await kind.close()


async def _holdings(
    running: Running, kinds: list[Kind], request: holding_pb2.ListHoldingsRequest, _: Caller
) -> holding_pb2.ListHoldingsResponse:
    running.verifier.check(request.ticket, may="sweep")
    found = [holding for kind in kinds for holding in await kind.holdings()]
    return holding_pb2.ListHoldingsResponse(holdings=found)


async def _life(
    running: Running, request: witness_pb2.GetLifeRequest, _: Caller
) -> witness_pb2.GetLifeResponse:
    life = running.lives.get(request.agent)
    silence_s = None if life is None else life.silence_s
    if silence_s is None:
        return witness_pb2.GetLifeResponse()
    found = witness_pb2.GetLifeResponse(alive=True)
    found.silence.FromTimedelta(timedelta(seconds=silence_s))
    return found


def _panel(keys: Cache) -> dict[str, str]:
    return {witness["meta"]["id"]: witness["address"] for witness in keys.table(PANEL.parent)}


async def _learn(verifier: Verifier, etcd: Etcd) -> None:
    """The key that controllers sign tickets with; the first of them publishes it."""
    while True:
        try:
            found = await etcd.get(PUBLIC_KEY)
        except Unavailable as error:
            log.warning("waiting for etcd", cause=error.message)
        else:
            if found is not None:
                return verifier.learn(found.value)
            log.info("waiting for the first controller")
        await asyncio.sleep(_PAUSE_S)


class _Living:
    """The process is healthy while all its kinds live."""

    def __init__(self, server: Server, kinds: int) -> None:
        self._server = server
        self._kinds = kinds
        self._names: set[str] = set()

    async def begin(self, name: str) -> None:
        self._names.add(name)
        await self._server.set_serving(len(self._names) == self._kinds)

    async def end(self, name: str) -> None:
        self._names.discard(name)
        await self._server.set_serving(False)


async def _live(
    running: Running, kind: Kind, address: str, living: _Living, learning: asyncio.Task[None]
) -> None:
    """One life after the other, for ever. A life ends with its lease, and all work under it."""
    await asyncio.wait({learning})
    learning.result()
    while True:
        try:
            await _one_life(running, kind, address, living)
        except LeaseLost as error:
            log.error("agent lost its lease and begins again", agent=kind.name, cause=error.message)
        except (Unavailable, Conflict) as error:
            log.warning("agent waits", agent=kind.name, cause=error.message, facts=error.facts)
        except FabricError as error:
            log.error("agent cannot work", agent=kind.name, cause=error.message, facts=error.facts)
        except Exception as error:
            log.error("agent broke and begins again", agent=kind.name, exc_info=error)
        finally:
            await living.end(kind.name)
        await asyncio.sleep(_PAUSE_S)


async def _one_life(running: Running, kind: Kind, address: str, living: _Living) -> None:
    config = running.config
    sign = node_pb2.Life(node=config.node.name, agent=kind.name, address=address)
    sign.detail.update(cast(Any, await kind.detail()))
    lingers = kind.name in _OUTLIVED
    life = Life(running.etcd, running.codec, sign, ttl_s=config.agent.lease_ttl_s, lingers=lingers)
    running.lives[kind.name] = life
    caches = kind.begin(life)
    ready = asyncio.Event()

    async def work() -> None:
        await ready.wait()
        for cache in caches:
            await cache.ready.wait()
        await living.begin(kind.name)
        await kind.work()

    await first_of(
        asyncio.create_task(life.hold(ready)),
        *(asyncio.create_task(cache.run()) for cache in caches),
        asyncio.create_task(work()),
    )
