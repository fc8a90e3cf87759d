"""Services of the agent's event loop that listen inside the namespaces of networks."""

import contextlib
from abc import ABC, abstractmethod

from agents.network import name, netns


class Inside(ABC):
    """They come back with the agent, and a namespace that was made anew is listened in anew."""

    def __init__(self) -> None:
        # with the namespace's inode
        self._open: dict[str, tuple[int, contextlib.ExitStack]] = {}

    @abstractmethod
    async def _begin(self, network_id: str, namespace: str, opened: contextlib.ExitStack) -> None:
        """Listen; what has been opened is closed when this fails, or when it is no longer wanted."""

    async def ensure(self, network_id: str) -> None:
        """Listen in the network's namespace. Raises FileNotFoundError: there is none; OSError."""
        namespace = name.namespace(network_id)
        inode = (netns.RUN / namespace).stat().st_ino
        if network_id in self._open and self._open[network_id][0] == inode:
            return
        await self.remove(network_id)
        with contextlib.ExitStack() as opened:
            await self._begin(network_id, namespace, opened)
            self._open[network_id] = (inode, opened.pop_all())

    async def remove(self, network_id: str) -> None:
        """Stop listening; open connections end by themselves."""
        if network_id in self._open:
            self._open.pop(network_id)[1].close()

    async def close(self) -> None:
        for network_id in list(self._open):
            await self.remove(network_id)
