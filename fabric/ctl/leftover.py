"""What processes leave behind in the kernel, taken away when the cloud stops."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from agents.compute.stray import qemus_below
from agents.fence import Paths
from agents.network.driver import Drivers
from agents.network.filter_model import TABLES
from agents.network.libnftables import Nftables
from agents.network.limit import TABLE as QOS_TABLE
from agents.network.real import real_drivers
from agents.network.settings import NetworkSettings
from fabric.runtime.config import Config


def dismiss_guards(config: Config) -> None:
    """They end when nothing is written down for them."""
    for kind in ("compute", "network"):
        Paths(config.node.state_dir / kind).manifest.unlink(missing_ok=True)


def remove_networks(config: Config, say: Callable[[str], None]) -> None:
    """Filters, limits, DHCP servers, taps, bridges, routers, namespaces; the agent makes them again as declared."""
    if config.network.driver != "linux" or os.geteuid() != 0:
        return
    settings = NetworkSettings(physical_networks=config.network.physical_networks)
    removed = asyncio.run(_remove(real_drivers(settings, config.node.state_dir / "network")))
    if removed:
        say(f"removed {removed} taps, bridges, routers, namespaces, DHCP servers and filters")


async def _remove(drivers: Drivers) -> int:
    """Through the agent's own drivers, who know what is theirs. Returns how many things there were."""
    dhcp, switch, routers = (
        await drivers.dhcp.find(),
        await drivers.switch.find(),
        await drivers.router.find(),
    )
    for router_id in {holding.owner_id for holding in routers}:
        await drivers.router.remove(router_id)
    for holding in dhcp:
        await drivers.dhcp.remove(holding.owner_id)
    for holding in switch:
        if holding.owner_kind == "port":
            await drivers.switch.remove_port(holding.owner_id)
    for network_id in {holding.owner_id for holding in switch if holding.owner_kind == "network"}:
        await drivers.switch.remove_network(network_id)
    limits = await drivers.qos.find()
    for holding in limits:
        if holding.kind == "shaper":
            await drivers.qos.remove_port(holding.owner_id)
    filters = await drivers.filter.find()
    await drivers.close()
    await asyncio.to_thread(_remove_tables)
    return len(dhcp) + len(switch) + len(routers) + len(limits) + len(filters)


def _remove_tables() -> None:
    """Ours as a whole; the filter driver empties them, but keeps them while it lives."""
    kernel = Nftables()
    try:
        kernel.apply(
            "\n".join(
                f"add table {family} {name}\ndelete table {family} {name}"
                for family, name in (*TABLES, QOS_TABLE)
            )
        )
    finally:
        kernel.close()


def kill_qemus(libvirt_directory: Path) -> None:
    """Guests whose libvirtd is gone."""
    for pid in qemus_below(libvirt_directory):
        os.kill(pid, signal.SIGKILL)
