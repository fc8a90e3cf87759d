"""The network agents of nodes: who is or was there, from the life signs."""

from datetime import UTC, datetime

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network.binding import HOLDER, KIND
from fabric.network.collection import AGENT_ROLES, AGENTS, PORTS, agent_id, marked
from fabric.network.reach import physical_networks
from fabric.network.record import NetworkResource
from fabric.network.v1 import agent_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument, StaleRevision
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction
from fabric.type.v1 import node_pb2
from fabric.type.v1.query_pb2 import Query

DEFAULT_ZONE = "nova"


class Agents(NetworkResource[pb.Agent]):
    """The rules of agents; their records are made by the controller's loop.

    A node has one, with one record. It is shown once for each of its roles, since that is how it is looked for.
    """

    collection = AGENTS
    policies = {
        "create": "update_agent",
        "get": "get_agent",
        "list": "get_availability_zone",
        "update": "update_agent",
        "delete": "delete_agent",
    }

    def candidates(self, caller: Caller, asked: Query) -> list[pb.Agent]:
        """As they are shown, since lists are filtered by what is computed."""
        found = [self.present(caller, agent) for agent in super().candidates(caller, asked)]
        return [_in_role(agent, role) for agent in found for role in AGENT_ROLES]

    def find(self, id_: str, caller: Caller) -> pb.Agent:
        agent = next(iter(self.store.table(AGENTS).by("role", id_)), None)
        if agent is None or not self.visible(caller, agent):
            raise self.missing(id_)
        return next(known for role in AGENT_ROLES if (known := _in_role(agent, role)).meta.id == id_)

    async def update(self, message: pb.Agent, mask: FieldMask, caller: Caller) -> pb.Agent:
        known, record = self.find(message.meta.id, caller), copy_of(message)
        record.meta.id = agent_id(known.spec.node)
        return _in_role(await super().update(record, mask, caller), known.spec.role)

    async def delete(self, id_: str, caller: Caller) -> pb.Agent:
        known = self.find(id_, caller)
        return _in_role(await super().delete(agent_id(known.spec.node), caller), known.spec.role)

    def visible(self, caller: Caller, message: pb.Agent) -> bool:
        """They are nobody's: not even of those who have no project."""
        return self.policy.allows(caller, self.policies["get"], self.target(message))

    async def ListZones(self, request: pb.ListZonesRequest, caller: Caller) -> pb.ListZonesResponse:
        """Anybody may know them."""
        self.policy.enforce(caller, "get_availability_zone", {})
        available: dict[str, bool] = {}
        for agent in self.store.table(AGENTS):
            zone = agent.spec.availability_zone or DEFAULT_ZONE
            alive = agent.spec.admin_state_up and life_of(self.store, agent.spec.node) is not None
            available[zone] = available.get(zone, False) or alive
        zones = [pb.Zone(name=n, available=a) for n, a in sorted(available.items())]
        return pb.ListZonesResponse(zones=zones, features=sorted(self._features()))

    def _features(self) -> set[str]:
        details = [life.detail for life in self.store.lives() if life.agent == KIND]
        wanted = {"logging": "loggable", "trunk": "trunks"}  # a feature, and what agents call it
        return {
            name for name, key in wanted.items() if any(key in detail and detail[key] for detail in details)
        }

    def present(self, caller: Caller, message: pb.Agent) -> pb.Agent:
        shown = copy_of(message)
        shown.spec.availability_zone = shown.spec.availability_zone or DEFAULT_ZONE
        life = life_of(self.store, message.spec.node)
        shown.status.alive = life is not None
        if life is None:
            shown.status.heartbeat_time.CopyFrom(message.spec.end_time)
        else:
            shown.spec.start_time.CopyFrom(life.start_time)
            shown.status.heartbeat_time.FromDatetime(datetime.now(UTC).replace(microsecond=0))
            shown.status.detail.CopyFrom(life.detail)
        shown.status.detail["ports"] = self.store.table(PORTS).count("node", message.spec.node)
        return shown

    def change(self, caller: Caller, new: pb.Agent, old: pb.Agent, txn: Transaction) -> None:
        if new.spec.node != old.spec.node:
            raise InvalidArgument("Cannot update read-only attribute host", field="host")

    def check_delete(self, caller: Caller, old: pb.Agent, txn: Transaction) -> None:
        if life_of(self.store, old.spec.node) is not None:
            raise FailedPrecondition(
                f"Agent {old.meta.id} is alive: it would be recorded again.", reason="AGENT_IN_USE"
            )
        for port in self.store.table(PORTS).by("node", old.spec.node):
            if marked(port):
                txn.release(PORTS, port, HOLDER)


def _in_role(agent: pb.Agent, role: str) -> pb.Agent:
    shown = copy_of(agent)
    shown.meta.id, shown.spec.role = agent_id(agent.spec.node, role), role
    return shown


def life_of(store: Store, node: str) -> node_pb2.Life | None:
    """The node's network agent, if it is alive."""
    return store.life(node, KIND)


def reach(store: Store, node: str) -> frozenset[str]:
    """The physical networks that the node has; of one that is away, those that its last life had."""
    life, known = life_of(store, node), store.find(AGENTS, agent_id(node))
    if life is not None:
        return physical_networks(life)
    return frozenset(known.spec.physical_networks) if known is not None else frozenset()


async def record(store: Store, node: str) -> None:
    """Make the record of a node's agent say what its life sign says."""
    life, known = life_of(store, node), store.find(AGENTS, agent_id(node))
    if known is None and life is None:
        return
    agent = pb.Agent() if known is None else copy_of(known)
    if life is not None:
        agent.spec.start_time.CopyFrom(life.start_time)
        agent.spec.ClearField("end_time")
        if "availability_zone" in life.detail:
            agent.spec.availability_zone = str(life.detail["availability_zone"])
        if "tunnel_address" in life.detail:
            agent.spec.tunnel_address = str(life.detail["tunnel_address"])
        agent.spec.physical_networks[:] = sorted(physical_networks(life))
    elif not agent.spec.HasField("end_time"):
        agent.spec.end_time.FromDatetime(datetime.now(UTC).replace(microsecond=0))
    if known is not None and agent == known:
        return
    try:
        async with store.transaction() as txn:
            if known is None:
                agent.meta.id, agent.meta.name = agent_id(node), node
                agent.spec.node, agent.spec.admin_state_up = node, True
                txn.create(AGENTS, agent)
            else:
                txn.update(AGENTS, agent)
    except (AlreadyExists, StaleRevision):
        await store.fresh(None)  # another controller did the same; the change wakes the loop again
