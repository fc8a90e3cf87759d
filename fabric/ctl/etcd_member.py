"""The etcd of this machine as one of several: it follows the others until it knows what they do, then it votes."""

import asyncio

from fabric.ctl.plan import etcd_peer
from fabric.node.access import as_root
from fabric.node.member import ETCD
from fabric.runtime.config import Config
from fabric.runtime.etcd_members import Members


def ensure(config: Config, client: str) -> str:
    """The others expect the etcd of this machine, which will serve clients at host:port; all as [etcd] cluster has it.

    Raises FabricError.
    """

    async def call() -> str:
        async with as_root(config) as etcd:
            return await Members(etcd).ensure(config.node.name, f"https://{etcd_peer(client)}")

    return asyncio.run(call())


def ensure_vote(config: Config) -> None:
    """The etcd of this machine, which runs, counts when one of the others is lost. Raises FabricError."""

    async def call() -> None:
        async with as_root(config) as etcd:
            await Members(etcd).ensure_vote(config.node.name)

    if ETCD in config.node.roles and config.etcd.cluster:
        asyncio.run(call())
