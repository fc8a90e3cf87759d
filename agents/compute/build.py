"""The compute agent put together from its parts.

store = NodeStore(cache, life, codec, "servers", pb.ServerWant, pb.ServerStatus)   # service "compute"
compute = build("libvirt", node, Path("/var/lib/fabric/compute"), store, fetch, ComputeSettings(...))
detail = await compute.driver.inventory()       # for Life.detail
...                                             # the cache has listed once
tasks.create_task(compute.agent.run())          # until LeaseLost or cancelled
add_ComputeNodeServiceServicer_to_server(ComputeNode(compute.driver, check_ticket), server)
compute.close()                                 # at the end; guests run on
"""

from dataclasses import dataclass
from pathlib import Path

from agents.compute.agent import ComputeAgent, Node, Servers
from agents.compute.driver import ComputeDriver
from agents.compute.fake import FakeDriver
from agents.compute.image_cache import Fetch, ImageCache
from agents.compute.libvirt import LibvirtDriver
from agents.compute.settings import ComputeSettings


@dataclass
class Compute:
    """What a node has of compute."""

    agent: ComputeAgent
    driver: ComputeDriver

    def close(self) -> None:
        """Let go of the hypervisor."""
        if isinstance(self.driver, LibvirtDriver):
            self.driver.close()


def build(
    driver: str,
    node: str,
    directory: Path,
    store: Servers,
    fetch: Fetch,
    settings: ComputeSettings,
    machine: Node | None = None,
) -> Compute:
    """driver: libvirt or fake. directory: holds servers/ and images/, on one file system."""
    if driver == "fake":
        fake = FakeDriver()
        return Compute(ComputeAgent(store, fake, None, settings, machine), fake)
    if driver != "libvirt":
        raise ValueError(f"there is no compute driver {driver}; there are libvirt and fake")
    real = LibvirtDriver(node, directory, settings)
    images = ImageCache(
        directory / "images",
        fetch,
        max_bytes=settings.image_cache_max_bytes,
        max_age=settings.image_cache_max_age,
    )
    return Compute(ComputeAgent(store, real, images, settings, machine), real)
