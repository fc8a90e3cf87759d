"""A hundred simulated nodes: what lists cost as the cloud grows, and a storm of 1,000 servers."""

import asyncio
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from tests.bench.load import Target, run, simple
from tests.http_client import Http
from tests.processes import PASSWORD, ROOT, ProcessCloud, cpu_s, wait_for

NODES = 100
STORM = 1000
SIZE = 10_000
FIRST = 1000  # servers and ports when pages are looked at for the first time
_AT_ONCE = 500  # what fits into one transaction
_LONGEST_S = 240  # that servers may take until they run
_POLL_S = 0.5  # the machine is left to what is measured
_TELL_S = 5
_AUTO_NETWORKS = {"OpenStack-API-Version": "compute 2.37"}
_PLACED = re.compile(r'"event":"server placed".*"timestamp":"([^"]+)"')


@contextmanager
def crowd(cloud: ProcessCloud, nodes: int) -> Iterator[int]:
    """That many nodes beside the one of the cloud; yields the id of their process.

    What stands for many machines gives way to the controllers of the one that it runs on.
    """
    simulated = [sys.executable, "-m", "agents.simulated", "--config", str(cloud.config)]
    words = ["nice", "-n", "5", *simulated, "--nodes", str(nodes)]
    with (cloud.logs / "simulated.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=ROOT)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


class Scale:
    """One cloud that fills up."""

    def __init__(
        self, cloud: ProcessCloud, crowd_pid: int, size: int, network: str, image: str, flavor: str
    ) -> None:
        """size: servers, and ports, at the end."""
        self._cloud = cloud
        self._crowd_pid = crowd_pid
        self._size = size
        self._network = network
        self._made = 0  # servers
        self._body = {"name": "bench", "imageRef": image, "flavorRef": flavor}
        self.http = Http(cloud.url)
        self.http.login("admin", PASSWORD, "admin")
        self._target = Target(cloud.url, self.http.token)

    async def measure(self) -> dict[str, float]:
        """All figures, by what they are of."""
        wait_for(lambda: self._up() > NODES, 120, "the simulated nodes")
        found = await self._storm("", self._ask_together)
        found |= await self._pages(FIRST)
        found |= await self._storm(", asked one by one", self._ask_one_by_one)
        for before in range(self._made, self._size, STORM):
            count = min(STORM, self._size - before)
            found |= await self._growth("ports", before, count, self._ports)
        for before in range(self._made, self._size, STORM):
            count = min(STORM, self._size - before)
            found |= await self._growth("servers", before, count, self._servers)
        return found | await self._pages(self._size)

    async def _growth(
        self, what: str, before: int, count: int, make: Callable[[int], None]
    ) -> dict[str, float]:
        """What so many more cost, of all processes; until all is told, and runs."""
        used, started = self._cpu_s(), time.perf_counter()
        make(count)
        await self._settled()
        took_s = time.perf_counter() - started
        print(f"  {before + count} {what}: {count / took_s:.0f}/s, load {os.getloadavg()[0]:.1f}", flush=True)
        which = f"{what} {before + 1} to {before + count}"
        return {f"{which}: CPU each": (self._cpu_s() - used) / count * 1000, f"{which}: made": count / took_s}

    def _cpu_s(self) -> float:
        return self._cloud.cpu_s() + cpu_s(self._crowd_pid)

    async def _pages(self, size: int) -> dict[str, float]:
        found = {}
        for what, path in (("ports", "/network/v2.0/ports"), ("servers", "/compute/v2.1/servers/detail")):
            for page in (100, 1000):
                found[f"page of {page} of {size} {what}"] = await self._p50(f"{path}?limit={page}")
            one = path.removesuffix("/detail")
            found[f"one of {size} {what}"] = await self._p50(f"{one}/{self._some(one)}")
        return found

    async def _storm(self, how: str, ask: Callable[[], Awaitable[None]]) -> dict[str, float]:
        """How many are placed a second, and when the last one runs."""
        before, started = len(self._placed()), time.perf_counter()
        await ask()
        await self._settled()
        placed = self._placed()[before:]
        return {
            f"storm{how}: placed": (len(placed) - 1) / (placed[-1] - placed[0]).total_seconds(),
            f"storm{how}: active": time.perf_counter() - started,
        }

    async def _ask_together(self) -> None:
        self._servers(STORM, networks=[{"uuid": self._network}])

    async def _ask_one_by_one(self) -> None:
        body = {"server": self._body | {"networks": [{"uuid": self._network}]}}
        asked = simple(self._target.request("POST", "/compute/v2.1/servers", body))
        await run(self._target, asked, concurrency=16, count=STORM)
        self._made += STORM

    def _placed(self) -> list[datetime]:
        log = (self._cloud.logs / "controller.log").read_text()
        return sorted(datetime.fromisoformat(at) for at in _PLACED.findall(log))

    async def _p50(self, path: str) -> float:
        asked = await run(self._target, simple(self._target.request("GET", path)), concurrency=1, count=15)
        return statistics.median(asked.seconds) * 1000

    def _ports(self, count: int) -> None:
        """In the default group, of which all nodes know all members."""
        while count > 0:
            ports = [{"network_id": self._network}] * min(count, _AT_ONCE // 2)
            self.http.call("POST", "/network/v2.0/ports", {"ports": ports})
            count -= len(ports)

    def _servers(self, count: int, networks: Any = "none") -> None:
        while count > 0:
            some = min(count, _AT_ONCE)
            body = self._body | {"networks": networks, "min_count": some, "max_count": some}
            self.http.call("POST", "/compute/v2.1/servers", {"server": body}, _AUTO_NETWORKS)
            count -= some
            self._made += some

    async def _settled(self) -> None:
        """Until all run that were asked for; says how far they are now and then."""
        async with asyncio.timeout(_LONGEST_S):
            told = time.perf_counter()
            while not self._active(self._made):
                await asyncio.sleep(_POLL_S)
                if time.perf_counter() - told > _TELL_S:
                    told = time.perf_counter()
                    print(f"  {self._running()} of {self._made} servers", flush=True)

    def _up(self) -> int:
        services = self._get("/compute/v2.1/os-services?binary=nova-compute")["services"]
        return sum(service["state"] == "up" for service in services)

    def _active(self, count: int) -> bool:
        """Whether so many run: the allocations say how many are placed, a list that none is built."""
        if self._running() < count:
            return False
        return not self._get("/compute/v2.1/servers?limit=1&status=BUILD")["servers"]

    def _running(self) -> int:
        found = self._get("/compute/v2.1/os-hypervisors/statistics")["hypervisor_statistics"]
        return int(found["running_vms"])

    def _some(self, path: str) -> str:
        return str(next(iter(self._get(f"{path}?limit=1").values()))[0]["id"])

    def _get(self, path: str) -> Any:
        return self.http.call("GET", path)
