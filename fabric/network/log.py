"""Logs of what security groups let pass or drop."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict

from fabric.network import address
from fabric.network.binding import KIND
from fabric.network.collection import LOGS, PORTS, SECURITY_GROUPS, marked
from fabric.network.packet_log import ALL, EVENTS, SECURITY_GROUP
from fabric.network.record import NetworkResource
from fabric.network.v1 import log_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, NotFound
from fabric.runtime.store import Collection, Store, Transaction


class Logs(NetworkResource[pb.Log]):
    """The rules of logs."""

    collection = LOGS
    policies = {
        "create": "create_log",
        "get": "get_log",
        "list": "get_availability_zone",
        "update": "update_log",
        "delete": "delete_log",
    }
    narrow = {"meta.id": "id", "spec.resource_id": "of", "spec.target_id": "of"}

    def visible(self, caller: Caller, message: pb.Log) -> bool:
        """They tell where things are: not to those who own what they are of."""
        return self.policy.allows(caller, self.policies["get"], self.target(message))

    def admit(
        self,
        caller: Caller,
        new: pb.Log,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.Log],
    ) -> None:
        spec = new.spec
        spec.event = spec.event or ALL
        if spec.event not in EVENTS:
            raise address.invalid(f"'{spec.event}' is not in {list(EVENTS)}", "event")
        if "spec.enabled" not in given:
            spec.enabled = True
        if spec.resource_type != SECURITY_GROUP:
            raise InvalidArgument(
                f"Invalid log resource_type: {spec.resource_type}.",
                reason="INVALID_LOG_RESOURCE_TYPE",
                field="resource_type",
            )
        if spec.resource_id:
            self._expect(SECURITY_GROUPS, spec.resource_id, txn, "Resource", "resource_id")
        if spec.target_id:
            port = self._expect(PORTS, spec.target_id, txn, "Target resource", "target_id")
            if spec.resource_id and spec.resource_id not in port.spec.security_group_ids:
                raise InvalidArgument(
                    f"Invalid resource constraint between resource (security_group {spec.resource_id}) and "
                    f"target resource (port {spec.target_id}).",
                    reason="INVALID_RESOURCE_CONSTRAINT",
                    field="target_id",
                )

    def change(self, caller: Caller, new: pb.Log, old: pb.Log, txn: Transaction) -> None:
        for name in ("resource_type", "resource_id", "target_id", "event"):
            if getattr(new.spec, name) != getattr(old.spec, name):
                raise InvalidArgument(
                    f"Cannot update read-only attribute {name}", reason="HTTP_BAD_REQUEST", field=name
                )

    async def ListLoggableResources(
        self, request: pb.ListLoggableResourcesRequest, caller: Caller
    ) -> pb.ListLoggableResourcesResponse:
        """What at least one node that is alive can log."""
        self.policy.enforce(caller, "get_loggable_resource", {})
        details = [MessageToDict(life.detail) for life in self.store.lives() if life.agent == KIND]
        found = {kind for detail in details for kind in detail.get("loggable", ())} & {SECURITY_GROUP}
        return pb.ListLoggableResourcesResponse(
            loggable_resources=[pb.LoggableResource(type=kind) for kind in sorted(found)]
        )

    def missing(self, id_: str) -> NotFound:
        return NotFound(f"Log resource {id_} could not be found.", reason="LOG_RESOURCE_NOT_FOUND", id=id_)

    def find(self, id_: str, caller: Caller) -> pb.Log:
        found = self.store.find(LOGS, id_)
        if found is None or not self.visible(caller, found):
            raise self.missing(id_)
        return found

    def _expect(self, collection: Collection[Any], id_: str, txn: Transaction, noun: str, field: str) -> Any:
        found = self.store.find(collection, id_)
        if found is None or marked(found):
            reason = f"{noun.upper().replace(' ', '_')}_NOT_FOUND"
            raise NotFound(f"{noun} {id_} could not be found.", reason=reason, field=field)
        txn.expect(collection, found)
        return found


def end(store: Store, txn: Transaction, id_: str) -> None:
    """The logs of a group or a port go with it."""
    for log in store.table(LOGS).by("of", id_):
        txn.remove(LOGS, log)
