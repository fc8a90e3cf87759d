"""The network service and its gateway in one process, on a real etcd: driven over real HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import requests
import uvicorn

from fabric.network import controller, policies, service
from fabric.network.collection import COLLECTIONS, LIMITS
from fabric.runtime.caller import Caller
from fabric.runtime.client import Client
from fabric.runtime.codec import Codec
from fabric.runtime.config import Config
from fabric.runtime.errors import Unauthenticated
from fabric.runtime.etcd import Change, Etcd
from fabric.runtime.policy import Policy
from fabric.runtime.rpc import Server
from fabric.runtime.store import Store
from gateway.core.app import application
from gateway.core.upstream import Upstream
from gateway.network.api import API
from tests.functional.etcd import free_port

IMPLIED = {
    "admin": ("admin", "manager", "member", "reader"),
    "manager": ("manager", "member", "reader"),
    "member": ("member", "reader"),
    "reader": ("reader",),
    "service": ("service",),
}


def authenticate(token: str) -> Caller:
    """A token is <project>.<role>."""
    project, dot, role = token.partition(".")
    if not dot:
        raise Unauthenticated("The request you have made requires authentication.")
    return Caller(user_id=f"user of {token}", project_id=project, roles=frozenset(IMPLIED[role]), token=token)


@dataclass(frozen=True)
class Settings:
    public_url: str = ""
    catalog_url: str = ""
    cors_origins: tuple[str, ...] = ()
    network_path: str = "/network"


@dataclass
class Cloud:
    url: str
    store: Store
    client: Client
    leading: dict[str, asyncio.Future[None]]  # the loops of the one controller, by name
    sessions: dict[str, requests.Session] = field(default_factory=dict)

    async def call(
        self, method: str, path: str, body: Any = None, *, token: str = "p1.member", **arguments: Any
    ) -> requests.Response:
        """One HTTP call below /v2.0, in a thread; path may be a whole URL."""
        session = self.sessions.setdefault(token, requests.Session())
        headers = {"X-Auth-Token": token, **arguments.pop("headers", {})}
        url = path if path.startswith("http") else f"{self.url}/v2.0{path}"
        return await asyncio.to_thread(
            lambda: session.request(method, url, headers=headers, json=body, timeout=30, **arguments)
        )

    async def make(self, noun: str, *, token: str = "p1.member", **attributes: Any) -> dict[str, Any]:
        """A new resource."""
        reply = await self.call("POST", f"/{_path(noun)}", {noun: attributes}, token=token)
        assert reply.status_code == 201, reply.text
        made: dict[str, Any] = reply.json()[noun]
        return made

    async def show(self, noun: str, id_: str, *, token: str = "p1.member") -> dict[str, Any]:
        reply = await self.call("GET", f"/{_path(noun)}/{id_}", token=token)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()[noun]
        return found

    async def find(self, noun: str, query: str = "", *, token: str = "p1.member") -> list[dict[str, Any]]:
        reply = await self.call("GET", f"/{_path(noun)}?{query}", token=token)
        assert reply.status_code == 200, reply.text
        found: list[dict[str, Any]] = reply.json()[f"{noun}s"]
        return found

    async def put(
        self, noun: str, id_: str, *, token: str = "p1.member", **attributes: Any
    ) -> dict[str, Any]:
        reply = await self.call("PUT", f"/{_path(noun)}/{id_}", {noun: attributes}, token=token)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()[noun]
        return found

    async def delete(self, noun: str, id_: str, *, token: str = "p1.member") -> None:
        reply = await self.call("DELETE", f"/{_path(noun)}/{id_}", token=token)
        assert reply.status_code == 204, reply.text

    async def refused(
        self, status: int, kind: str, method: str, path: str, body: Any = None, **arguments: Any
    ) -> str:
        """The message of a call that must fail with this status and NeutronError type."""
        reply = await self.call(method, path, body, **arguments)
        assert reply.status_code == status, reply.text
        error = reply.json()["NeutronError"]
        assert error["type"] == kind, error
        assert set(error) == {"type", "message", "detail"}
        return str(error["message"])

    async def network(
        self, *cidrs: str, token: str = "p1.member", **attributes: Any
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A network with subnets."""
        network = await self.make("network", token=token, **{"name": "net"} | attributes)
        subnets = [
            await self.make(
                "subnet", token=token, network_id=network["id"], ip_version=6 if ":" in cidr else 4, cidr=cidr
            )
            for cidr in cidrs
        ]
        return network, subnets

    async def depose(self, loop: str) -> None:
        """The loop's leader is gone."""
        task = self.leading.pop(loop)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def succeeded(self, loop: str) -> AsyncIterator[None]:
        """Another controller, with a memory of its own, leads the loop."""
        store = _store(self.store.etcd)
        running: list[asyncio.Future[None]] = [asyncio.create_task(store.run())]
        await store.cache.ready.wait()
        running.append(asyncio.ensure_future(controller.loops(store, Config(), self.client)[loop]()))
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


async def until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    """Return when it is true."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def _path(noun: str) -> str:
    below = "metering/" if noun.startswith("metering_") else ""
    return f"{below}{noun.replace('_', '-')}s"


def _store(etcd: Etcd) -> Store:
    return Store(etcd, Codec(), COLLECTIONS, limits=LIMITS)


@contextlib.asynccontextmanager
async def a_cloud(endpoint: str) -> AsyncIterator[Cloud]:
    """An empty network service."""
    etcd = Etcd([endpoint])
    for kv in (await etcd.scan("/fabric/"))[0]:
        await etcd.commit(Change(delete={kv.key}))
    config = Config()
    store = _store(etcd)
    server = Server(authenticate=authenticate, freshness=store)
    rpc_port = free_port()
    client = Client(
        f"127.0.0.1:{rpc_port}", service_token=lambda: "service.service", revision=store.revision, here=server
    )
    service.register(server, store, Policy(policies.RULES), config, client)
    following = asyncio.create_task(store.run())
    await store.cache.ready.wait()
    works = controller.loops(store, config, client)
    leading: dict[str, asyncio.Future[None]] = {
        name: asyncio.ensure_future(work()) for name, work in works.items()
    }
    await server.start(f"127.0.0.1:{rpc_port}")
    port = free_port()
    upstream = Upstream([f"127.0.0.1:{rpc_port}"])
    app = application([API], upstream, Settings())
    web = uvicorn.Server(
        uvicorn.Config(
            app, host="127.0.0.1", port=port, log_config=None, access_log=False, http="httptools", ws="none"
        )
    )
    serving = asyncio.create_task(web.serve())
    while not web.started:
        await asyncio.sleep(0.01)
    cloud = Cloud(f"http://127.0.0.1:{port}/network", store, client, leading)
    try:
        yield cloud
    finally:
        for session in cloud.sessions.values():
            session.close()
        web.should_exit = True
        await serving
        await upstream.close()
        await server.stop(0)
        running = [following, *leading.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await client.close()
        await etcd.close()
