"""make bench: the figures of a cloud on one machine, beside what is asked of them."""

import argparse
import asyncio
import gc
import json
import os
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from tests.bench import failover, guests, migration, paper, span
from tests.bench.load import Connection, Target, run, simple
from tests.bench.scale import FIRST, NODES, SIZE, STORM, Scale, crowd
from tests.http_client import Http, login
from tests.processes import DEMO_PASSWORD, PASSWORD, ProcessCloud

UNLIMITED = """
[quota]
"network.port" = -1
"compute.instances" = -1
"compute.cores" = -1
"compute.ram" = -1
"""


@dataclass
class Report:
    """Lines of name, figure, target and whether it is met."""

    rows: list[tuple[str, str, str, bool | None]] = field(default_factory=list)

    def add(
        self, name: str, value: float, unit: str, *, most: float | None = None, least: float | None = None
    ) -> None:
        """A figure; most or least: what is asked."""
        target = f"< {most:g}" if most is not None else f">= {least:g}" if least is not None else ""
        met = value < most if most is not None else value >= least if least is not None else None
        self.rows.append((name, f"{value:.4g} {unit}", target, met))
        mark = {True: "ok", False: "MISSED", None: ""}[met]
        print(f"{name:<58} {value:>10.4g} {unit:<6} {target:<10} {mark}", flush=True)


class Bench:
    """Everything against one cloud."""

    def __init__(self, cloud: ProcessCloud, report: Report, scale: float) -> None:
        self.cloud = cloud
        self.report = report
        self.scale = scale
        self.admin = Http(cloud.url)
        self.admin.login("admin", PASSWORD, "admin")
        self.target = Target(cloud.url, self.admin.token)

    def count(self, full: int) -> int:
        """How often, at this scale."""
        return max(10, int(full * self.scale))

    async def tokens(self) -> None:
        """Issue and validation."""
        plain = Target(self.cloud.url)
        issue = simple(
            plain.request("POST", "/identity/v3/auth/tokens", login("demo", DEMO_PASSWORD, "demo"))
        )
        alone = await run(plain, issue, concurrency=1, count=self.count(100))
        self.report.add("token issue, alone, p50", alone.median_ms, "ms", most=262 / 20)
        busy = await run(plain, issue, concurrency=16, count=self.count(2000))
        self.report.add("token issue, concurrency 16", busy.per_second, "/s", least=150)
        headers = {"X-Subject-Token": self.admin.token}
        validate = simple(self.target.request("GET", "/identity/v3/auth/tokens", headers=headers))
        alone = await run(self.target, validate, concurrency=1, count=self.count(500))
        self.report.add("token validation, alone, p50", alone.median_ms, "ms", most=2)
        busy = await run(self.target, validate, concurrency=32, count=self.count(10000))
        self.report.add("token validation, concurrency 32", busy.per_second, "/s", least=2000)

    async def projects(self) -> None:
        """Create, and delete what was made."""
        made: list[str] = []

        async def create(connection: Connection) -> None:
            body = {"project": {"name": f"bench-{len(made)}-{time.time_ns()}"}}
            made.append(
                (await ask(connection, self.target, "POST", "/identity/v3/projects", body))["project"]["id"]
            )

        alone = await run(self.target, create, concurrency=1, count=self.count(100))
        self.report.add("project create, alone, p50", alone.median_ms, "ms", most=56 / 20)
        for id_ in made:
            self.admin.call("DELETE", f"/identity/v3/projects/{id_}")

    async def ports(self, network: str) -> None:
        """Create alone, create and delete together, list 1,000."""
        made: list[str] = []

        async def create(connection: Connection) -> None:
            body = {"port": {"network_id": network}}
            made.append(
                (await ask(connection, self.target, "POST", "/network/v2.0/ports", body))["port"]["id"]
            )

        async def pair(connection: Connection) -> None:
            await create(connection)
            await ask(connection, self.target, "DELETE", f"/network/v2.0/ports/{made.pop()}")

        alone = await run(self.target, create, concurrency=1, count=self.count(200))
        self.report.add("port create, alone, p50", alone.median_ms, "ms", most=10)
        busy = await run(self.target, pair, concurrency=32, count=self.count(2000))
        self.report.add("port create+delete, concurrency 32", busy.per_second, "/s", least=140)
        while len(made) < 1000:
            await run(self.target, create, concurrency=16, count=min(250, 1000 - len(made)))
        listing = simple(self.target.request("GET", "/network/v2.0/ports?limit=1000"))
        listed = await run(self.target, listing, concurrency=1, count=20)
        self.report.add("list of 1,000 ports, p50", listed.median_ms, "ms", most=50)

        async def delete(connection: Connection) -> None:
            await ask(connection, self.target, "DELETE", f"/network/v2.0/ports/{made.pop()}")

        await run(self.target, delete, concurrency=16, count=len(made))

    async def servers(self, network: str, image: str, flavor: str) -> None:
        """Create to ACTIVE alone, a storm of 200, lists of 1,000 and the memory of all."""
        body = {
            "server": {
                "name": "bench",
                "imageRef": image,
                "flavorRef": flavor,
                "networks": [{"uuid": network}],
            }
        }

        async def boot(connection: Connection) -> None:
            server = await ask(connection, self.target, "POST", "/compute/v2.1/servers", body)
            await self._active(connection, server["server"]["id"])

        alone = await run(self.target, boot, concurrency=1, count=self.count(40))
        self.report.add("server create to ACTIVE, fake driver, alone, p50", alone.median_ms, "ms", most=85)
        storm = await self._storm(body, 200)
        self.report.add("200 servers at once, all ACTIVE", storm, "s", most=6)
        have = self.count(40) + 200
        while have < 1000:
            await self._storm(body, min(200, 1000 - have))
            have += min(200, 1000 - have)
        listing = simple(self.target.request("GET", "/compute/v2.1/servers/detail?limit=1000"))
        listed = await run(self.target, listing, concurrency=1, count=20)
        self.report.add("list of 1,000 servers with detail, p50", listed.median_ms, "ms", most=100)
        show = simple(self.target.request("GET", f"/compute/v2.1/servers/{self._some_server()}"))
        shown = await run(self.target, show, concurrency=1, count=self.count(200))
        self.report.add("server show with 1,000 servers, p50", shown.median_ms, "ms")
        memory = self.cloud.rss_bytes()
        for name, rss in memory.items():
            self.report.add(f"memory of {name} with 1,000 servers", rss / 1e6, "MB")
        self.report.add("memory of all with 1,000 servers", sum(memory.values()) / 1e6, "MB", most=500)

    def _some_server(self) -> str:
        found: str = self.admin.call("GET", "/compute/v2.1/servers?limit=1")["servers"][0]["id"]
        return found

    async def _active(self, connection: Connection, id_: str) -> None:
        async with asyncio.timeout(60):
            while True:
                shown = await ask(connection, self.target, "GET", f"/compute/v2.1/servers/{id_}")
                if shown["server"]["status"] == "ACTIVE":
                    return
                if shown["server"]["status"] == "ERROR":
                    raise RuntimeError(shown["server"].get("fault"))
                await asyncio.sleep(0.005)

    async def _storm(self, body: Any, count: int) -> float:
        started = time.perf_counter()
        ids: list[str] = []

        async def create(connection: Connection) -> None:
            server = await ask(connection, self.target, "POST", "/compute/v2.1/servers", body)
            ids.append(server["server"]["id"])

        await run(self.target, create, concurrency=16, count=count)
        connection = await self.target.connect()
        try:
            for id_ in ids:
                await self._active(connection, id_)
        finally:
            connection.close()
        return time.perf_counter() - started


async def ask(connection: Connection, target: Target, method: str, path: str, body: Any = None) -> Any:
    """One call; raises RuntimeError for what is not 2xx."""
    status, _, data = await connection.ask(target.request(method, path, body))
    if not 200 <= status < 300:
        raise RuntimeError(f"{method} {path}: {status} {data[:300]!r}")
    return json.loads(data) if data else None


def prepare(bench: Bench) -> tuple[str, str, str]:
    """A network, an image and a flavor."""
    admin = bench.admin
    network = admin.call("POST", "/network/v2.0/networks", {"network": {"name": "bench"}})["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.64.0.0/16"}
    admin.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
    image = {"name": "bench", "disk_format": "raw", "container_format": "bare"}
    image_id = admin.call("POST", "/image/v2/images", image)["id"]
    octets = {"Content-Type": "application/octet-stream"}
    admin.call("PUT", f"/image/v2/images/{image_id}/file", b"\0" * 1024, octets)
    flavor = {"name": "bench", "ram": 64, "vcpus": 1, "disk": 1}
    flavor_id = admin.call("POST", "/compute/v2.1/flavors", {"flavor": flavor})["flavor"]["id"]
    return network, image_id, flavor_id


async def scale(bench: Bench, size: int) -> None:
    """A cloud of its own nodes, as it grows."""
    with crowd(bench.cloud, NODES) as pid:
        figures = await Scale(bench.cloud, pid, size, *prepare(bench)).measure()
    add = bench.report.add
    for how in ("", ", asked one by one"):
        storm = f"storm of 1,000 servers on 100 nodes{how}"
        add(f"{storm}: placed", figures.pop(f"storm{how}: placed"), "/s", least=100)
        add(f"{storm}: all ACTIVE", figures.pop(f"storm{how}: active"), "s")
    for what, figure in figures.items():
        if what.endswith("made"):
            add(what, figure, "/s")
        else:
            add(what if what.endswith("each") else f"{what}, p50", figure, "ms")
    for what in ("page of 100 of {} ports", "page of 100 of {} servers", "one of {} servers"):
        small, large = (figures[what.format(count)] for count in (FIRST, size))
        add(f"{what.format(size)}: times as long as of {FIRST}", large / small, "", most=2)
    costs = [figure for what, figure in figures.items() if what[:7] == "servers" and what[-4:] == "each"]
    if len(costs) > 1:
        growth = f"a server more: its cost in the last {STORM} and in the first"
        add(growth, costs[-1] / costs[0], "times", most=1.5)


async def measure(bench: Bench, only: str) -> None:
    """All parts, or those that are named."""
    network, image, flavor = prepare(bench)
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "tokens": bench.tokens,
        "projects": bench.projects,
        "ports": lambda: bench.ports(network),
        "servers": lambda: bench.servers(network, image, flavor),
    }
    for name, part in parts.items():
        if not only or name in only.split(","):
            gc.collect()
            await part()


@contextmanager
def _cloud() -> Iterator[ProcessCloud]:
    with (
        tempfile.TemporaryDirectory(prefix="fabric-bench-") as directory,
        ProcessCloud(Path(directory), extra=UNLIMITED) as cloud,
    ):
        yield cloud


def main() -> None:
    """Start a cloud with fake drivers in a temporary directory, measure, and stop it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--only", default="", help="tokens,projects,ports,servers,scale,failover,guests,span,migration"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of operations")
    parser.add_argument("--size", type=int, default=SIZE, help="of the part scale: servers, and ports")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--report", action="store_true", help="write docs/performance.md")
    arguments = parser.parse_args()
    report = Report()
    print(f"{platform.platform()}, Python {platform.python_version()}\n")
    if arguments.only != "scale":
        with _cloud() as cloud:
            uvloop.run(measure(Bench(cloud, report, arguments.scale), arguments.only))
    if not arguments.only or "scale" in arguments.only.split(","):
        with _cloud() as cloud:
            uvloop.run(scale(Bench(cloud, report, arguments.scale), arguments.size))
    if not arguments.only or "failover" in arguments.only.split(","):
        report.add("a node dies: its servers run elsewhere", failover.measure(), "s", most=20)
    if os.geteuid() == 0 and (not arguments.only or "guests" in arguments.only.split(",")):
        figures = guests.measure()
        report.add("real guest: API call to the domain running, p50", figures["running_s"], "s", most=1.5)
        report.add("fabricctl up to the first guest that answers", figures["up_s"], "s", most=90)
    if os.geteuid() == 0 and (not arguments.only or "span" in arguments.only.split(",")):
        figures = span.measure()
        report.add("two guests' taps: one TCP connection over VXLAN", figures["vxlan"], "Gbit/s")
        report.add("the same namespaces, directly", figures["bare"], "Gbit/s")
        report.add("security group of 2,000: one more is let in", figures["member_s"], "s", most=1)
    if os.geteuid() == 0 and (not arguments.only or "migration" in arguments.only.split(",")):
        figures = migration.measure()
        report.add("live migration of a guest of 128 MiB: pause, p50", figures["pause_ms"], "ms", most=1000)
        report.add(
            "live migration of a guest of 128 MiB: from the call to its end, p50", figures["total_s"], "s"
        )
    if arguments.report:
        paper.write(report.rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(report.rows, indent=1))
    missed = [row[0] for row in report.rows if row[3] is False]
    print("\nall met" if not missed else f"\nmissed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
