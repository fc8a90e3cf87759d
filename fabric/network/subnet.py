"""Subnets: what they may be, and who must be told when they come and go."""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from fabric.network import address
from fabric.network.agent import reach
from fabric.network.collection import DHCP_OWNER, NETWORKS, PORTS, SUBNET_POOLS, SUBNETS, marked
from fabric.network.grant import grant, granted
from fabric.network.network import LEAST_MTU, touch
from fabric.network.own_segment import missing, network_of
from fabric.network.pool_allocation import allocate
from fabric.network.record import Asked, NetworkResource, changed
from fabric.network.segment_list import serves, used
from fabric.network.v1 import port_pb2, subnet_pool_pb2
from fabric.network.v1 import subnet_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Query

MAX_NAMESERVERS, MAX_ROUTES = 5, 20
PREFIX_DELEGATION = "prefix_delegation"
_FIXED = ("spec.network_id", "spec.cidr", "spec.ip_version", "spec.subnetpool_id", "spec.segment_id")
_FIXED_MODES = ("spec.ipv6_ra_mode", "spec.ipv6_address_mode")


class SubnetRemoval:
    """A subnet takes the addresses with it that ports have without having asked for them."""

    collection = SUBNETS

    def check_unused(self, store: Store, record: pb.Subnet) -> None:
        automatic = address.is_automatic(record)
        for port in store.table(PORTS).by("subnet", record.meta.id):
            if marked(port) or port.spec.device_owner == DHCP_OWNER:
                continue
            if not automatic or port.spec.device_owner.startswith("network:router"):
                raise FailedPrecondition(
                    f"Unable to complete operation on subnet {record.meta.id}: One or more ports have an IP "
                    "allocation from this subnet.",
                    reason="SUBNET_IN_USE",
                    subnet=record.meta.id,
                )

    def release(self, store: Store, record: pb.Subnet, txn: Transaction) -> None:
        for port in store.table(PORTS).by("subnet", record.meta.id):
            if marked(port):
                continue  # goes soon, with its claims
            left = copy_of(port)
            del left.spec.fixed_ips[:]
            left.spec.fixed_ips.extend(
                fixed for fixed in port.spec.fixed_ips if fixed.subnet_id != record.meta.id
            )
            if left.spec.device_owner == DHCP_OWNER and not left.spec.fixed_ips:
                txn.remove(PORTS, port)
            else:
                txn.update(PORTS, left)
        network = store.find(NETWORKS, record.spec.network_id)
        if network is not None:
            touch(network, txn)


class Subnets(NetworkResource[pb.Subnet]):
    """The rules of subnets."""

    collection = SUBNETS
    policies = {
        "create": "create_subnet",
        "get": "get_subnet",
        "list": "get_availability_zone",
        "update": "update_subnet",
        "delete": "delete_subnet",
    }
    narrow = {
        "meta.id": "id",
        "spec.network_id": "network",
        "spec.subnetpool_id": "subnetpool",
        "meta.project_id": "project",
        "meta.name": "name",
    }

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._moved: weakref.WeakKeyDictionary[Transaction, dict[str, port_pb2.Port]] = (
            weakref.WeakKeyDictionary()
        )

    def target_for(self, caller: Caller, message: pb.Subnet) -> dict[str, Any]:
        return self.target(message) | self.network_target(caller, message.spec.network_id)

    def reachable(self, caller: Caller) -> list[pb.Subnet]:
        table, networks = self.store.table(SUBNETS), self.store.table(NETWORKS)
        found = {s.meta.id: s for s in table.by("project", caller.project_id)}
        own = (network.meta.id for network in networks.by("project", caller.project_id))
        for network_id in (*own, *granted(self.store, "network", caller.project_id)):
            found.update((s.meta.id, s) for s in table.by("network", network_id))
        return list(found.values())

    def candidates(self, caller: Caller, asked: Query) -> list[pb.Subnet]:
        found = super().candidates(caller, asked)
        paths = [part.path for part in asked.filters] + [part.path for part in asked.sorts]
        if any(path.startswith("status.") for path in paths):
            return [self.present(caller, subnet) for subnet in found]
        return found

    def present(self, caller: Caller, message: pb.Subnet) -> pb.Subnet:
        network = self.store.find(NETWORKS, message.spec.network_id)
        shared = grant(self.store, message.spec.network_id, caller.project_id) is not None
        if network is None or not (shared or network.spec.external):
            return message
        shown = copy_of(message)
        shown.status.shared, shown.status.router_external = shared, network.spec.external
        return shown

    def own(self, caller: Caller, new: pb.Subnet) -> None:
        super().own(caller, new)
        self.network(caller, new.spec.network_id)  # NOT_FOUND before PERMISSION_DENIED

    # -- rules

    def admit(
        self,
        caller: Caller,
        new: pb.Subnet,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.Subnet],
    ) -> None:
        network = self.network(caller, new.spec.network_id)
        spec = new.spec
        if spec.service_types:
            self.require(caller, new, ["create_subnet:service_types"])
        if spec.segment_id:
            self.require(caller, new, ["create_subnet:segment_id"])
            self._check_segment(spec)
        self._check_all_or_none(new, earlier)
        if network.spec.mtu < LEAST_MTU.get(spec.ip_version, 0):
            raise FailedPrecondition(
                f"The MTU of network {network.meta.id}, {network.spec.mtu}, conflicts with IPv{spec.ip_version} "
                f"subnets, which need {LEAST_MTU[spec.ip_version]}.",
                reason="NETWORK_MTU_SUBNET_CONFLICT",
                field="ip_version",
            )
        if "spec.enable_dhcp" not in given:
            spec.enable_dhcp = True
        self._choose_prefix(caller, new, txn, earlier)
        net = address.network(spec.cidr)
        _check_cidr(spec, net)
        spec.cidr = str(net)
        if "spec.gateway_ip" not in given and not spec.gateway_ip:
            spec.gateway_ip = address.default_gateway(net)
        if "spec.allocation_pools" not in given and not spec.allocation_pools:
            spec.allocation_pools.extend(
                address.pools_of(address.default_pools(net, spec.gateway_ip), net.version)
            )
        check(new)
        self._check_overlap(new, earlier)
        touch(network, txn)
        if address.is_automatic(new):
            self._give_addresses(new, txn)

    def change(self, caller: Caller, new: pb.Subnet, old: pb.Subnet, txn: Transaction) -> None:
        for path in (*_FIXED, *_FIXED_MODES):
            if changed(old, new, [path]):
                name = path.removeprefix("spec.")
                raise InvalidArgument(
                    f"Cannot update read-only attribute {name}", reason="HTTP_BAD_REQUEST", field=name
                )
        if changed(old, new, ["spec.service_types"]):
            self.require(caller, old, ["update_subnet:service_types"])
        check(new)
        if new.spec.gateway_ip != old.spec.gateway_ip and old.spec.gateway_ip:
            self._check_gateway_free(old)

    # -- subnets from pools

    async def make_all(self, asked: Sequence[Asked[pb.Subnet]], caller: Caller) -> list[pb.Subnet]:
        pools = {self._pool_id(message.spec) for message, _ in asked} - {""}
        async with AsyncExitStack() as stack:
            for id_ in sorted(pools):  # those who cut from one pool do not make each other look again
                await stack.enter_async_context(self.store.lock(f"subnet pool {id_}"))
            return await super().make_all(asked, caller)

    def _pool_id(self, spec: pb.SubnetSpec) -> str:
        default = spec.use_default_subnetpool and self.store.owner(
            SUBNET_POOLS, "default", str(spec.ip_version)
        )
        return spec.subnetpool_id or default or ""

    def _choose_prefix(
        self, caller: Caller, new: pb.Subnet, txn: Transaction, earlier: Sequence[pb.Subnet]
    ) -> None:
        spec = new.spec
        pool = self._pool(caller, spec)
        if spec.cidr and spec.prefixlen:
            raise _bad("cidr and prefixlen must not be supplied together", "prefixlen")
        if pool is None and not spec.cidr:
            raise _bad("a subnetpool must be specified in the absence of a cidr", "cidr")
        spec.subnetpool_id = pool.meta.id if pool is not None else ""
        self._check_affinity(new, earlier)
        if pool is not None:
            allocate(self.store, txn, pool, new, earlier)
        spec.prefixlen, spec.use_default_subnetpool = 0, False

    def _pool(self, caller: Caller, spec: pb.SubnetSpec) -> subnet_pool_pb2.SubnetPool | None:
        if spec.subnetpool_id and spec.use_default_subnetpool:
            raise _bad(
                "subnetpool_id and use_default_subnetpool cannot both be specified", "use_default_subnetpool"
            )
        if spec.subnetpool_id == PREFIX_DELEGATION:
            raise _bad("IPv6 prefix delegation is not supported", "subnetpool_id")
        id_ = self._pool_id(spec)
        if not id_ and spec.use_default_subnetpool:
            raise _bad(f"No default subnetpool found for IPv{spec.ip_version}", "use_default_subnetpool")
        if not id_:
            return None
        pool = self.store.find(SUBNET_POOLS, id_)
        if pool is None or not self._may_use(caller, pool, spec.use_default_subnetpool):
            raise NotFound(
                f"Subnet pool {id_} could not be found.",
                reason="SUBNET_POOL_NOT_FOUND",
                field="subnetpool_id",
            )
        return pool

    def _may_use(self, caller: Caller, pool: subnet_pool_pb2.SubnetPool, as_default: bool) -> bool:
        own = pool.meta.project_id == caller.project_id or caller.is_admin
        return own or as_default or grant(self.store, pool.meta.id, caller.project_id) is not None

    def _check_affinity(self, new: pb.Subnet, earlier: Sequence[pb.Subnet]) -> None:
        """Of one IP version, a network's subnets are from one pool, or from pools of one address scope."""
        scope = self._scope(new)
        for other in self._others(new, earlier):
            if other.spec.ip_version != new.spec.ip_version:
                continue
            same_scope = scope != "" and scope == self._scope(other)
            if other.spec.subnetpool_id != new.spec.subnetpool_id and not same_scope:
                raise InvalidArgument(
                    "Subnets hosted on the same network must be allocated from the same subnet pool.",
                    reason="NETWORK_SUBNET_POOL_AFFINITY_ERROR",
                    field="subnetpool_id",
                )

    def _scope(self, subnet: pb.Subnet) -> str:
        pool = self.store.find(SUBNET_POOLS, subnet.spec.subnetpool_id)
        return pool.spec.address_scope_id if pool is not None else ""

    # -- checks against what is there

    def _check_segment(self, spec: pb.SubnetSpec) -> None:
        network = network_of(self.store, spec.segment_id)
        if network is None:
            raise missing(spec.segment_id)
        if network.meta.id != spec.network_id:
            raise InvalidArgument(
                f"The subnet's network id, '{spec.network_id}', doesn't match the network_id of segment "
                f"'{spec.segment_id}'.",
                reason="NETWORK_IDS_DONT_MATCH",
                field="segment_id",
            )

    def _check_all_or_none(self, new: pb.Subnet, earlier: Sequence[pb.Subnet]) -> None:
        """Either each subnet of a network is on a segment, or none is."""
        for other in self._others(new, earlier):
            if bool(other.spec.segment_id) != bool(new.spec.segment_id):
                raise InvalidArgument(
                    f"All of the subnets on network '{new.spec.network_id}' must either all be associated with "
                    "segments, or all not associated with any segments.",
                    reason="SUBNETS_NOT_ALL_ASSOCIATED_WITH_SEGMENTS",
                    field="segment_id",
                )

    def _others(self, new: pb.Subnet, earlier: Sequence[pb.Subnet]) -> Iterator[pb.Subnet]:
        """The network's other subnets, and those of the same batch."""
        found = self.store.table(SUBNETS).by("network", new.spec.network_id)
        yield from (subnet for subnet in found if not marked(subnet))
        yield from (subnet for subnet in earlier if subnet.spec.network_id == new.spec.network_id)

    def _check_overlap(self, new: pb.Subnet, earlier: Sequence[pb.Subnet]) -> None:
        net = address.network(new.spec.cidr)
        for other in self._others(new, earlier):
            alike = other.spec.ip_version == new.spec.ip_version
            if alike and address.network(other.spec.cidr).overlaps(net):
                raise address.invalid(
                    f"Requested subnet with cidr: {net} for network: {new.spec.network_id} overlaps with "
                    "another subnet",
                    "cidr",
                )

    def _check_gateway_free(self, old: pb.Subnet) -> None:
        owner = self.store.owner(PORTS, "ip", f"{old.meta.id}/{old.spec.gateway_ip}")
        port = self.store.find(PORTS, owner) if owner else None
        if port is not None and not marked(port) and port.spec.device_owner.startswith("network:router"):
            raise FailedPrecondition(
                f"Current gateway ip {old.spec.gateway_ip} already in use by port {port.meta.id}. "
                "Unable to update.",
                reason="GATEWAY_IP_IN_USE",
                field="gateway_ip",
            )

    def _give_addresses(self, new: pb.Subnet, txn: Transaction) -> None:
        """Ports that are there already get their address of a subnet where hosts make their own."""
        moved = self._moved.setdefault(txn, {})
        for port in self.store.table(PORTS).by("network", new.spec.network_id):
            if marked(port) or port.spec.device_owner.startswith("network:") or not self._reaches(port, new):
                continue
            newer = moved.setdefault(port.meta.id, copy_of(port))
            ip = address.eui64(new.spec.cidr, port.spec.mac_address)
            newer.spec.fixed_ips.add(subnet_id=new.meta.id, ip_address=ip)
            txn.update(PORTS, newer)

    def _reaches(self, port: port_pb2.Port, subnet: pb.Subnet) -> bool:
        """Whether the port is where the subnet's segment is; one that is nowhere is at no segment."""
        if not subnet.spec.segment_id:
            return True
        network = self.store.get(NETWORKS, subnet.spec.network_id)
        return bool(port.spec.node) and serves(subnet, used(network, reach(self.store, port.spec.node)))

    async def delete(self, id_: str, caller: Caller) -> pb.Subnet:
        return await self.remove(id_, caller, SubnetRemoval())


def _bad(why: str, field: str) -> InvalidArgument:
    return InvalidArgument(f"Bad subnets request: {why}.", reason="BAD_REQUEST", field=field)


def _check_cidr(spec: pb.SubnetSpec, net: address.IpNetwork) -> None:
    if spec.ip_version not in (4, 6):
        raise address.invalid(f"'{spec.ip_version}' is not a valid ip_version: it is 4 or 6", "ip_version")
    if net.version != spec.ip_version:
        raise address.invalid(f"cidr '{spec.cidr}' does not match the ip_version '{spec.ip_version}'", "cidr")
    if net.prefixlen == 0:
        raise address.invalid("0 is not allowed as CIDR prefix length", "cidr")
    if not spec.enable_dhcp:
        return
    if net.is_multicast:
        raise address.invalid("Multicast IP subnet is not supported if enable_dhcp is True", "cidr")
    if net.is_loopback:
        raise address.invalid("Loopback IP subnet is not supported if enable_dhcp is True", "cidr")
    if net.max_prefixlen - net.prefixlen < 2:
        raise address.invalid(
            "Subnet has a prefix length that is incompatible with DHCP service enabled", "cidr"
        )


def check(new: pb.Subnet) -> None:
    """What of a new or changed subnet can be judged by itself. Normalizes addresses in place."""
    spec = new.spec
    net = address.network(spec.cidr)
    _check_modes(spec, net)
    if spec.gateway_ip:
        gateway = address.address(spec.gateway_ip, "gateway_ip")
        if gateway.version != net.version:
            raise address.invalid(
                f"gateway_ip '{gateway}' does not match the ip_version '{net.version}'", "gateway_ip"
            )
        if (
            gateway in net
            and net.num_addresses > 2
            and not address.is_host(net, gateway)
            and net.version == 4
        ):
            raise address.invalid("Gateway is not valid on subnet", "gateway_ip")
        spec.gateway_ip = str(gateway)
    pools = address.checked_pools(spec.allocation_pools, net)
    del spec.allocation_pools[:]
    spec.allocation_pools.extend(address.pools_of(pools, net.version))
    if spec.gateway_ip and net.num_addresses > 2:
        gateway = address.address(spec.gateway_ip, "gateway_ip")
        for first, last in pools:
            if first <= int(gateway) <= last:
                raise AlreadyExists(
                    f"Gateway ip {gateway} conflicts with allocation pool "
                    f"{address.text(first, net.version)}-{address.text(last, net.version)}.",
                    reason="GATEWAY_CONFLICT_WITH_ALLOCATION_POOLS",
                    field="gateway_ip",
                )
    _check_nameservers(spec)
    _check_routes(spec)


def _check_modes(spec: pb.SubnetSpec, net: address.IpNetwork) -> None:
    modes = {"ipv6_ra_mode": spec.ipv6_ra_mode, "ipv6_address_mode": spec.ipv6_address_mode}
    for name, mode in modes.items():
        if mode not in address.MODES:
            raise address.invalid(
                f"'{mode}' is not in ['dhcpv6-stateful', 'dhcpv6-stateless', 'slaac']", name
            )
        if mode and spec.ip_version == 4:
            raise address.invalid(f"{name} is not valid when ip_version is 4", name)
        if mode and not spec.enable_dhcp:
            raise address.invalid(
                "ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False", name
            )
    if spec.ipv6_ra_mode and spec.ipv6_address_mode and spec.ipv6_ra_mode != spec.ipv6_address_mode:
        raise address.invalid(
            f"ipv6_ra_mode set to '{spec.ipv6_ra_mode}' with ipv6_address_mode set to "
            f"'{spec.ipv6_address_mode}' is not valid. If both attributes are set, they must be the same value",
            "ipv6_ra_mode",
        )
    automatic = {spec.ipv6_ra_mode, spec.ipv6_address_mode} & address.AUTOMATIC
    if automatic and net.prefixlen != 64:
        raise address.invalid(
            f"Invalid CIDR {net} for IPv6 address mode. OpenStack uses the EUI-64 address format, which "
            "requires the prefix to be /64",
            "cidr",
        )


def _check_nameservers(spec: pb.SubnetSpec) -> None:
    servers = [str(address.address(server, "dns_nameservers")) for server in spec.dns_nameservers]
    if len(servers) > MAX_NAMESERVERS:
        raise InvalidArgument(
            f"Unable to complete operation for the subnet. The number of DNS nameservers exceeds the limit "
            f"{MAX_NAMESERVERS}.",
            reason="DNS_NAME_SERVERS_EXHAUSTED",
            field="dns_nameservers",
        )
    if len(set(servers)) != len(servers):
        raise address.invalid(f"Duplicate nameserver in {', '.join(servers)}", "dns_nameservers")
    spec.dns_nameservers[:] = servers


def _check_routes(spec: pb.SubnetSpec) -> None:
    if len(spec.host_routes) > MAX_ROUTES:
        raise InvalidArgument(
            f"Unable to complete operation for the subnet. The number of host routes exceeds the limit "
            f"{MAX_ROUTES}.",
            reason="HOST_ROUTES_EXHAUSTED",
            field="host_routes",
        )
    met = set()
    for route in spec.host_routes:
        destination = address.network(route.destination, "host_routes")
        nexthop = address.address(route.nexthop, "host_routes")
        if {destination.version, nexthop.version} != {spec.ip_version}:
            raise address.invalid(
                f"host route {route.destination} via {route.nexthop} does not match the ip_version "
                f"'{spec.ip_version}'",
                "host_routes",
            )
        if (destination, nexthop) in met:
            raise address.invalid(f"Duplicate hostroute '{route.destination}'", "host_routes")
        met.add((destination, nexthop))
        route.destination, route.nexthop = str(destination), str(nexthop)
