"""The leader's loop that tells nodes which labels count for the routers that live there."""

from datetime import timedelta

from fabric.network.collection import METERING_LABELS, METERING_RULES, ROUTERS, marked
from fabric.network.following import following
from fabric.network.record import plain
from fabric.network.telling import Telling
from fabric.network.v1 import metering_pb2 as pb
from fabric.runtime.reconcile import Loop
from fabric.runtime.store import Store


class MeteringSpread:
    """One term of leadership. Wakes by what labels and routers say; who changes a label's rules writes the label."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._telling = Telling(store, METERING_LABELS)
        self._places: dict[str, tuple[str, str]] = {}  # router -> its project and node
        self._loop = Loop("network.metering", self.reconcile, self._ids)

    async def run(self) -> None:
        with following(self._store, (METERING_LABELS, self._loop.wake), (ROUTERS, self._router_changed)):
            await self._loop.run()

    async def reconcile(self, label_id: str) -> timedelta | None:
        """The label with its rules on each node that has a router which it counts for."""
        label = self._store.find(METERING_LABELS, label_id)
        nodes, want = set[str](), None
        if label is not None:
            shared, project_id = label.spec.shared, label.meta.project_id
            nodes = {node for owner, node in self._places.values() if shared or owner == project_id}
            rules = self._store.table(METERING_RULES).by("label", label_id)
            want = pb.MeteringLabelWant(
                metering_label=plain(label),
                rules=[plain(rule) for rule in sorted(rules, key=lambda rule: rule.meta.id)],
            )
        await self._telling.tell(label_id, dict.fromkeys(nodes, want))
        return None

    def _ids(self) -> set[str]:
        return {*self._store.table(METERING_LABELS).ids(), *self._telling.ids()}

    def _router_changed(self, router_id: str) -> None:
        router = self._store.find(ROUTERS, router_id)
        old, new = self._places.pop(router_id, None), None
        if router is not None and not marked(router) and router.node:
            new = self._places[router_id] = (router.meta.project_id, router.node)
        if old == new:
            return
        labels = self._store.table(METERING_LABELS)
        projects = {place[0] for place in (old, new) if place is not None}
        for label in (
            *labels.by("shared", "1"),
            *(m for owner in projects for m in labels.by("project", owner)),
        ):
            self._loop.wake(label.meta.id)
