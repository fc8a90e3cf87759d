"""QoS policies and their rules."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict

from fabric.network import qos
from fabric.network.binding import KIND
from fabric.network.collection import (
    FLOATING_IPS,
    NETWORKS,
    PORTS,
    QOS_POLICIES,
    QOS_RULES,
    ROUTERS,
    marked,
)
from fabric.network.grant import rely
from fabric.network.record import Asked, NetworkResource, plain
from fabric.network.sharing import SharedResource, close_to_all, open_to_all, withdraw_all
from fabric.network.v1 import floating_ip_pb2, network_pb2, port_pb2
from fabric.network.v1 import qos_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Collection, Store, Transaction


class QosPolicyRemoval:
    """A policy takes its rules with it."""

    collection = QOS_POLICIES

    def check_unused(self, store: Store, record: pb.QosPolicy) -> None:
        for noun, id_ in users(store, record.meta.id):
            raise FailedPrecondition(
                f"QoS Policy {record.meta.id} is used by {noun} {id_}.",
                reason="QOS_POLICY_IN_USE",
                policy=record.meta.id,
            )

    def release(self, store: Store, record: pb.QosPolicy, txn: Transaction) -> None:
        for rule in store.table(QOS_RULES).by("policy", record.meta.id):
            txn.remove(QOS_RULES, rule)
        withdraw_all(store, txn, record)


class QosPolicies(SharedResource[pb.QosPolicy]):
    """The rules of policies."""

    collection = QOS_POLICIES
    object_type = "qos_policy"
    policies = {
        "create": "create_policy",
        "get": "get_policy",
        "list": "get_availability_zone",
        "update": "update_policy",
        "delete": "delete_policy",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "meta.name": "name"}

    def present(self, caller: Caller, message: pb.QosPolicy) -> pb.QosPolicy:
        shown = super().present(caller, message)
        shown.rules.extend(rules_of(self.store, message.meta.id))
        return shown

    def admit(
        self,
        caller: Caller,
        new: pb.QosPolicy,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.QosPolicy],
    ) -> None:
        del new.rules[:]
        if new.spec.shared:
            self.require(caller, new, ["create_policy:shared"])
            open_to_all(txn, self.object_type, new)
        self._check_default(new)

    def change(self, caller: Caller, new: pb.QosPolicy, old: pb.QosPolicy, txn: Transaction) -> None:
        if new.spec.shared != old.spec.shared:
            self.require(caller, old, ["update_policy:shared"])
            if new.spec.shared:
                open_to_all(txn, self.object_type, new)
            else:
                close_to_all(self.store, txn, old)
        if new.spec.is_default and not old.spec.is_default:
            self._check_default(new)

    def _check_default(self, new: pb.QosPolicy) -> None:
        """The claim decides; this says it in the words of the API."""
        if new.spec.is_default and self.store.owner(QOS_POLICIES, "default", new.meta.project_id):
            raise AlreadyExists(
                f"A default QoS policy exists for project {new.meta.project_id}.",
                reason="QOS_POLICY_DEFAULT_ALREADY_EXISTS",
                field="is_default",
            )

    async def delete(self, id_: str, caller: Caller) -> pb.QosPolicy:
        return await self.remove(id_, caller, QosPolicyRemoval())

    async def ListQosRuleTypes(
        self, request: pb.ListQosRuleTypesRequest, caller: Caller
    ) -> pb.ListQosRuleTypesResponse:
        """What at least one node that is alive can do."""
        self.policy.enforce(caller, "get_rule_type", {})
        found = [pb.QosRuleType(type=kind) for kind in sorted(self._types())]
        return pb.ListQosRuleTypesResponse(qos_rule_types=found)

    async def GetQosRuleType(self, request: pb.GetQosRuleTypeRequest, caller: Caller) -> pb.QosRuleType:
        self.policy.enforce(caller, "get_rule_type:drivers", {})
        if request.type not in self._types():
            raise NotFound(
                f"Rule type {request.type} could not be found.",
                reason="QOS_RULE_TYPE_NOT_FOUND",
                field="type",
            )
        return pb.QosRuleType(type=request.type)

    def _types(self) -> set[str]:
        details = [MessageToDict(life.detail) for life in self.store.lives() if life.agent == KIND]
        return {kind for detail in details for kind in detail.get("qos", ())} & qos.POSSIBLE


class QosRules(NetworkResource[pb.QosRule]):
    """The rules of rules: who sees a policy sees them."""

    collection = QOS_RULES
    policies = {"get": "get_policy_bandwidth_limit_rule", "list": "get_availability_zone"}
    narrow = {"meta.id": "id", "spec.policy_id": "policy"}

    def __init__(self, store: Store, policy: Policy, parents: QosPolicies) -> None:
        super().__init__(store, policy)
        self._parents = parents

    def target_for(self, caller: Caller, message: pb.QosRule) -> dict[str, Any]:
        policy = self.store.find(QOS_POLICIES, message.spec.policy_id)
        return self._parents.target_for(caller, policy) if policy is not None else self.target(message)

    def enforce(self, verb: str, caller: Caller, message: pb.QosRule) -> None:
        kind = message.spec.type if message.spec.type in qos.TYPES else qos.BANDWIDTH_LIMIT
        self.policy.enforce(caller, f"{verb}_policy_{kind}_rule", self.target_for(caller, message))

    def visible(self, caller: Caller, message: pb.QosRule) -> bool:
        rule = f"get_policy_{message.spec.type}_rule"
        return not marked(message) and self.policy.allows(caller, rule, self.target_for(caller, message))

    def reachable(self, caller: Caller) -> list[pb.QosRule]:
        table = self.store.table(QOS_RULES)
        policies = self._parents.reachable(caller)
        return [rule for policy in policies for rule in table.by("policy", policy.meta.id)]

    def own(self, caller: Caller, new: pb.QosRule) -> None:
        policy = self.store.find(QOS_POLICIES, new.spec.policy_id)
        new.meta.project_id = policy.meta.project_id if policy is not None else caller.project_id

    async def make_all(self, asked: Sequence[Asked[pb.QosRule]], caller: Caller) -> list[pb.QosRule]:
        try:
            return await super().make_all(asked, caller)
        except AlreadyExists as error:
            raise self._conflict(error) from error

    async def update(self, message: pb.QosRule, mask: Any, caller: Caller) -> pb.QosRule:
        try:
            return await super().update(message, mask, caller)
        except AlreadyExists as error:
            raise self._conflict(error) from error

    def admit(
        self,
        caller: Caller,
        new: pb.QosRule,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.QosRule],
    ) -> None:
        new.meta.name = ""
        self._write(caller, new, txn)

    def change(self, caller: Caller, new: pb.QosRule, old: pb.QosRule, txn: Transaction) -> None:
        if (new.spec.policy_id, new.spec.type) != (old.spec.policy_id, old.spec.type):
            raise InvalidArgument("Cannot update read-only attribute type", reason="HTTP_BAD_REQUEST")
        self._write(caller, new, txn)

    def _write(self, caller: Caller, new: pb.QosRule, txn: Transaction) -> None:
        policy = find(self._parents, caller, new.spec.policy_id)
        qos.check(new.spec)
        qos.check_together(new, self.store.table(QOS_RULES).by("policy", policy.meta.id))
        if kind := qos.impossible([new]):
            for noun, id_ in users(self.store, policy.meta.id):
                raise unsupported(kind, noun, id_)
        touch(policy, txn)

    def check_delete(self, caller: Caller, old: pb.QosRule, txn: Transaction) -> None:
        policy = self.store.find(QOS_POLICIES, old.spec.policy_id)
        if policy is not None:
            touch(policy, txn)

    def missing(self, id_: str) -> NotFound:
        return NotFound(f"QoS rule {id_} could not be found.", reason="QOS_RULE_NOT_FOUND", id=id_)

    def _conflict(self, error: AlreadyExists) -> AlreadyExists:
        if error.facts.get("index") != "kind":
            return error
        value = error.facts.get("value", "")
        policy_id, kind, _ = value.split("/")
        owner = self.store.owner(QOS_RULES, "kind", value) or ""
        return AlreadyExists(
            f"Rule {kind} conflicts with rule {owner} which already exists in QoS Policy {policy_id}.",
            reason="QOS_RULES_CONFLICT",
            id=owner,
        )


def rules_of(store: Store, policy_id: str) -> list[pb.QosRule]:
    """In the order in which they were made."""
    found = store.table(QOS_RULES).by("policy", policy_id)
    return sorted(found, key=lambda r: (r.meta.create_time.ToNanoseconds(), r.meta.id))


def want_of(store: Store, policy_id: str) -> pb.QosPolicyWant | None:
    """What a node is told of the policy; None: there is none."""
    policy = store.find(QOS_POLICIES, policy_id) if policy_id else None
    if policy is None:
        return None
    rules = [plain(rule) for rule in rules_of(store, policy_id)]
    return pb.QosPolicyWant(qos_policy=plain(policy), rules=rules)


def users(store: Store, policy_id: str) -> list[tuple[str, str]]:
    """What names the policy: a noun and an id each."""
    named: tuple[Collection[Any], ...] = (NETWORKS, PORTS, FLOATING_IPS, ROUTERS)
    return [
        (record.DESCRIPTOR.name.lower(), record.meta.id)
        for collection in named
        for record in store.table(collection).by("qos_policy", policy_id)
        if not marked(record)
    ]


def find(policies: NetworkResource[pb.QosPolicy], caller: Caller, policy_id: str) -> pb.QosPolicy:
    """The policy, if the caller may use it. Raises NotFound."""
    found = policies.store.find(QOS_POLICIES, policy_id)
    if found is None or not policies.visible(caller, found):
        raise NotFound(
            f"QoS policy {policy_id} could not be found.",
            reason="QOS_POLICY_NOT_FOUND",
            field="qos_policy_id",
        )
    return found


def attach(
    policies: NetworkResource[pb.QosPolicy],
    caller: Caller,
    new: network_pb2.Network | port_pb2.Port | floating_ip_pb2.FloatingIp,
    old: network_pb2.Network | port_pb2.Port | floating_ip_pb2.FloatingIp | None,
    txn: Transaction,
) -> None:
    """Let a port, a network or a floating IP name the policy that its new spec names. Raises as name."""
    before = old.spec.qos_policy_id if old is not None else ""
    name(policies, caller, new, before, new.spec.qos_policy_id, txn)


def name(
    policies: NetworkResource[pb.QosPolicy],
    caller: Caller,
    user: Any,
    before: str,
    after: str,
    txn: Transaction,
) -> None:
    """Let a record that named one policy (empty: none) name another.

    Raises NotFound, PermissionDenied (an administrator's policy is not taken off) and FailedPrecondition.
    """
    if after == before:
        return
    store, noun = policies.store, user.DESCRIPTOR.name.lower()
    known = store.find(QOS_POLICIES, before) if before else None
    if known is not None and not policies.visible(caller, known):
        raise PermissionDenied(
            f"Failed to remove provided policy {before} because you are not authorized.",
            reason="POLICY_REMOVE_AUTHORIZATION_ERROR",
        )
    if not after:
        return
    policy = find(policies, caller, after)
    if kind := qos.impossible(rules_of(store, after)):
        raise unsupported(kind, noun, user.meta.id)
    txn.expect(QOS_POLICIES, policy)
    rely(store, txn, after, policy.meta.project_id, user.meta.project_id)


def default_of(store: Store, project_id: str) -> str:
    """The id of the policy of the project's networks that name none; empty: there is none."""
    return store.owner(QOS_POLICIES, "default", project_id) or ""


def unsupported(kind: str, noun: str, id_: str) -> FailedPrecondition:
    """What the API says of a rule that would not be made true."""
    reason = "QOS_RULE_NOT_SUPPORTED" + ("_BY_NETWORK" if noun == "network" else "")
    return FailedPrecondition(f"Rule {kind} is not supported by {noun} {id_}", reason=reason)


def touch(policy: pb.QosPolicy, txn: Transaction) -> None:
    """Count the policy's generation on: its rules change."""
    newer = copy_of(policy)
    newer.meta.generation += 1
    txn.update(QOS_POLICIES, newer)
