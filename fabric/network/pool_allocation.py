"""Which prefix a new subnet gets of its pool."""

from collections.abc import Iterable

from fabric.network import address, prefix
from fabric.network.address import IpNetwork
from fabric.network.collection import SUBNET_POOLS, SUBNETS
from fabric.network.grant import rely
from fabric.network.v1 import subnet_pb2
from fabric.network.v1 import subnet_pool_pb2 as pb
from fabric.runtime.errors import Exhausted, InvalidArgument
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction


def allocate(
    store: Store,
    txn: Transaction,
    pool: pb.SubnetPool,
    new: subnet_pb2.Subnet,
    earlier: Iterable[subnet_pb2.Subnet],
) -> None:
    """Cut the subnet from the pool: its cidr if it has one, else a prefix of the asked or default length.

    The pool is written too: of those who cut at the same time, one wins and the others look again.
    """
    spec, beside = new.spec, [subnet for subnet in earlier if subnet.spec.subnetpool_id == pool.meta.id]
    if spec.ip_version != pool.spec.ip_version:
        raise address.invalid(
            f"subnet pool {pool.meta.id} is not of ip_version '{spec.ip_version}'", "subnetpool_id"
        )
    net = address.network(spec.cidr) if spec.cidr else None
    prefixlen = net.prefixlen if net else spec.prefixlen or pool.spec.default_prefixlen
    _check_prefixlen(pool.spec, prefixlen)
    used = [*taken(store, pool), *(address.network(subnet.spec.cidr) for subnet in beside)]
    prefixes = prefix.networks(pool.spec.prefixes)
    if net is None:
        net = prefix.choose(prefixes, used, prefixlen)
        if net is None:
            raise _failed(f"Insufficient prefix space to allocate subnet size /{prefixlen}")
    elif not prefix.covers(prefixes, net) or prefix.overlap([net], used):
        raise _failed("Cannot allocate requested subnet from the available set of prefixes")
    spec.cidr = str(net)
    _check_quota(store, pool, net, new.meta.project_id, beside)
    rely(store, txn, pool.meta.id, pool.meta.project_id, new.meta.project_id)
    touched = copy_of(pool)
    touched.meta.generation += 1
    txn.update(SUBNET_POOLS, touched)


def taken(store: Store, pool: pb.SubnetPool) -> list[IpNetwork]:
    """What is cut from the pool."""
    return [address.network(s.spec.cidr) for s in store.table(SUBNETS).by("subnetpool", pool.meta.id)]


def _check_quota(
    store: Store, pool: pb.SubnetPool, net: IpNetwork, project_id: str, beside: Iterable[subnet_pb2.Subnet]
) -> None:
    if not pool.spec.HasField("default_quota"):
        return
    used = sum(
        prefix.quota_units(address.network(subnet.spec.cidr))
        for subnet in (*store.table(SUBNETS).by("subnetpool", pool.meta.id), *beside)
        if subnet.meta.project_id == project_id
    )
    if used + prefix.quota_units(net) > pool.spec.default_quota:
        raise Exhausted(
            "Per-tenant subnet pool prefix quota exceeded.",
            reason="SUBNET_POOL_QUOTA_EXCEEDED",
            limit=pool.spec.default_quota,
            usage=used,
        )


def _check_prefixlen(spec: pb.SubnetPoolSpec, prefixlen: int) -> None:
    asked = f"Unable to allocate subnet with prefix length {prefixlen}"
    if prefixlen < spec.min_prefixlen:
        raise InvalidArgument(
            f"{asked}, minimum allowed prefix is {spec.min_prefixlen}.",
            reason="MIN_PREFIX_SUBNET_ALLOCATION_ERROR",
            field="prefixlen",
        )
    if prefixlen > spec.max_prefixlen:
        raise InvalidArgument(
            f"{asked}, maximum allowed prefix is {spec.max_prefixlen}.",
            reason="MAX_PREFIX_SUBNET_ALLOCATION_ERROR",
            field="prefixlen",
        )


def _failed(why: str) -> Exhausted:
    return Exhausted(f"Failed to allocate subnet: {why}.", reason="SUBNET_ALLOCATION_ERROR", field="cidr")
