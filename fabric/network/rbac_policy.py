"""RBAC policies: who may share what with whom, and when that can be taken back."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network import address
from fabric.network.collection import ADDRESS_SCOPES, ANYBODY, RBAC_POLICIES, SUBNET_POOLS, marked
from fabric.network.grant import EXTERNAL, KINDS, check_unneeded, grant
from fabric.network.record import NetworkResource
from fabric.network.v1 import rbac_policy_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction


class RbacRemoval:
    """A policy goes when nobody needs it any more; its object says so too."""

    collection = RBAC_POLICIES

    def check_unused(self, store: Store, record: pb.RbacPolicy) -> None:
        check_unneeded(store, record)

    def release(self, store: Store, record: pb.RbacPolicy, txn: Transaction) -> None:
        _say(store, txn, record.spec, record.spec.target, "")


class RbacPolicies(NetworkResource[pb.RbacPolicy]):
    """The rules of RBAC policies."""

    collection = RBAC_POLICIES
    policies = {
        "create": "create_rbac_policy",
        "get": "get_rbac_policy",
        "list": "get_availability_zone",
        "update": "update_rbac_policy",
        "delete": "delete_rbac_policy",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "spec.object_id": "object"}

    def __init__(self, store: Store, policy: Policy, resources: Mapping[str, NetworkResource[Any]]) -> None:
        """resources: by object type, since who sees an object is for its own rules to say."""
        super().__init__(store, policy)
        self._resources = resources

    def target(self, message: pb.RbacPolicy) -> dict[str, Any]:
        return super().target(message) | {"target_tenant": message.spec.target}

    async def make_all(self, asked: Sequence[Any], caller: Caller) -> list[pb.RbacPolicy]:
        try:
            return await super().make_all(asked, caller)
        except AlreadyExists as error:
            raise _duplicate(error) from error

    def admit(
        self,
        caller: Caller,
        new: pb.RbacPolicy,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.RbacPolicy],
    ) -> None:
        _check(new.spec)
        self._check_object(caller, new)
        self.require(caller, new, ["create_rbac_policy:target_tenant"])
        _say(self.store, txn, new.spec, "", new.spec.target)

    async def update(self, message: pb.RbacPolicy, mask: FieldMask, caller: Caller) -> pb.RbacPolicy:
        """Another target. It is looked again afterwards whether the former one has begun to use the object."""
        old = self.find(message.meta.id, caller)
        try:
            updated = await super().update(message, mask, caller)
        except AlreadyExists as error:
            raise _duplicate(error) from error
        if updated.spec.target != old.spec.target:
            await self.store.fresh(int(updated.meta.etag))
            try:
                check_unneeded(self.store, old, updated.spec.target)
            except FailedPrecondition:
                back = copy_of(self.store.get(RBAC_POLICIES, old.meta.id))
                back.spec.target = old.spec.target
                async with self.store.transaction() as txn:
                    _say(self.store, txn, old.spec, updated.spec.target, old.spec.target)
                    txn.update(RBAC_POLICIES, back)
                raise
        return updated

    def change(self, caller: Caller, new: pb.RbacPolicy, old: pb.RbacPolicy, txn: Transaction) -> None:
        for name in ("object_type", "object_id", "action"):
            if getattr(new.spec, name) != getattr(old.spec, name):
                raise InvalidArgument(
                    f"Cannot update read-only attribute {name}", reason="HTTP_BAD_REQUEST", field=name
                )
        if new.spec.target == old.spec.target:
            return
        _check(new.spec)
        self.require(caller, new, ["update_rbac_policy:target_tenant"])
        self._check_scope(new)
        check_unneeded(self.store, old, new.spec.target)
        _say(self.store, txn, new.spec, old.spec.target, new.spec.target)

    async def delete(self, id_: str, caller: Caller) -> pb.RbacPolicy:
        return await self.remove(id_, caller, RbacRemoval())

    def _check_object(self, caller: Caller, new: pb.RbacPolicy) -> None:
        owned = self._resources[new.spec.object_type].find(new.spec.object_id, caller)
        if owned.meta.project_id != caller.project_id and not caller.is_admin:
            raise address.invalid(
                "Only admins can manipulate policies on objects they do not own", "object_id"
            )
        self._check_scope(new)

    def _check_scope(self, new: pb.RbacPolicy) -> None:
        """Who gets a subnet pool needs its address scope."""
        pool = self.store.find(SUBNET_POOLS, new.spec.object_id)
        scope = self.store.find(ADDRESS_SCOPES, pool.spec.address_scope_id) if pool is not None else None
        if scope is None or scope.meta.project_id == new.spec.target:
            return
        if grant(self.store, scope.meta.id, new.spec.target) is None:
            raise address.invalid(
                f"Cannot share subnet pool {new.spec.object_id}: its address scope {scope.meta.id} is not shared "
                "with the target",
                "target_tenant",
            )


def _say(store: Store, txn: Transaction, spec: pb.RbacPolicySpec, before: str, after: str) -> None:
    """Write the object in the transaction that changes the target: what holds for everybody is said in it too."""
    collection = KINDS[spec.object_type].collection
    owned = store.find(collection, spec.object_id)
    if owned is None or marked(owned):
        if not after:
            return  # it takes its policies with it
        raise NotFound(f"{spec.object_type} {spec.object_id} could not be found.", field="object_id")
    newer = copy_of(owned)
    newer.meta.generation += 1
    if spec.action == EXTERNAL:
        others = store.table(RBAC_POLICIES).by("object", spec.object_id)
        external = [other for other in others if other.spec.action == EXTERNAL]
        newer.spec.external = after != "" or len(external) > 1
    elif ANYBODY in (before, after):
        newer.spec.shared = after == ANYBODY
    txn.update(collection, newer)


def _check(spec: pb.RbacPolicySpec) -> None:
    if spec.object_type not in KINDS:
        raise address.invalid(f"'{spec.object_type}' is not in {sorted(KINDS)}", "object_type")
    if spec.action not in KINDS[spec.object_type].users:
        raise address.invalid(f"'{spec.action}' is not in {sorted(KINDS[spec.object_type].users)}", "action")
    if not spec.target:
        raise address.invalid("a policy needs a target", "target_tenant")


def _duplicate(error: AlreadyExists) -> AlreadyExists:
    if error.facts.get("index") != "grant":
        return error
    return AlreadyExists(
        "An RBAC policy already exists with those values.", reason="DUPLICATE_RBAC_POLICY", **error.facts
    )
