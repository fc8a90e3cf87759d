"""Keep the routers that live on this node as they are wanted."""

from collections.abc import Collection
from datetime import timedelta

import structlog

from agents.fence import Fence
from agents.network.advertiser import Advertiser
from agents.network.driver import RouterDriver
from agents.network.meter import Meters
from fabric.network.v1 import router_pb2
from fabric.runtime.errors import FabricError
from fabric.runtime.node import NodeStore

log = structlog.get_logger(__name__)

_ANNOUNCED_AGAIN = timedelta(seconds=1)

Status = router_pb2.RouterStatus
Store = NodeStore[router_pb2.RouterWant, router_pb2.RouterStatus]


class Routers:
    """Its reconcile function, and who is woken when a network comes to the node."""

    def __init__(
        self,
        store: Store,
        driver: RouterDriver,
        meters: Meters,
        networks: Collection[str],
        advertiser: Advertiser | None,
        fence: Fence | None = None,
    ) -> None:
        """networks: ids of those whose bridge is there; advertiser: None where nothing can be heard."""
        self._store = store
        self._driver = driver
        self._meters = meters
        self._networks = networks
        self._advertiser = advertiser
        self._fence = fence
        self._on: dict[str, set[str]] = {}  # router -> its networks

    async def reconcile(self, router_id: str) -> timedelta | None:
        """Namespace, links, routes and translations of one router."""
        want = self._store.get(router_id)
        if want is None or want.router.meta.HasField("delete_time"):
            await self._remove(router_id, want)
            return None
        if not want.router.spec.admin_state_up:
            await self._take_down(router_id)
            await self._report(want, Status(state=Status.STATE_DOWN))
            return None
        networks = {port.port.spec.network_id for port in want.ports}
        self._on[router_id] = networks
        if not networks <= set(self._networks):
            await self._report_unsettled(want, "WAITING_FOR_NETWORK")
            return None
        try:
            again = await self._driver.ensure(want)
            await self._meters.ensure(want)
            if self._advertiser is not None:
                self._advertiser.ensure(want)
        except FabricError as error:
            await self._report_unsettled(want, error.reason)
            raise
        if self._fence is not None:
            self._fence.started(router_id)
        await self._report(want, Status(state=Status.STATE_ACTIVE))
        return _ANNOUNCED_AGAIN if again else None

    def of_network(self, network_id: str) -> list[str]:
        """The routers that have a port on the network."""
        return [router_id for router_id, networks in self._on.items() if network_id in networks]

    async def _remove(self, router_id: str, want: router_pb2.RouterWant | None) -> None:
        self._on.pop(router_id, None)
        await self._take_down(router_id)
        log.info("router removed", router=router_id)
        if want is not None:
            await self._report(want, Status(state=Status.STATE_DOWN, released=True))
        else:
            await self._store.forget(router_id)

    async def _take_down(self, router_id: str) -> None:
        if self._advertiser is not None:
            self._advertiser.remove(router_id)
        self._meters.forget(router_id)
        await self._driver.remove(router_id)

    async def _report_unsettled(self, want: router_pb2.RouterWant, reason: str) -> None:
        """Say what the router waits for, unless it works: a restart must not make it look as if it did not."""
        status = self._store.status(want.router.meta.id)
        settled = Status(state=Status.STATE_ACTIVE, observed_generation=want.router.meta.generation)
        if status != settled:
            await self._report(want, Status(state=Status.STATE_BUILDING, reason=reason))

    async def _report(self, want: router_pb2.RouterWant, status: Status) -> None:
        status.observed_generation = want.router.meta.generation
        await self._store.report(want.router.meta.id, status)
