"""The nodes of the cloud: killed, brought back, and asked what really runs on them."""

from pathlib import Path

from agents.compute.driver import RUNNING
from agents.compute.shelf import Shelf
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

    def settles_on(self, server_id: str, node: str) -> None:
        """Return when this node and no other has anything of the server."""
        wait_for(lambda: self.holding(server_id) == [node], 20, f"{server_id} on {node} only")
