"""QosDriver on the kernel: bandwidth with tc (shaper.py), marks and packet rates with nftables (limit.py)."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog

from agents.network import name, netns, shaper
from agents.network.batch import Batch
from agents.network.driver import Holding
from agents.network.libnftables import Nftables, NftError
from agents.network.limit import FRAMES, TABLE, Limits, PacketRate, frame_rules
from agents.network.ruleset import Ruleset, listed, transaction
from fabric.network.qos import BANDWIDTH_LIMIT, DSCP_MARKING, PACKET_RATE_LIMIT

log = structlog.get_logger(__name__)

Result = TypeVar("Result")
_ANY_PORT = "00000000-0000"


class KernelQos:
    """All work is done in one thread; a batch of nftables changes is one transaction."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "qos")
        self._shaper = shaper.Shaper()
        self._nftables: Nftables | None = None
        self._limits: dict[str, Limits] = {}
        self._have: Ruleset | None = None  # None: look at the kernel
        self._batch = Batch(self._settle)

    async def adopt(self, ports: Mapping[str, Limits]) -> None:
        self._limits = dict(ports)
        await self.resync()

    async def resync(self) -> None:
        self._have = None
        await self._batch.run()

    async def ensure_port(self, port_id: str, wanted: Limits) -> None:
        await self._do(self._shaper.ensure, port_id, wanted)
        if self._limits.get(port_id, Limits()) != wanted or self._have is None:
            self._limits[port_id] = wanted
            await self._batch.run()

    async def remove_port(self, port_id: str) -> None:
        await self._do(self._shaper.remove, port_id)
        if self._limits.pop(port_id, Limits()) != Limits():
            await self._batch.run()

    async def find(self) -> list[Holding]:
        devices = await self._do(self._shaper.find)
        maps = (await self._do(self._read)).sets
        taps = {tap for way in ("from", "to") for tap in maps.get((FRAMES, way), {})}
        return devices + [Holding("limit", tap, "port", tap.removeprefix(name.TAP)) for tap in sorted(taps)]

    async def close(self) -> None:
        def close() -> None:
            self._shaper.close()
            if self._nftables is not None:
                self._nftables.close()

        await self._do(close)
        self._thread.shutdown()

    async def _settle(self) -> None:
        try:
            if self._have is None:
                self._have = await self._do(self._read)
            want = frame_rules(self._limits)
            commands = transaction(self._have, want)
            if commands:
                await self._do(self._kernel.apply, commands)
            self._have = want
        except BaseException:
            self._have = None
            raise

    def _read(self) -> Ruleset:
        return listed(self._kernel.table(*TABLE))

    @property
    def _kernel(self) -> Nftables:
        if self._nftables is None:
            self._nftables = Nftables()
        return self._nftables

    async def _do(self, function: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def possible() -> list[str]:
    """The types of rules that the kernel can do, tried in namespaces that go at once; blocking."""
    rate = PacketRate(1000, 100)
    tried = {
        BANDWIDTH_LIMIT: shaper.probe(),
        DSCP_MARKING: _probe(Limits(dscp=8)),
        PACKET_RATE_LIMIT: _probe(Limits(out_packets=rate, into_packets=rate)),
    }
    for kind, problem in tried.items():
        if problem:
            log.warning("the node cannot do a type of QoS rules", type=kind, problem=problem)
    return [kind for kind, problem in tried.items() if not problem]


def _probe(wanted: Limits) -> str:
    """What is wrong; empty: nothing."""

    def attempt() -> str:
        nftables = Nftables()
        try:
            nftables.apply(transaction(Ruleset(), frame_rules({_ANY_PORT: wanted})))
        except NftError as error:
            return error.facts["output"]
        finally:
            nftables.close()
        return ""

    return netns.scratch(attempt)
