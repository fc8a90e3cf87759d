"""Resources that RBAC policies show to other projects. shared says: to everybody, or in answers: to the caller."""

import uuid
from typing import Any, ClassVar, TypeVar

from fabric.network.collection import ANYBODY, RBAC_POLICIES
from fabric.network.grant import SHARED, check_unneeded, grant, granted, own_grant
from fabric.network.record import NetworkResource
from fabric.network.v1 import rbac_policy_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Record, Store, Transaction
from fabric.type.v1.query_pb2 import Query

M = TypeVar("M", bound=Record)


class SharedResource(NetworkResource[M]):
    """A resource whose spec.shared is true exactly while a policy grants access_as_shared to everybody."""

    object_type: ClassVar[str]  # as policies call it

    def target_for(self, caller: Caller, message: M) -> dict[str, Any]:
        return super().target_for(caller, message) | {"shared": self._shared_with(caller, message)}

    def reachable(self, caller: Caller) -> list[M]:
        found = {m.meta.id: m for m in super().reachable(caller)}
        for id_ in granted(self.store, self.object_type, caller.project_id):
            message = self.store.find(self.collection, id_)
            if message is not None:
                found[id_] = message
        return list(found.values())

    def candidates(self, caller: Caller, asked: Query) -> list[M]:
        found = super().candidates(caller, asked)
        paths = [part.path for part in asked.filters] + [part.path for part in asked.sorts]
        if "spec.shared" in paths:
            return [self.present(caller, message) for message in found]
        return found

    def present(self, caller: Caller, message: M) -> M:
        shown: Any = copy_of(message)
        shown.spec.shared = self._shared_with(caller, message)
        return shown  # type: ignore[no-any-return]

    def check_delete(self, caller: Caller, old: M, txn: Transaction) -> None:
        withdraw_all(self.store, txn, old)

    def _shared_with(self, caller: Caller, message: Any) -> bool:
        return message.spec.shared or grant(self.store, message.meta.id, caller.project_id) is not None


def open_to_all(txn: Transaction, object_type: str, owned: Record, action: str = SHARED) -> None:
    """Grant it to everybody, in the transaction that says so in the resource."""
    policy = rbac_policy_pb2.RbacPolicy()
    policy.meta.id, policy.meta.project_id = str(uuid.uuid4()), owned.meta.project_id
    policy.spec.object_type, policy.spec.object_id = object_type, owned.meta.id
    policy.spec.action, policy.spec.target = action, ANYBODY
    txn.create(RBAC_POLICIES, policy)


def close_to_all(store: Store, txn: Transaction, owned: Record, action: str = SHARED) -> None:
    """Take that back; policies for single projects stay. Raises FailedPrecondition: somebody needs it."""
    policy = own_grant(store, owned.meta.id, ANYBODY, action)
    if policy is not None:
        check_unneeded(store, policy)
        txn.remove(RBAC_POLICIES, policy)


def withdraw_all(store: Store, txn: Transaction, owned: Record, action: str = "") -> None:
    """Its policies go with it; with action, only those that grant this."""
    for policy in store.table(RBAC_POLICIES).by("object", owned.meta.id):
        if action in ("", policy.spec.action):
            txn.remove(RBAC_POLICIES, policy)
