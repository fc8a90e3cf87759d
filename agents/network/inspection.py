"""All that the network agent holds on this node, with its owners: for `fabricctl sweep`.

        inspection = Inspection(state_dir / "network") for holding in await inspection.holdings(): ...  #
        holding.kind, holding.name, holding.owner_kind, holding.owner_id (a whole id or, for filters, its
        start) await inspection.close()

It reads only, works whether or not an agent runs, and needs the node's network and mount namespaces (and
root).
"""

from pathlib import Path

from agents.network.driver import Holding
from agents.network.real import real_drivers
from agents.network.settings import NetworkSettings


class Inspection:
    """One look costs a dump of the links, of our two nftables tables and of the state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._drivers = real_drivers(NetworkSettings(), state_dir)

    async def holdings(self) -> list[Holding]:
        """Bridges, links, taps, tunnels, namespaces, filters, sets, DHCP servers and limits."""
        return await self._drivers.find()

    async def close(self) -> None:
        await self._drivers.close()
