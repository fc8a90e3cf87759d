"""The methods of ComputeNodeRegistryService: what nodes there are, and whether they take servers."""

import json
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from fabric.compute.aggregate import zone
from fabric.compute.collection import AGGREGATES
from fabric.compute.node import NODES, allocated, life, lives
from fabric.compute.server import SERVERS
from fabric.compute.v1 import compute_node_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import FailedPrecondition, InvalidArgument
from fabric.runtime.resource import Resource, copy_of
from fabric.runtime.store import ROOT, Transaction
from fabric.type.v1.query_pb2 import Query

_API = "os_compute_api"


class ComputeNodes(Resource[pb.ComputeNode]):
    """Records come from the node registry's loop; callers change only their spec."""

    collection = NODES
    hidden = False
    policies = {
        "create": f"{_API}:os-services:update",
        "get": f"{_API}:os-hypervisors",
        "update": f"{_API}:os-services:update",
        "delete": f"{_API}:os-services:delete",
    }

    def candidates(self, caller: Caller, asked: Query) -> list[pb.ComputeNode]:
        """All of them."""
        return list(self.store.table(NODES))

    def visible(self, caller: Caller, message: pb.ComputeNode) -> bool:
        """To whoever may see any of them."""
        return self.policy.allows(caller, self.policies["get"], {})

    def present(self, caller: Caller, message: pb.ComputeNode) -> pb.ComputeNode:
        """With what is alive and taken now."""
        told = copy_of(message)
        name = message.meta.name
        lives_on = life(self.store, name) is not None
        told.alive = lives_on and not message.spec.forced_down
        if lives_on:  # its lease holds, so that it has been renewed just now
            told.heartbeat_time.FromDatetime(datetime.now(UTC))
        else:
            told.heartbeat_time.CopyFrom(message.end_time)
        used = allocated(self.store, name)
        told.vcpus_used = used.get("compute.vcpus", 0)
        told.ram_mib_used = used.get("compute.ram_mib", 0)
        told.disk_gb_used = used.get("compute.disk_gb", 0)
        told.availability_zone = zone(self.store.table(AGGREGATES), message)
        told.servers = self.store.table(SERVERS).count("node", name)
        return told

    def accept(
        self, caller: Caller, new: pb.ComputeNode, old: pb.ComputeNode | None, txn: Transaction
    ) -> None:
        """Only what an operator says of it."""
        if old is None:
            raise InvalidArgument("Nodes make themselves known; they are not created.", field="name")
        allowed = copy_of(old)
        allowed.spec.CopyFrom(new.spec)
        allowed.meta.request_id = new.meta.request_id
        if allowed != new:
            raise InvalidArgument("Only the spec of a node may change.", field="spec")
        if not new.spec.disabled:
            new.spec.disabled_reason = ""

    def check_delete(self, caller: Caller, old: pb.ComputeNode, txn: Transaction) -> None:
        """Only a dead node without servers may be forgotten."""
        name = old.meta.name
        if self.store.table(SERVERS).count("node", name):
            raise FailedPrecondition(
                f"Unable to delete compute service that is hosting instances: {name}.", reason="NODE_IN_USE"
            )
        if life(self.store, name) is not None:
            raise FailedPrecondition(f"The compute agent of {name} is alive.", reason="NODE_ALIVE")

    async def ListZones(self, request: pb.ListZonesRequest, caller: Caller) -> pb.ListZonesResponse:
        self.policy.enforce(caller, f"{_API}:os-availability-zone:list", {})
        alive, available = lives(self.store), dict[str, bool]()
        aggregates = list(self.store.table(AGGREGATES))
        for node in self.store.table(NODES):
            name = node.meta.name
            works = name in alive and not node.spec.forced_down and not node.spec.disabled
            its_zone = zone(aggregates, node)
            available[its_zone] = available.get(its_zone, False) or works
        return pb.ListZonesResponse(
            zones=[pb.Zone(name=n, available=a) for n, a in sorted(available.items())]
        )

    async def ListLeaders(self, request: pb.ListLeadersRequest, caller: Caller) -> pb.ListLeadersResponse:
        self.policy.enforce(caller, f"{_API}:os-services:list", {})
        table, now = self.store.cache.table(f"{ROOT}/leaders"), Timestamp()
        now.FromDatetime(datetime.now(UTC))  # who leads has a lease that holds
        return pb.ListLeadersResponse(
            leaders=[
                pb.Leader(loop=name, host=_leader(table.get(name)).rpartition(".")[0], heartbeat_time=now)
                for name in sorted(table.ids())
                if name.startswith("compute-")
            ]
        )


def _leader(value: Any) -> str:
    """host.pid of a leadership key's value."""
    value = json.loads(value) if isinstance(value, str | bytes) else value
    return str(value.get("leader", "")) if isinstance(value, dict) else ""
