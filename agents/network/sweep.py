"""Remove what is ours on the node and has had no want for the grace period."""

from collections.abc import Callable, Collection
from datetime import timedelta

import structlog

from agents.network.driver import Drivers, Holding
from agents.network.orphan import Orphans

log = structlog.get_logger(__name__)


class Sweep:
    """wanted: ids of all whose things may stay."""

    def __init__(self, drivers: Drivers, grace: timedelta, wanted: Callable[[], Collection[str]]) -> None:
        self._drivers = drivers
        self._orphans = Orphans(grace)
        self._wanted = wanted

    async def run(self) -> None:
        """One look."""
        drivers = self._drivers
        limited = [h for h in await drivers.qos.find() if h.kind == "shaper"]  # the others name only a start
        held = [
            *await drivers.switch.find(),
            *await drivers.dhcp.find(),
            *await drivers.router.find(),
            *limited,
        ]
        for holding in self._orphans.due(held, self._wanted()):
            log.warning("removing an orphan", kind=holding.kind, name=holding.name, owner=holding.owner_id)
            await self._remove(holding)
        if self._orphans.settled:
            await drivers.filter.forget_unknown()

    async def _remove(self, holding: Holding) -> None:
        drivers, owner_id = self._drivers, holding.owner_id
        if holding.owner_kind == "port":
            await drivers.switch.remove_port(owner_id)
            await drivers.qos.remove_port(owner_id)
        elif holding.owner_kind == "router":
            await drivers.router.remove(owner_id)
        else:
            await drivers.dhcp.remove(owner_id)
            await drivers.switch.remove_network(owner_id)
