"""What RBAC policies grant, looked up by object and project; and who needs it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fabric.network.collection import (
    ADDRESS_GROUPS,
    ADDRESS_SCOPES,
    ANYBODY,
    FLOATING_IPS,
    NETWORKS,
    PORTS,
    QOS_POLICIES,
    RBAC_POLICIES,
    ROUTERS,
    RULES,
    SECURITY_GROUPS,
    SUBNET_POOLS,
    SUBNETS,
    marked,
)
from fabric.network.v1 import rbac_policy_pb2 as pb
from fabric.runtime.errors import FailedPrecondition
from fabric.runtime.store import Collection, Store, Transaction

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


@dataclass(frozen=True)
class Kind:
    """One type of object: where it is, and whose things use it (by action)."""

    collection: Collection[Any]
    users: Mapping[str, Callable[[Store, str], Iterable[Any]]]


def _ports_on(store: Store, id_: str) -> Iterable[Any]:
    return (
        p for p in store.table(PORTS).by("network", id_) if not p.spec.device_owner.startswith("network:")
    )


def _leading_out_by(store: Store, id_: str) -> Iterable[Any]:
    """Routers with a gateway on it, and floating IPs."""
    ports = store.table(PORTS).by("routed", id_)
    routers = (store.find(ROUTERS, port.spec.device_id) for port in ports)
    return (
        *(router for router in routers if router is not None),
        *store.table(FLOATING_IPS).by("network", id_),
    )


def _limited_by(store: Store, id_: str) -> Iterable[Any]:
    tables = (store.table(collection) for collection in (NETWORKS, PORTS, FLOATING_IPS, ROUTERS))
    return (record for table in tables for record in table.by("qos_policy", id_))


KINDS: Mapping[str, Kind] = {
    "network": Kind(NETWORKS, {SHARED: _ports_on, EXTERNAL: _leading_out_by}),
    "qos_policy": Kind(QOS_POLICIES, {SHARED: _limited_by}),
    "subnetpool": Kind(SUBNET_POOLS, {SHARED: lambda store, id_: store.table(SUBNETS).by("subnetpool", id_)}),
    "address_scope": Kind(
        ADDRESS_SCOPES, {SHARED: lambda store, id_: store.table(SUBNET_POOLS).by("scope", id_)}
    ),
    "address_group": Kind(ADDRESS_GROUPS, {SHARED: lambda store, id_: store.table(RULES).by("remote", id_)}),
    "security_group": Kind(SECURITY_GROUPS, {SHARED: lambda store, id_: store.table(PORTS).by("group", id_)}),
}


def check_unneeded(store: Store, policy: pb.RbacPolicy, target: str = "") -> None:
    """Raise FailedPrecondition when something that is there needs this policy: no other one lets it.

    target: whom the policy is for afterwards; empty: it is gone. As in the reference implementation what is no
    network needs its policy for all also for what its owner has, and has no other target in its place.
    """
    kind, spec = KINDS[policy.spec.object_type], policy.spec
    owned = store.find(kind.collection, spec.object_id)
    if owned is None:
        return
    if spec.action == EXTERNAL and spec.target == ANYBODY != target and owned.spec.is_default:
        raise _in_use(policy, "it is the default external network")
    is_network = kind.collection is NETWORKS
    for user in kind.users[spec.action](store, spec.object_id):
        project_id = user.meta.project_id
        spared = is_network and project_id == owned.meta.project_id
        if marked(user) or spared or spec.target not in (ANYBODY, project_id):
            continue
        stays = target == ANYBODY or (is_network and target == project_id)
        if not stays and not _lets(store, policy, project_id):
            raise _in_use(policy, f"{project_id} uses it with {user.meta.id}")


def _in_use(policy: pb.RbacPolicy, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"RBAC policy on object {policy.spec.object_id} cannot be removed because other objects depend on it. "
        f"Details: {why}.",
        reason="RBAC_POLICY_IN_USE",
        policy=policy.meta.id,
    )


def _lets(store: Store, policy: pb.RbacPolicy, project_id: str) -> bool:
    """Whether another policy lets the project do the same."""
    return any(
        other.meta.id != policy.meta.id
        and not marked(other)
        and other.spec.action == policy.spec.action
        and other.spec.target in (ANYBODY, project_id)
        for other in store.table(RBAC_POLICIES).by("object", policy.spec.object_id)
    )
