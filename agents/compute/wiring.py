"""The compute agent as a part of fabric-agent."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from agents.compute.agent import ComputeAgent
from agents.compute.driver import ComputeDriver
from agents.compute.fake import FakeDriver, FakeSettings
from agents.compute.fetch import fetch_files
from agents.compute.image_cache import ImageCache
from agents.compute.libvirt import LibvirtDriver
from agents.compute.libvirtd import seen_from_outside
from agents.compute.node import Node
from agents.compute.rpc import ComputeNode
from agents.compute.send_copy import send_copy
from agents.compute.settings import ComputeSettings
from agents.fence import Fence, terms
from agents.image.fetch import fetch
from agents.running import Running, Servers, first_of
from fabric.compute.v1 import node_pb2, server_pb2
from fabric.runtime.cache import Cache
from fabric.runtime.config import Config
from fabric.runtime.node import Life, NodeCache, NodeStore, detail
from fabric.runtime.resource import methods
from fabric.runtime.rpc import Server
from fabric.type.v1 import holding_pb2


class Compute:
    """Built from the configuration; the driver and its connection outlive lives."""

    name = "compute"

    def __init__(self, running: Running) -> None:
        config = running.config
        self._running = running
        self._directory = config.node.state_dir / "compute"
        self._settings = ComputeSettings(
            availability_zone=config.node.availability_zone,
            connection_uri=config.compute.libvirt_uri,
            reserved_ram_mib=config.compute.reserved_ram_mib,
            stop_timeout=timedelta(seconds=config.compute.stop_timeout_s),
            soft_reboot_timeout=timedelta(seconds=config.compute.soft_reboot_timeout_s),
            orphan_grace=timedelta(seconds=config.agent.orphan_grace_s),
            migration_address=_migration_address(config),
            image_cache_max_age=timedelta(days=config.compute.image_cache_days),
        )
        self._is_fake = config.compute.driver == "fake"
        self._driver = self._fake() if self._is_fake else self._libvirt()
        self._fence = Fence(
            self._directory,
            terms(
                config,
                self.name,
                silent_s=config.agent.lease_ttl_s,
                fence_after_s=config.compute.fence_after_s,
            ),
            ("fake", str(self._directory / "fake"))
            if self._is_fake
            else ("libvirt", str(seen_from_outside(config.compute.libvirt_uri, "lib"))),
        )
        self._fence.begin()
        self._life: Life | None = None
        self._servers: Servers | None = None
        self._agent: ComputeAgent | None = None

    def register(self, server: Server) -> None:
        """Consoles; the files of servers that leave; passwords of guests."""
        node = ComputeNode(self._driver, self._check_ticket)
        service = node_pb2.DESCRIPTOR.services_by_name["ComputeNodeService"]
        server.add(service, methods(service, {}, node))

    async def detail(self) -> Mapping[str, object]:
        """The node's inventory, as the hypervisor tells it."""
        inventory = await self._driver.inventory()
        config = self._running.config
        inventory.host_ip = config.node.address
        inventory.cpu_allocation_ratio = config.compute.cpu_allocation_ratio
        inventory.ram_allocation_ratio = config.compute.ram_allocation_ratio
        inventory.disk_allocation_ratio = config.compute.disk_allocation_ratio
        inventory.availability_zone = self._settings.availability_zone
        return detail(inventory)

    def begin(self, life: Life) -> list[Cache]:
        """Stores of the servers that are bound here."""
        codec = self._running.codec
        wants = NodeCache(self._running.etcd, codec, "compute", self._running.config.node.name)
        servers = NodeStore(wants, life, codec, "servers", server_pb2.ServerWant, server_pb2.ServerStatus)
        self._running.servers = self._servers = servers
        self._life = life
        files = partial(fetch_files, identity=self._running.identity)
        self._agent = ComputeAgent(
            servers,
            self._driver,
            self._images(),
            self._settings,
            self._node(),
            fetch_files=files,
            send_copy=partial(send_copy, identity=self._running.identity),
            fence=self._fence,
        )
        self._running.passwords = self._agent.passwords
        return [wants.cache]

    async def work(self) -> None:
        """Reconcile, and say which servers end with our lease."""
        assert self._agent is not None
        assert self._life is not None
        life, panel = self._life, self._running.panel
        await first_of(
            asyncio.create_task(self._agent.run()),
            asyncio.create_task(
                self._fence.keep(lambda: life.renewed, self._fenced, panel, self._agent.wake)
            ),
        )

    def _fenced(self) -> list[str]:
        """The servers that may run here only while we have a lease."""
        assert self._servers is not None
        wants = {id_: self._servers.get(id_) for id_ in self._servers.ids()}
        return [id_ for id_, want in wants.items() if want is not None and want.fenced]

    async def holdings(self) -> list[holding_pb2.Holding]:
        """Domains and files with our mark."""
        return [
            holding_pb2.Holding(kind="domain", name=id_, owner_kind="servers", owner_id=id_)
            for id_ in await self._driver.ids()
        ]

    async def surrender(self) -> None:
        """All servers are off."""
        for id_ in await self._driver.ids():
            await self._driver.ensure_power(id_, server_pb2.ServerSpec.POWER_STOPPED)

    async def close(self) -> None:
        """Close the connection to libvirt."""
        if isinstance(self._driver, LibvirtDriver):
            self._driver.close()

    def _images(self) -> ImageCache | None:
        if self._is_fake:
            return None
        return ImageCache(
            self._directory / "images",
            partial(fetch, identity=self._running.identity),
            max_bytes=self._settings.image_cache_max_bytes,
            max_age=self._settings.image_cache_max_age,
        )

    def _node(self) -> Node:
        if self._running.config.network.driver == "fake":
            return Node(existing_taps=frozenset)  # nobody makes them: take them for granted
        return Node()

    def _fake(self) -> ComputeDriver:
        compute = self._running.config.compute
        return FakeDriver(
            FakeSettings(
                vcpus=compute.fake_vcpus,
                ram_mib=compute.fake_ram_mib,
                disk_gb=compute.fake_disk_gb,
                send_time=timedelta(seconds=compute.fake_send_s),
                directory=self._directory / "fake",
            )
        )

    def _libvirt(self) -> ComputeDriver:
        return LibvirtDriver(self._running.config.node.name, self._directory, self._settings)

    def _check_ticket(self, ticket: str, server_id: str, purpose: str) -> None:
        self._running.verifier.check(ticket, server=server_id, may=purpose)


def _migration_address(config: Config) -> str:
    """Guests are taken only from nodes that show a certificate."""
    listen = config.compute.migration_listen
    return f"qemu+tls://{listen}/system" if listen and config.tls.ca_file else ""
