"""What RBAC policies grant: looked up by object and project, never searched for."""

from collections.abc import Iterable

from fabric.network.collection import ANYBODY, RBAC_POLICIES, marked
from fabric.network.v1 import rbac_policy_pb2 as pb
from fabric.runtime.store import Store, Transaction

SHARED, EXTERNAL = "access_as_shared", "access_as_external"


def grant(store: Store, object_id: str, project_id: str, action: str = SHARED) -> pb.RbacPolicy | None:
    """The policy that lets the project do this with the object; None: there is none."""
    return own_grant(store, object_id, ANYBODY, action) or own_grant(store, object_id, project_id, action)


def own_grant(store: Store, object_id: str, target: str, action: str = SHARED) -> pb.RbacPolicy | None:
    """The policy that names exactly this target."""
    id_ = store.owner(RBAC_POLICIES, "grant", f"{object_id}/{action}/{target}")
    policy = store.find(RBAC_POLICIES, id_) if id_ else None
    return None if policy is None or marked(policy) else policy


def granted(store: Store, object_type: str, project_id: str) -> Iterable[str]:
    """The ids of the objects of that type that others let the project see."""
    table = store.table(RBAC_POLICIES)
    for target in (ANYBODY, project_id):
        for policy in table.by("target", f"{object_type}/{target}"):
            if not marked(policy):
                yield policy.spec.object_id


def rely(
    store: Store, txn: Transaction, object_id: str, owner: str, project_id: str, action: str = SHARED
) -> None:
    """What the project makes in the transaction uses another's object: the policy must still be there then."""
    policy = grant(store, object_id, project_id, action) if project_id != owner else None
    if policy is not None:
        txn.expect(RBAC_POLICIES, policy)
