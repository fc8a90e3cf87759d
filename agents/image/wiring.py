"""The image agent as a part of fabric-agent."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from agents.image.agent import ImageAgent, Images
from agents.image.directory import DirectoryStore
from agents.image.service import ImageStoreRpcs
from agents.running import Running
from fabric.image.v1 import image_pb2 as pb
from fabric.runtime.cache import Cache
from fabric.runtime.node import Life, NodeCache, NodeStore
from fabric.runtime.rpc import Server
from fabric.type.v1 import holding_pb2


class Image:
    """Built from the configuration; the agent and its streams outlive lives."""

    name = "image"

    def __init__(self, running: Running) -> None:
        config = running.config
        self._running = running
        directory = (
            Path(config.image.directory) if config.image.directory else config.node.state_dir / "images"
        )
        self._driver = DirectoryStore(directory)
        self._agent = ImageAgent(
            self._driver,
            orphan_grace=timedelta(seconds=config.agent.orphan_grace_s),
            identity=running.identity,
        )
        self._store: Images | None = None

    def register(self, server: Server) -> None:
        """Streams of bytes."""
        ImageStoreRpcs(self._agent, self._driver, self._running.verifier).add_to(server)

    async def detail(self) -> Mapping[str, object]:
        """How much room there is when the life begins."""
        return {"free_bytes": await self._driver.free_bytes()}

    def begin(self, life: Life) -> list[Cache]:
        """The images whose bytes are bound here."""
        codec = self._running.codec
        wants = NodeCache(self._running.etcd, codec, "image", self._running.config.node.name)
        self._store = NodeStore(wants, life, codec, "images", pb.Image, pb.ImageStatus)
        return [wants.cache]

    async def work(self) -> None:
        """Reconcile."""
        assert self._store is not None
        await self._agent.run(self._store)

    async def holdings(self) -> list[holding_pb2.Holding]:
        """The blobs in the directory."""
        return [
            holding_pb2.Holding(
                kind="image blob", name=id_, owner_kind="images", owner_id=id_.partition(".")[0]
            )
            for id_ in await self._driver.ids()
        ]

    async def surrender(self) -> None:
        """Nothing runs."""

    async def close(self) -> None:
        """Break off streams."""
        await self._agent.close()
