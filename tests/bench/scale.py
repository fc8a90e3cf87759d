"""A hundred simulated nodes: what lists cost as the cloud grows, and a storm of 1,000 servers."""

import asyncio
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from tests.bench.load import Target, run, simple
from tests.http_client import Http
from tests.processes import PASSWORD, ROOT, ProcessCloud, wait_for

NODES = 100
STORM = 1000
SIZES = (1000, 10_000)
_AT_ONCE = 500  # what fits into one transaction
_AUTO_NETWORKS = {"OpenStack-API-Version": "compute 2.37"}
_PLACED = re.compile(r'"event":"server placed".*"timestamp":"([^"]+)"')


@contextmanager
def crowd(cloud: ProcessCloud, nodes: int) -> Iterator[None]:
    """That many nodes beside the one of the cloud."""
    words = [sys.executable, "-m", "agents.simulated", "--config", str(cloud.config), "--nodes", str(nodes)]
    with (cloud.logs / "simulated.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


class Scale:
    """One cloud that fills up."""

    def __init__(self, cloud: ProcessCloud, network: str, image: str, flavor: str) -> None:
        self._cloud = cloud
        self._network = network
        self._body = {"name": "bench", "imageRef": image, "flavorRef": flavor}
        self.http = Http(cloud.url)
        self.http.login("admin", PASSWORD, "admin")
        self._target = Target(cloud.url, self.http.token)

    async def measure(self) -> dict[str, float]:
        """All figures, by what they are of."""
        wait_for(lambda: self._up() > NODES, 120, "the simulated nodes")
        found = dict(await self._storm())
        made = {"ports": STORM, "servers": STORM}
        for size in SIZES:
            self._ports(size - made["ports"])
            self._servers(size - made["servers"])
            made = {"ports": size, "servers": size}
            wait_for(lambda size=size: self._active(size), 240, f"{size} servers")  # type: ignore[misc]
            for what, path in (
                ("ports", "/network/v2.0/ports"),
                ("servers", "/compute/v2.1/servers/detail"),
            ):
                for page in (100, 1000):
                    key = f"page of {page} of {size} {what}"
                    found[key] = await self._p50(f"{path}?limit={page}")
                one = path.removesuffix("/detail")
                found[f"one of {size} {what}"] = await self._p50(f"{one}/{self._some(one)}")
        return found

    async def _storm(self) -> Mapping[str, float]:
        started = time.perf_counter()
        self._servers(STORM, networks=[{"uuid": self._network}])
        while not self._active(STORM):
            await asyncio.sleep(0.2)
        active = time.perf_counter() - started
        log = (self._cloud.logs / "controller.log").read_text()
        placed = sorted(datetime.fromisoformat(at) for at in _PLACED.findall(log))
        return {
            "placed": (len(placed) - 1) / (placed[-1] - placed[0]).total_seconds(),
            "active_s": active,
        }

    async def _p50(self, path: str) -> float:
        asked = await run(self._target, simple(self._target.request("GET", path)), concurrency=1, count=15)
        return statistics.median(asked.seconds) * 1000

    def _ports(self, count: int) -> None:
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

    def _up(self) -> int:
        services = self._get("/compute/v2.1/os-services?binary=nova-compute")["services"]
        return sum(service["state"] == "up" for service in services)

    def _active(self, count: int) -> bool:
        """Whether so many run: the allocations say how many are placed, the newest page that none is built."""
        building = self._get("/compute/v2.1/servers?limit=1&status=BUILD")["servers"]
        return not building and self._running() >= count

    def _running(self) -> int:
        found = self._get("/compute/v2.1/os-hypervisors/statistics")["hypervisor_statistics"]
        return int(found["running_vms"])

    def _some(self, path: str) -> str:
        return str(next(iter(self._get(f"{path}?limit=1").values()))[0]["id"])

    def _get(self, path: str) -> Any:
        return self.http.call("GET", path)
