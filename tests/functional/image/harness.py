"""A controller, an image agent and a gateway in one process, on a real etcd: driven over real HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import requests
import uvicorn
from cryptography.fernet import Fernet

from agents.image.agent import ImageAgent
from agents.image.directory import DirectoryStore
from agents.image.download import Downloader
from agents.image.service import ImageStoreRpcs
from agents.running import first_of
from fabric.image import controller, policies, service
from fabric.image.collection import COLLECTIONS, LIMITS
from fabric.image.v1 import image_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.client import Client
from fabric.runtime.codec import Codec
from fabric.runtime.config import Bootstrap, Config, Controller, Image
from fabric.runtime.errors import LeaseLost, Unauthenticated, Unavailable
from fabric.runtime.etcd import Change, Etcd
from fabric.runtime.node import Life, NodeCache, NodeStore
from fabric.runtime.policy import Policy
from fabric.runtime.rpc import Server
from fabric.runtime.store import Store
from fabric.runtime.ticket import Signer, Verifier
from fabric.type.v1 import node_pb2
from gateway.core.app import application
from gateway.core.upstream import Upstream
from gateway.image.api import API
from tests.functional.etcd import free_port

MAX_BYTES = 20 << 20
RAW = {"disk_format": "raw", "container_format": "bare"}


def authenticate(token: str) -> Caller:
    """A token is <project>.<role>."""
    project, dot, role = token.partition(".")
    if not dot:
        raise Unauthenticated("The request you have made requires authentication.")
    implied = {"admin": ("admin", "member", "reader"), "member": ("member", "reader"), "reader": ("reader",)}
    return Caller(user_id=f"user of {token}", project_id=project, roles=frozenset(implied[role]), token=token)


@dataclass(frozen=True)
class Settings:
    public_url: str = ""
    catalog_url: str = ""
    cors_origins: tuple[str, ...] = ()
    image_path: str = "/image"


class Agent:
    """The image agent of a node; it can be killed and started again on its directory."""

    def __init__(self, etcd: Etcd, directory: Path, verifier: Verifier, node: str = "node1") -> None:
        self._etcd, self.verifier, self.node = etcd, verifier, node
        self.driver = DirectoryStore(directory)
        self.directory = directory
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        everywhere = Downloader(allowed=lambda _: True)
        self.agent = ImageAgent(self.driver, everywhere, orphan_grace=timedelta(seconds=1))
        self._server = Server()
        ImageStoreRpcs(self.agent, self.driver, self.verifier, everywhere).add_to(self._server)
        await self._server.start("127.0.0.1:0")
        self._working = asyncio.Event()
        self._tasks = [asyncio.create_task(self._live())]
        await self._working.wait()

    async def _live(self) -> None:
        """One life after the other, as fabric-agent does it."""
        while True:
            with contextlib.suppress(LeaseLost, Unavailable):
                await self._one_life()
            await asyncio.sleep(0.1)

    async def _one_life(self) -> None:
        codec = Codec()
        sign = node_pb2.Life(node=self.node, agent="image", address=f"127.0.0.1:{self._server.port}")
        life = Life(self._etcd, codec, sign, ttl_s=2)
        cache = NodeCache(self._etcd, codec, "image", self.node)
        store: NodeStore[pb.Image, pb.ImageStatus] = NodeStore(
            cache, life, codec, "images", pb.Image, pb.ImageStatus
        )
        ready = asyncio.Event()

        async def work() -> None:
            await ready.wait()
            await cache.cache.ready.wait()
            self._working.set()
            await self.agent.run(store)

        await first_of(
            asyncio.create_task(life.hold(ready)),
            asyncio.create_task(cache.cache.run()),
            asyncio.create_task(work()),
        )

    async def kill(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop(0)
        await self.agent.close()

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())


@dataclass
class Cloud:
    url: str
    store: Store
    agent: Agent
    sessions: dict[str, requests.Session] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, *, token: str = "p1.member", **arguments: Any
    ) -> requests.Response:
        """One HTTP call, in a thread."""
        session = self.sessions.setdefault(token, requests.Session())
        headers = {"X-Auth-Token": token, "Accept": "application/json", **arguments.pop("headers", {})}
        return await asyncio.to_thread(
            lambda: session.request(method, self.url + path, headers=headers, timeout=30, **arguments)
        )

    async def image(
        self, *, token: str = "p1.member", data: bytes | None = None, **body: Any
    ) -> dict[str, Any]:
        """A new image, with data when there is some."""
        reply = await self.call("POST", "/v2/images", token=token, json=RAW | body)
        assert reply.status_code == 201, reply.text
        id_ = reply.json()["id"]
        if data is not None:
            sent = await self.upload(id_, data, token=token)
            assert sent.status_code == 204, sent.text
        return await self.show(id_, token=token)

    async def upload(self, id_: str, data: Any, *, token: str = "p1.member") -> requests.Response:
        headers = {"Content-Type": "application/octet-stream"}
        return await self.call("PUT", f"/v2/images/{id_}/file", token=token, data=data, headers=headers)

    async def show(self, id_: str, *, token: str = "p1.member") -> dict[str, Any]:
        reply = await self.call("GET", f"/v2/images/{id_}", token=token)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    async def patch(self, id_: str, *operations: Any, token: str = "p1.member") -> requests.Response:
        headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        return await self.call(
            "PATCH", f"/v2/images/{id_}", token=token, json=list(operations), headers=headers
        )

    async def until(self, id_: str, status: str, *, token: str = "p1.member", within_s: float = 30.0) -> None:
        """Wait for the image to have the status."""
        async with asyncio.timeout(within_s):
            while (await self.show(id_, token=token))["status"] != status:
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def a_cloud(endpoint: str, directory: Path) -> AsyncIterator[Cloud]:
    """An empty image service."""
    etcd = Etcd([endpoint])
    for kv in (await etcd.scan("/fabric/"))[0]:
        await etcd.commit(Change(delete={kv.key}))
    key_file = directory / "master.key"
    key_file.write_bytes(Fernet.generate_key() + b"\n")
    config = Config(
        controller=Controller(master_key_file=str(key_file)),
        bootstrap=Bootstrap(region="RegionOne"),
        image=Image(max_bytes=MAX_BYTES),
    )
    store = Store(etcd, Codec([key_file.read_bytes().strip()]), COLLECTIONS, limits=LIMITS)
    server = Server(authenticate=authenticate, freshness=store)
    client = Client("127.0.0.1:1")
    service.register(server, store, Policy(policies.RULES), config, client)
    running = [asyncio.create_task(store.run())]
    await store.cache.ready.wait()
    running += [asyncio.ensure_future(work()) for work in controller.loops(store, config, client).values()]
    await server.start("127.0.0.1:0")
    agent = Agent(etcd, directory / "images", Verifier(Signer.of(key_file).public_key))
    await agent.start()
    port = free_port()
    app = application([API], Upstream([f"127.0.0.1:{server.port}"]), Settings())
    web = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=port, log_config=None, access_log=False, http="httptools", ws="none"
        )
    )
    serving = asyncio.create_task(web.serve())
    while not web.started:
        await asyncio.sleep(0.01)
    cloud = Cloud(f"http://127.0.0.1:{port}/image", store, agent)
    try:
        yield cloud
    finally:
        for session in cloud.sessions.values():
            session.close()
        web.should_exit = True
        await serving
        await agent.kill()
        await server.stop(0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await client.close()
        await etcd.close()
