"""What metering labels count in a router's namespace, and the sums of it that are reported."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Protocol

from agents.network import name
from agents.network.ruleset import Wanted
from fabric.network.meter_rule import sides
from fabric.network.v1 import metering_pb2, router_pb2
from fabric.runtime.node import NodeStore

TABLE = "inet fabric_meter"
_HOOK = "type filter hook forward priority 0; policy accept;"  # addresses are those of the project here, both ways

Count = metering_pb2.MeteringLabelStatus
Store = NodeStore[metering_pb2.MeteringLabelWant, metering_pb2.MeteringLabelStatus]


class MeterDriver(Protocol):
    """Counters in the namespaces of routers."""

    async def ensure(
        self, want: router_pb2.RouterWant, labels: Sequence[metering_pb2.MeteringLabelWant]
    ) -> None:
        """Count for these labels what passes the router's gateways. What was counted stays."""

    async def take(self, router_id: str) -> dict[str, Count]:
        """What was counted since the last time, by label."""


class Meters:
    """A label counts for the routers of its project, a shared one for all."""

    def __init__(self, store: Store, driver: MeterDriver, wake_router: Callable[[str], None]) -> None:
        self._store = store
        self._driver = driver
        self._wake_router = wake_router
        self._routers: set[str] = set()
        self._untold: dict[str, Count] = {}  # what was counted since the last report, by label

    async def reconcile(self, label_id: str) -> timedelta | None:
        """What the routers of the node count."""
        for router_id in self._routers:
            self._wake_router(router_id)
        return None

    async def ensure(self, want: router_pb2.RouterWant) -> None:
        """Count in the namespace of a router that is there."""
        self._routers.add(want.router.meta.id)
        labels = (self._store.get(id_) for id_ in self._store.ids())
        project_id = want.router.meta.project_id
        ours = [label for label in labels if label is not None and _counts_for(label, project_id)]
        await self._driver.ensure(want, ours)

    def forget(self, router_id: str) -> None:
        """The router is not here any more."""
        self._routers.discard(router_id)

    async def report(self) -> None:
        """Add what was counted to what was reported. Raises as NodeStore.report; then the next one says it."""
        for router_id in sorted(self._routers):
            for label_id, count in (await self._driver.take(router_id)).items():
                untold = self._untold.setdefault(label_id, Count())
                untold.packets += count.packets
                untold.bytes += count.bytes
        for label_id, count in list(self._untold.items()):
            known = self._store.status(label_id) or Count()
            if count.packets and self._store.get(label_id) is not None:
                total = Count(packets=known.packets + count.packets, bytes=known.bytes + count.bytes)
                await self._store.report(label_id, total)
            del self._untold[label_id]


def _counts_for(want: metering_pb2.MeteringLabelWant, project_id: str) -> bool:
    label = want.metering_label
    return label.spec.shared or label.meta.project_id == project_id


def counter(label_id: str) -> str:
    """The counter of a label, and its chain."""
    return f"label-{label_id}"


def rules(want: router_pb2.RouterWant, labels: Iterable[metering_pb2.MeteringLabelWant]) -> Wanted:
    """A chain a label; nothing at all without labels. The counters are made apart: they outlive their rules."""
    found = Wanted()
    gateways = [name.router_port(port.port.meta.id) for port in want.ports if port.gateway]
    devices = ", ".join(f'"{device}"' for device in sorted(gateways))
    jumps = []
    for label in sorted(labels, key=lambda label: label.metering_label.meta.id):
        chain = counter(label.metering_label.meta.id)
        found.add_chain((TABLE, chain), _matches(label, devices, chain) if gateways else [])
        jumps.append(f"jump {chain}")
    if jumps:
        found.add_chain((TABLE, "passing"), jumps, _HOOK)
    return found


def _matches(label: metering_pb2.MeteringLabelWant, devices: str, chain: str) -> Iterator[str]:
    """What is excluded first; each packet counts once."""
    for rule in sorted(label.rules, key=lambda rule: (not rule.spec.excluded, rule.meta.id)):
        spec = rule.spec
        side = "iifname" if spec.direction == "ingress" else "oifname"
        source, destination = sides(spec)
        family = "ip6" if ":" in source + destination else "ip"
        match = f"{side} {{ {devices} }}"
        match += f" {family} saddr {source}" if source else ""
        match += f" {family} daddr {destination}" if destination else ""
        yield f"{match} return" if spec.excluded else f"{match} counter name {chain} return"
