"""The nodes of the cloud: killed, brought back, and asked what really runs on them."""

import threading
from collections.abc import Callable
from pathlib import Path

from agents.compute.driver import RUNNING
from agents.compute.shelf import Shelf
from agents.fence import Paths
from tests.processes import ProcessCloud, wait_for

PROCESSES = {"node1": "agent", "node2": "node2", "node3": "node3"}


class Nodes:
    """A killed agent leaves its domains running, as a killed process leaves QEMU."""

    def __init__(self, cloud: ProcessCloud) -> None:
        self.cloud = cloud
        self._down: set[str] = set()

    def kill(self, node: str) -> None:
        """The agent's process ends; what it started runs on."""
        self.cloud.kill(PROCESSES[node])
        self._down.add(node)

    def power_off(self, node: str) -> None:
        """The machine is gone with all that ran on it."""
        self.kill(node)
        for server_id, domain in self.shelf(node).items():
            if domain.found.power == RUNNING:
                del self.shelf(node)[server_id]

    def start(self, node: str) -> None:
        self.cloud.start_process(PROCESSES[node])
        self._down.discard(node)

    def heal(self) -> None:
        for node in sorted(self._down):
            self.start(node)

    def shelf(self, node: str) -> Shelf:
        state = "state" if node == "node1" else node
        return Shelf(Path(self.cloud.directory) / state / "compute" / "fake")

    def holding(self, server_id: str) -> list[str]:
        """The nodes that have anything of the server."""
        return [node for node in PROCESSES if server_id in self.shelf(node)]

    def running(self, server_id: str) -> list[str]:
        """The nodes on which the server runs."""
        shelves = {node: self.shelf(node).get(server_id) for node in PROCESSES}
        return [node for node, d in shelves.items() if d is not None and d.found.power == RUNNING]

    def fenced(self, node: str) -> list[str]:
        """The servers that the node's guard looks after."""
        state = "state" if node == "node1" else node
        manifest = Paths(Path(self.cloud.directory) / state / "compute").read()
        return [] if manifest is None else manifest.held

    def watch(self, server_id: str) -> "Watch":
        """Look from now on at where the server runs."""
        return Watch(lambda: len(self.running(server_id)))

    def settles_on(self, server_id: str, node: str) -> None:
        """Return when this node and no other has anything of the server."""
        wait_for(lambda: self.holding(server_id) == [node], 30, f"{server_id} on {node} only")


class Watch:
    """How many copies were ever seen at once, until it is asked."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._over = threading.Event()
        self._most = 0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def most(self) -> int:
        self._over.set()
        self._thread.join()
        return self._most

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self._most = max(self._most, self._count())
