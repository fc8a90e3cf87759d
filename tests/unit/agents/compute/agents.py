"""A compute agent on a fake node whose time and taps the test makes."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from agents.compute.agent import ComputeAgent, no_images
from agents.compute.driver import ComputeDriver
from agents.compute.fake import FakeDriver
from agents.compute.image_cache import ImageCache
from agents.compute.node import Node
from agents.compute.settings import ComputeSettings
from agents.compute.snapshot import SendCopy
from fabric.compute.v1 import server_pb2 as pb
from tests.unit.agents.node_store import MemoryNodeStore

Store = MemoryNodeStore[pb.ServerWant, pb.ServerStatus]


@dataclass
class FakeMachine:
    now: float = 1000.0
    boot_id: str = "boot-1"
    taps: set[str] | None = None  # None: whatever is asked for exists
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def existing_taps(self, names: Iterable[str]) -> frozenset[str]:
        return frozenset(name for name in names if self.taps is None or name in self.taps)

    async def tap_changes(self) -> AsyncIterator[None]:
        while True:
            await self.changed.wait()
            self.changed.clear()
            yield

    def node(self) -> Node:
        return Node(
            boot_id=self.boot_id,
            existing_taps=self.existing_taps,
            tap_changes=self.tap_changes,
            clock=lambda: self.now,
        )


@dataclass
class Bench:
    """Everything that a test of the agent touches."""

    store: Store = field(default_factory=Store)
    fake: FakeDriver = field(default_factory=FakeDriver)
    machine: FakeMachine = field(default_factory=FakeMachine)
    settings: ComputeSettings = field(default_factory=ComputeSettings)
    images: ImageCache | None = None
    driver: ComputeDriver | None = None
    send_copy: SendCopy = no_images

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """The agent forgets all that it only remembers."""
        self.agent = ComputeAgent(
            self.store,
            self.driver or self.fake,
            self.images,
            self.settings,
            self.machine.node(),
            send_copy=self.send_copy,
        )

    async def settle(
        self, server_id: str, *, patience: timedelta = timedelta(minutes=10)
    ) -> timedelta | None:
        """Reconcile, letting the time pass that the agent asks for, until it wants to wait for a change."""
        until = self.machine.now + patience.total_seconds()
        for _ in range(1000):
            again = await self.agent.reconcile(server_id)
            if again is None or self.machine.now >= until:
                return again
            self.machine.now += again.total_seconds()
            await asyncio.sleep(0)
        raise AssertionError("the agent does not come to rest")

    def status(self, server_id: str) -> pb.ServerStatus:
        status = self.store.status(server_id)
        assert status is not None
        return status
