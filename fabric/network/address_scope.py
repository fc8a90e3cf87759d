"""Address scopes: which subnet pools may be together."""

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network import address, prefix
from fabric.network.collection import ADDRESS_SCOPES, SUBNET_POOLS
from fabric.network.grant import grant, rely
from fabric.network.sharing import SharedResource, open_to_all
from fabric.network.v1 import address_scope_pb2 as pb
from fabric.network.v1 import subnet_pool_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction


class AddressScopes(SharedResource[pb.AddressScope]):
    """The rules of address scopes."""

    collection = ADDRESS_SCOPES
    object_type = "address_scope"
    policies = {
        "create": "create_address_scope",
        "get": "get_address_scope",
        "list": "get_availability_zone",
        "update": "update_address_scope",
        "delete": "delete_address_scope",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "meta.name": "name"}

    def admit(
        self,
        caller: Caller,
        new: pb.AddressScope,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.AddressScope],
    ) -> None:
        if new.spec.ip_version not in (4, 6):
            raise address.invalid(
                f"'{new.spec.ip_version}' is not a valid ip_version: it is 4 or 6", "ip_version"
            )
        if new.spec.shared:
            self.require(caller, new, ["create_address_scope:shared"])
            open_to_all(txn, self.object_type, new)

    async def update(self, message: pb.AddressScope, mask: FieldMask, caller: Caller) -> pb.AddressScope:
        if "spec.shared" in mask.paths:  # whatever its value
            self.require(caller, self.find(message.meta.id, caller), ["update_address_scope:shared"])
        return await super().update(message, mask, caller)

    def change(self, caller: Caller, new: pb.AddressScope, old: pb.AddressScope, txn: Transaction) -> None:
        if new.spec.ip_version != old.spec.ip_version:
            raise InvalidArgument(
                "Cannot update read-only attribute ip_version", reason="HTTP_BAD_REQUEST", field="ip_version"
            )
        if old.spec.shared and not new.spec.shared:
            raise InvalidArgument(
                f"Unable to update address scope {old.meta.id} : Shared address scope can't be unshared.",
                reason="ADDRESS_SCOPE_UPDATE_ERROR",
                field="shared",
            )
        if new.spec.shared and not old.spec.shared:
            open_to_all(txn, self.object_type, new)

    def check_delete(self, caller: Caller, old: pb.AddressScope, txn: Transaction) -> None:
        if self.store.table(SUBNET_POOLS).count("scope", old.meta.id):
            raise FailedPrecondition(
                f"Unable to complete operation on address scope {old.meta.id}. There are one or more subnet "
                "pools in use on the address scope.",
                reason="ADDRESS_SCOPE_IN_USE",
                address_scope=old.meta.id,
            )
        super().check_delete(caller, old, txn)


def join(
    store: Store,
    caller: Caller,
    txn: Transaction,
    pool: subnet_pool_pb2.SubnetPool,
    beside: Iterable[subnet_pool_pb2.SubnetPool] = (),
) -> None:
    """The pool is in its scope after the transaction; beside: others that come with it.

    The scope is written too, so that those who change what is in it are in one order.
    """
    scope = store.find(ADDRESS_SCOPES, pool.spec.address_scope_id)
    if scope is None or not _may_use(store, caller, scope):
        raise NotFound(
            f"Address scope {pool.spec.address_scope_id} could not be found.",
            reason="ADDRESS_SCOPE_NOT_FOUND",
            field="address_scope_id",
        )
    if scope.spec.ip_version != pool.spec.ip_version:
        raise InvalidArgument(
            f"Illegal subnetpool association: subnetpool {pool.meta.id} cannot associate with address scope "
            f"{scope.meta.id} because subnetpool ip_version is not {scope.spec.ip_version}.",
            reason="ILLEGAL_SUBNET_POOL_IP_VERSION_ASSOCIATION_TO_ADDRESS_SCOPE",
            field="address_scope_id",
        )
    own = prefix.networks(pool.spec.prefixes)
    for other in (*store.table(SUBNET_POOLS).by("scope", scope.meta.id), *beside):
        together = other.spec.address_scope_id == scope.meta.id and other.meta.id != pool.meta.id
        if together and prefix.overlap(own, prefix.networks(other.spec.prefixes)):
            raise AlreadyExists(
                "Failed to associate address scope: subnetpools within an address scope must have unique "
                "prefixes.",
                reason="ADDRESS_SCOPE_PREFIX_CONFLICT",
                field="address_scope_id",
            )
    rely(store, txn, scope.meta.id, scope.meta.project_id, pool.meta.project_id)
    touched: Any = copy_of(scope)
    touched.meta.generation += 1
    txn.update(ADDRESS_SCOPES, touched)


def _may_use(store: Store, caller: Caller, scope: pb.AddressScope) -> bool:
    own = scope.meta.project_id == caller.project_id or caller.is_admin
    return own or grant(store, scope.meta.id, caller.project_id) is not None
