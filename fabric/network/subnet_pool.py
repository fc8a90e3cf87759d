"""Subnet pools: what they may be, and how their prefixes change."""

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network import address, address_scope, prefix
from fabric.network.address import IpNetwork
from fabric.network.collection import ADDRESS_SCOPES, SUBNET_POOLS, SUBNETS, marked
from fabric.network.network import touch
from fabric.network.pool_allocation import taken
from fabric.network.record import changed
from fabric.network.sharing import SharedResource, open_to_all
from fabric.network.v1 import subnet_pb2
from fabric.network.v1 import subnet_pool_pb2 as pb
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction

MAX_PREFIXES = 1000


class SubnetPools(SharedResource[pb.SubnetPool]):
    """The rules of subnet pools."""

    collection = SUBNET_POOLS
    object_type = "subnetpool"
    policies = {
        "create": "create_subnetpool",
        "get": "get_subnetpool",
        "list": "get_availability_zone",
        "update": "update_subnetpool",
        "delete": "delete_subnetpool",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "meta.name": "name"}

    def admit(
        self,
        caller: Caller,
        new: pb.SubnetPool,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.SubnetPool],
    ) -> None:
        spec = new.spec
        _check_prefixes(new)
        if "spec.min_prefixlen" not in given:
            spec.min_prefixlen = prefix.DEFAULT_MIN[spec.ip_version]
        if "spec.max_prefixlen" not in given:
            spec.max_prefixlen = prefix.BITS[spec.ip_version]
        if "spec.default_prefixlen" not in given:
            spec.default_prefixlen = spec.min_prefixlen
        _check_bounds(spec)
        if spec.is_default:
            self.require(caller, new, ["create_subnetpool:is_default"])
            self._check_default(new)
        if spec.address_scope_id:
            address_scope.join(self.store, caller, txn, new, earlier)
        if spec.shared:
            self.require(caller, new, ["create_subnetpool:shared"])
            open_to_all(txn, self.object_type, new)

    async def update(self, message: pb.SubnetPool, mask: FieldMask, caller: Caller) -> pb.SubnetPool:
        if "spec.is_default" in mask.paths:  # whatever its value
            self.require(caller, self.find(message.meta.id, caller), ["update_subnetpool:is_default"])
        return await super().update(message, mask, caller)

    def change(self, caller: Caller, new: pb.SubnetPool, old: pb.SubnetPool, txn: Transaction) -> None:
        new.spec.shared = old.spec.shared
        _check_prefixes(new)
        if new.spec.ip_version != old.spec.ip_version:
            raise _refused("PREFIX_VERSION_MISMATCH", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
        _check_bounds(new.spec)
        if new.spec.is_default and not old.spec.is_default:
            self._check_default(new)
        left = prefix.networks(new.spec.prefixes)
        if not all(prefix.covers(left, net) for net in prefix.networks(old.spec.prefixes)):
            raise _refused(
                "ILLEGAL_SUBNET_POOL_PREFIX_UPDATE",
                "Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes.",
            )
        self._change_scope(caller, new, old, txn)

    def check_delete(self, caller: Caller, old: pb.SubnetPool, txn: Transaction) -> None:
        if self.store.table(SUBNETS).count("subnetpool", old.meta.id):
            raise _refused(
                "SUBNET_POOL_DELETE_ERROR",
                "Unable to delete subnet pool: Subnet pool has existing allocations.",
            )
        super().check_delete(caller, old, txn)

    def _change_scope(self, caller: Caller, new: pb.SubnetPool, old: pb.SubnetPool, txn: Transaction) -> None:
        differs = changed(old, new, ["spec.address_scope_id", "spec.prefixes"])
        scope = self.store.find(ADDRESS_SCOPES, old.spec.address_scope_id) if differs else None
        if scope is not None and scope.meta.project_id != caller.project_id and not caller.is_admin:
            raise _refused(
                "ILLEGAL_SUBNET_POOL_UPDATE",
                f"Illegal subnetpool update : subnetpool {old.meta.id} cannot be updated when associated with "
                f"shared address scope {scope.meta.id}.",
            )
        if differs and new.spec.address_scope_id:
            address_scope.join(self.store, caller, txn, new)

    def _check_default(self, new: pb.SubnetPool) -> None:
        if self.store.owner(SUBNET_POOLS, "default", str(new.spec.ip_version)):
            raise address.invalid(
                "A default subnetpool for this IP family has already been set. Only one default may exist per "
                "IP family",
                "is_default",
            )

    # -- prefixes that come, go, or are brought along

    @again
    async def AddPrefixes(self, request: pb.AddPrefixesRequest, caller: Caller) -> pb.SubnetPool:
        message = pb.SubnetPool()
        old = self.find(request.id, caller)
        message.meta.id, message.meta.etag = old.meta.id, old.meta.etag
        message.spec.prefixes[:] = [*old.spec.prefixes, *request.prefixes]
        return await self.update(message, FieldMask(paths=["spec.prefixes"]), caller)

    @again
    async def RemovePrefixes(self, request: pb.RemovePrefixesRequest, caller: Caller) -> pb.SubnetPool:
        old = self.find(request.id, caller)
        self.enforce("update", caller, old)
        new = copy_of(old)
        new.spec.prefixes[:] = _removed(old, prefix.networks(request.prefixes))
        left = prefix.networks(new.spec.prefixes)
        if not all(prefix.covers(left, net) for net in taken(self.store, old)):
            raise _refused(
                "ILLEGAL_SUBNET_POOL_PREFIX_UPDATE",
                "Illegal update to prefixes: One or more subnets are allocated from the prefixes.",
            )
        async with self.store.transaction() as txn:
            self._change_scope(caller, new, old, txn)
            txn.update(SUBNET_POOLS, new)
        return self.present(caller, self.kept(new))

    @again
    async def OnboardSubnets(
        self, request: pb.OnboardSubnetsRequest, caller: Caller
    ) -> pb.OnboardSubnetsResponse:
        old = self.find(request.id, caller)
        self.enforce("update", caller, old)
        network = self.network(caller, request.network_id)
        self.policy.enforce(
            caller, "update_network", {"project_id": network.meta.project_id, "shared": False}
        )
        found = [
            subnet
            for subnet in self.store.table(SUBNETS).by("network", network.meta.id)
            if not marked(subnet) and subnet.spec.ip_version == old.spec.ip_version
        ]
        new, moved = _onboarded(self.store, old, found)
        async with self.store.transaction() as txn:
            self._change_scope(caller, new, old, txn)
            txn.update(SUBNET_POOLS, new)
            touch(network, txn)
            for subnet in moved:
                txn.update(SUBNETS, subnet)
        return pb.OnboardSubnetsResponse(subnets=moved)


def _check_prefixes(new: pb.SubnetPool) -> None:
    """Bring them into their usual form in place; their IP version is the pool's."""
    found = prefix.networks(new.spec.prefixes)
    if not found:
        raise _refused("EMPTY_SUBNET_POOL_PREFIX_LIST", "Empty subnet pool prefix list.")
    if len(found) > MAX_PREFIXES:
        raise address.invalid(f"a subnet pool has at most {MAX_PREFIXES} prefixes", "prefixes")
    if len({net.version for net in found}) > 1:
        raise _refused("PREFIX_VERSION_MISMATCH", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
    if any(net.prefixlen == 0 for net in found):
        raise address.invalid("0 is not allowed as CIDR prefix length", "prefixes")
    new.spec.prefixes[:] = prefix.merged(found)
    new.spec.ip_version = found[0].version


def _check_bounds(spec: pb.SubnetPoolSpec) -> None:
    bits = prefix.BITS[spec.ip_version]
    least, most, default = spec.min_prefixlen, spec.max_prefixlen, spec.default_prefixlen
    if least < 0 or least > bits:
        raise InvalidArgument(
            f"Prefix '{least}' not supported in IPv{spec.ip_version} pool.",
            reason="UNSUPPORTED_MIN_SUBNET_POOL_PREFIX",
            field="min_prefixlen",
        )
    bounds = (
        ("max_prefixlen", most, "ip_version", spec.ip_version, most > bits),
        ("min_prefixlen", least, "max_prefixlen", most, least > most),
        ("default_prefixlen", default, "min_prefixlen", least, default < least),
        ("default_prefixlen", default, "max_prefixlen", most, default > most),
    )
    for name, value, base, limit, wrong in bounds:
        if wrong:
            raise InvalidArgument(
                f"Illegal prefix bounds: {name}={value}, {base}={limit}.",
                reason="ILLEGAL_SUBNET_POOL_PREFIX_BOUNDS",
                field=name,
            )
    if spec.HasField("default_quota") and spec.default_quota < 0:
        raise address.invalid(f"'{spec.default_quota}' must not be negative", "default_quota")


def _removed(old: pb.SubnetPool, gone: list[IpNetwork]) -> list[str]:
    """The prefixes that are left. Raises InvalidArgument."""
    had = prefix.networks(old.spec.prefixes)
    if not gone or not all(prefix.covers(had, net) for net in gone):
        raise _refused(
            "ILLEGAL_SUBNET_POOL_PREFIX_UPDATE",
            "Illegal update to prefixes: One or more prefixes are not in the subnet pool.",
        )
    left = prefix.without(had, gone)
    if not left:
        raise _refused("EMPTY_SUBNET_POOL_PREFIX_LIST", "Empty subnet pool prefix list.")
    return prefix.merged(left)


def _onboarded(
    store: Store, old: pb.SubnetPool, found: Sequence[subnet_pb2.Subnet]
) -> tuple[pb.SubnetPool, list[subnet_pb2.Subnet]]:
    """The pool and the subnets as they are then. Raises InvalidArgument."""
    if not found:
        raise _refused(
            "NO_SUBNETS_TO_ONBOARD",
            f"The network has no subnets of IPv{old.spec.ip_version} to onboard.",
            "network_id",
        )
    brought = [address.network(subnet.spec.cidr) for subnet in found]
    elsewhere = any(subnet.spec.subnetpool_id for subnet in found)
    if elsewhere or prefix.overlap(brought, taken(store, old)):
        raise _refused(
            "ILLEGAL_SUBNET_POOL_UPDATE",
            f"Illegal subnetpool update : subnets of the network are of a pool already, or overlap subnets of "
            f"subnetpool {old.meta.id}.",
            "network_id",
        )
    new, moved = copy_of(old), [copy_of(subnet) for subnet in found]
    new.spec.prefixes[:] = prefix.merged([*prefix.networks(old.spec.prefixes), *brought])
    new.meta.generation += 1
    for subnet in moved:
        subnet.spec.subnetpool_id = old.meta.id
    return new, moved


def _refused(reason: str, message: str, field: str = "prefixes") -> InvalidArgument:
    return InvalidArgument(message, reason=reason, field=field)
