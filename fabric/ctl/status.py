"""fabricctl status: what runs on this machine, and what the cloud holds."""

import argparse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from fabric.ctl.api import ApiError, Cloud, api_url, login
from fabric.ctl.health import checks
from fabric.ctl.place import Place
from fabric.ctl.plan import SUPERVISOR
from fabric.ctl.renewal import certificates
from fabric.runtime.certificate import Validity
from fabric.runtime.config import Config, load


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = "Exit status 0: everything is healthy."


def run(place: Place, _: argparse.Namespace) -> int:
    if not place.config.exists():
        print("there is no cloud here; `fabricctl up` makes one")
        return 3
    config = load(place.config)
    healthy = processes(place, config)
    if config.bootstrap.admin_password:
        print("\n" + "\n".join(contents(config)))
    for line in endings(place):
        print(f"\n{line}")
    print(f"\nAPI {api_url(config)}   configuration {place.config}   logs {place.logs}")
    return 0 if healthy else 1


def endings(place: Place) -> Iterator[str]:
    """A line for each certificate that should have been renewed for long."""
    now = datetime.now(UTC)
    for file in certificates(place):
        end = Validity.of(file).end
        if Validity.of(file).has_ended():
            yield f"WARNING {file} has ended at {end:%Y-%m-%d %H:%M:%S} UTC; docs/operating.md: Certificates"
        elif Validity.of(file).ends_soon(now):
            left = span((end - now).total_seconds())
            yield f"WARNING {file} ends in {left}; `fabricctl renew` says why"


def processes(place: Place, config: Config) -> bool:
    """Print a line a process; whether all are healthy."""
    desk = place.desk
    wanted = checks(place, config)
    with ThreadPoolExecutor(len(wanted)) as pool:
        health = dict(zip(wanted, pool.map(lambda check: check(), wanted.values()), strict=True))
    health[SUPERVISOR] = "ok" if desk.find(SUPERVISOR) else "does not run"
    print(f"{'process':<12} {'pid':>8} {'uptime':>12} {'memory':>10}  health")
    total = 0
    for name, verdict in health.items():
        process = desk.find(name)
        rss = process.rss_bytes() if process else 0
        total += rss
        columns = (
            (str(process.pid), span(process.uptime_s()), f"{rss / 2**20:.0f} MiB") if process else ("-",) * 3
        )
        print(f"{name:<12} {columns[0]:>8} {columns[1]:>12} {columns[2]:>10}  {verdict}")
    print(f"{'total':<12} {'':>8} {'':>12} {f'{total / 2**20:.0f} MiB':>10}")
    return all(verdict == "ok" for verdict in health.values())


def contents(config: Config) -> list[str]:
    """Nodes, agents and how many of what there is, as the public API tells the administrator."""
    try:
        cloud = login(config, "admin")
        return [*_agents(cloud), "", _counts(cloud)]
    except ApiError as error:
        return [f"the API does not tell: {error}"]


def _agents(cloud: Cloud) -> list[str]:
    lines = [f"{'node':<24} {'agent':<24} state"]
    for service in cloud.get("compute", "/os-services")["services"]:
        lines.append(f"{service['host']:<24} {service['binary']:<24} {service['state']}, {service['status']}")
    for agent in cloud.get("network", "/v2.0/agents")["agents"]:
        state = "up" if agent["alive"] else "down"
        lines.append(f"{agent['host']:<24} {agent['binary']:<24} {state}")
    return lines


def _counts(cloud: Cloud) -> str:
    servers = cloud.get("compute", "/servers/detail?all_tenants=1")["servers"]
    states = Counter(server["status"].lower() for server in servers)
    what = {
        "projects": len(cloud.get("identity", "/projects")["projects"]),
        "users": len(cloud.get("identity", "/users")["users"]),
        "images": len(cloud.get("image", "/v2/images")["images"]),
        "networks": len(cloud.get("network", "/v2.0/networks")["networks"]),
        "ports": len(cloud.get("network", "/v2.0/ports")["ports"]),
        "servers": len(servers),
    }
    counts = ", ".join(f"{count} {name}" for name, count in what.items())
    return counts + (
        f" ({', '.join(f'{count} {state}' for state, count in states.items())})" if states else ""
    )


def span(seconds: float) -> str:
    """3 d 04:05:06"""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hour:02}:{minute:02}:{second:02}"
