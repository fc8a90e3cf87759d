"""What every kind of agent is given, and what it offers to the process that runs it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.compute.guest_password import GuestPasswords
from fabric.compute.v1 import server_pb2
from fabric.runtime.cache import Cache
from fabric.runtime.codec import Codec
from fabric.runtime.config import Config
from fabric.runtime.etcd import Etcd
from fabric.runtime.node import Life, NodeStore
from fabric.runtime.rpc import Server
from fabric.runtime.ticket import Verifier
from fabric.runtime.tls import Identity
from fabric.type.v1 import holding_pb2

Servers = NodeStore[server_pb2.ServerWant, server_pb2.ServerStatus]


@dataclass
class Running:
    """The node's process: shared by its kinds."""

    config: Config
    etcd: Etcd
    codec: Codec
    verifier: Verifier
    identity: Identity | None  # shown to other nodes' agents
    panel: Callable[[], Mapping[str, str]]  # node -> its agent's address
    servers: Servers | None = field(default=None)  # the node's servers, while its compute agent lives
    passwords: GuestPasswords | None = field(default=None)  # of these servers
    lives: dict[str, Life] = field(default_factory=dict)  # by agent


class Kind(Protocol):
    """One kind of agent: compute, network, image."""

    name: str

    def register(self, server: Server) -> None:
        """Offer its gRPC services."""

    async def detail(self) -> Mapping[str, object]:
        """What its life sign tells: its inventory. Raises Unavailable while it cannot be known."""

    def begin(self, life: Life) -> list[Cache]:
        """Begin a life: make the stores anew; returns the caches that must have listed before work()."""

    async def work(self) -> None:
        """Reconcile until cancelled. Raises LeaseLost."""

    async def holdings(self) -> list[holding_pb2.Holding]:
        """What it holds of the machine, whatever is wanted."""

    async def surrender(self) -> None:
        """End what runs here, since the node is no part of the cloud any more. Raises Unavailable."""

    async def close(self) -> None:
        """Let go of what outlives lives: connections, never what runs on the node."""


async def first_of(*tasks: asyncio.Task[Any]) -> None:
    """Wait for the first task that ends, cancel the others, and raise what it raised."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
