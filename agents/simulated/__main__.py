"""python -m agents.simulated: many nodes in one process; the real agents, with drivers that only remember.

Each node has its own leases, stores and gRPC server, as fabric-agent has. They share the process, the connection to
etcd and the certificate. With more than 15 the leases last longer, so a node is found dead later.
"""

import argparse
import asyncio
from dataclasses import replace
from functools import partial

from agents.compose import run_nodes
from fabric.runtime import process
from fabric.runtime.config import Config

KINDS = ["compute", "network"]
_FENCE_AFTER_LEASE_S = 2.0
_NODES_A_SECOND = 5  # of lease time: so that a busy process loses none, and renews 40 a second at most


def main() -> None:
    """python -m agents.simulated --config FILE --nodes N --prefix NAME."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100, help="how many (100)")
    parser.add_argument("--prefix", default="sim", help="of their names (sim)")
    given = argparse.Namespace()
    process.main("fabric-simulated", "", partial(_run, given), parser, given)


async def _run(given: argparse.Namespace, config: Config, stop: asyncio.Event) -> None:
    names = [f"{given.prefix}{number:04}" for number in range(1, given.nodes + 1)]
    lease_ttl_s = max(config.agent.lease_ttl_s, given.nodes // _NODES_A_SECOND)
    config = replace(config, agent=replace(config.agent, lease_ttl_s=lease_ttl_s))
    fence_after_s = max(config.compute.fence_after_s, lease_ttl_s + _FENCE_AFTER_LEASE_S)
    evacuate_after_s = max(config.compute.evacuate_after_s, fence_after_s + 1)  # of controllers: not these
    compute = replace(config.compute, fence_after_s=fence_after_s, evacuate_after_s=evacuate_after_s)
    config = replace(config, compute=compute)
    await run_nodes([simulated(config, name) for name in names], stop=stop)


def simulated(config: Config, name: str) -> Config:
    """The configuration of one of them."""
    host = config.agent.listen.rpartition(":")[0]
    return replace(
        config,
        node=replace(config.node, name=name, state_dir=config.node.state_dir / name),
        agent=replace(config.agent, kinds=KINDS, listen=f"{host}:0"),
        compute=replace(config.compute, driver="fake"),
        network=replace(config.network, driver="fake", physical_networks={}),
    )


if __name__ == "__main__":
    main()
