"""Metering labels and their rules: what is counted where routers meet external networks."""

from collections.abc import Sequence
from typing import Any

from fabric.network.collection import METERING_LABELS, METERING_RULES, marked
from fabric.network.meter_rule import check, overlap, prefixes
from fabric.network.record import NetworkResource
from fabric.network.v1 import metering_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import FailedPrecondition, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction


class MeteringLabels(NetworkResource[pb.MeteringLabel]):
    """The rules of labels; they are made and removed, never changed."""

    collection = METERING_LABELS
    policies = {
        "create": "create_metering_label",
        "get": "get_metering_label",
        "list": "get_availability_zone",
        "delete": "delete_metering_label",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "meta.name": "name"}

    def target(self, message: pb.MeteringLabel) -> dict[str, Any]:
        return super().target(message) | {"shared": message.spec.shared}

    def reachable(self, caller: Caller) -> list[pb.MeteringLabel]:
        return list(self.store.table(METERING_LABELS))

    def present(self, caller: Caller, message: pb.MeteringLabel) -> pb.MeteringLabel:
        shown = copy_of(message)
        counts: list[Any] = list(self.store.table(METERING_LABELS).reported(message.meta.id).values())
        shown.status.packets = sum(count.packets for count in counts)
        shown.status.bytes = sum(count.bytes for count in counts)
        return shown

    def check_delete(self, caller: Caller, old: pb.MeteringLabel, txn: Transaction) -> None:
        for rule in self.store.table(METERING_RULES).by("label", old.meta.id):
            txn.remove(METERING_RULES, rule)


class MeteringRules(NetworkResource[pb.MeteringLabelRule]):
    """The rules of rules: who sees a label sees them."""

    collection = METERING_RULES
    policies = {
        "create": "create_metering_label_rule",
        "get": "get_metering_label_rule",
        "list": "get_availability_zone",
        "delete": "delete_metering_label_rule",
    }
    narrow = {"meta.id": "id", "spec.metering_label_id": "label"}

    def __init__(self, store: Store, policy: Policy, labels: MeteringLabels) -> None:
        super().__init__(store, policy)
        self._labels = labels

    def target(self, message: pb.MeteringLabelRule) -> dict[str, Any]:
        label = self.store.find(METERING_LABELS, message.spec.metering_label_id)
        return self._labels.target(label) if label is not None else super().target(message)

    def reachable(self, caller: Caller) -> list[pb.MeteringLabelRule]:
        return list(self.store.table(METERING_RULES))

    def own(self, caller: Caller, new: pb.MeteringLabelRule) -> None:
        label = self.store.find(METERING_LABELS, new.spec.metering_label_id)
        new.meta.project_id = label.meta.project_id if label is not None else caller.project_id

    def admit(
        self,
        caller: Caller,
        new: pb.MeteringLabelRule,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.MeteringLabelRule],
    ) -> None:
        label = self.store.find(METERING_LABELS, new.spec.metering_label_id)
        if label is None or marked(label) or not self._labels.visible(caller, label):
            raise NotFound(
                f"Metering label '{new.spec.metering_label_id}' does not exist.",
                reason="METERING_LABEL_NOT_FOUND",
                field="metering_label_id",
            )
        check(new.spec)
        for other in self.store.table(METERING_RULES).by("label", label.meta.id):
            if overlap(new.spec, other.spec):
                prefix = next(iter(prefixes(new.spec)))[1]
                raise FailedPrecondition(
                    f"Metering label rule with remote_ip_prefix '{prefix}' overlaps another.",
                    reason="METERING_LABEL_RULE_OVERLAPS",
                    id=other.meta.id,
                )
        touch(label, txn)

    def check_delete(self, caller: Caller, old: pb.MeteringLabelRule, txn: Transaction) -> None:
        label = self.store.find(METERING_LABELS, old.spec.metering_label_id)
        if label is not None:
            touch(label, txn)


def touch(label: pb.MeteringLabel, txn: Transaction) -> None:
    """Write the label again, so that all who change its rules are in one order."""
    newer = copy_of(label)
    newer.meta.generation += 1
    txn.update(METERING_LABELS, newer)
