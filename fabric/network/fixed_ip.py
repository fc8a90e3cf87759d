"""Which addresses a port gets: what is asked for, one of each family when nothing is, and its own EUI-64 ones."""

from collections.abc import Iterable, Sequence

from fabric.network import address
from fabric.network.agent import reach
from fabric.network.allocation import Allocator, Reservation
from fabric.network.collection import SUBNETS, marked
from fabric.network.segment_list import serves, used
from fabric.network.v1 import network_pb2, subnet_pb2
from fabric.network.v1 import port_pb2 as pb
from fabric.runtime.errors import AlreadyExists, Exhausted, FailedPrecondition, InvalidArgument
from fabric.runtime.store import Store, Transaction

_OWN = "network:"  # owners of ports that the cloud places by itself
ROUTERS = ("network:router_interface", "network:ha_router", "network:router_centralized_snat")


class Chooser:
    """Chooses for one port within one transaction, which then depends on the subnets that it read.

    node: where the port is; it has the subnets that are on no segment, and those of the segment that it uses.
    """

    def __init__(
        self,
        store: Store,
        txn: Transaction,
        allocator: Allocator,
        held: Reservation,
        network: network_pb2.Network,
        node: str = "",
    ) -> None:
        self._txn, self._allocator, self._held = txn, allocator, held
        self._network, self._node = network, node
        found = [s for s in store.table(SUBNETS).by("network", network.meta.id) if not marked(s)]
        found.sort(key=lambda s: (s.meta.create_time.seconds, s.meta.create_time.nanos, s.meta.id))
        self._subnets = {subnet.meta.id: subnet for subnet in found}
        self._routed = bool(found) and all(subnet.spec.segment_id for subnet in found)
        self._segment = used(network, reach(store, node)) if self._routed and node else None

    def defers(self, device_owner: str) -> bool:
        """Whether nothing can be chosen before the port has a node; the cloud's own go where their addresses are."""
        return self._routed and not self._node and not device_owner.startswith(_OWN)

    def check_place(self, port: pb.Port) -> None:
        """Raise FailedPrecondition unless the addresses that the port has are good on the node."""
        if not self._routed or not self._node or port.spec.device_owner.startswith(_OWN):
            return
        for fixed in port.spec.fixed_ips:
            subnet = self._subnets.get(fixed.subnet_id)
            if subnet is not None and not serves(subnet, self._segment):
                raise FailedPrecondition(
                    f"Host {self._node} is not connected to a segment where the existing fixed_ips on port "
                    f"{port.meta.id} will function given the routed network topology.",
                    reason="HOST_NOT_COMPATIBLE_WITH_FIXED_IPS",
                    port=port.meta.id,
                )

    def choose(self, asked: Sequence[pb.FixedIp] | None, mac: str, device_owner: str) -> list[pb.FixedIp]:
        """asked None: nothing was said. Raises InvalidArgument, AlreadyExists (taken), Exhausted."""
        chosen: list[pb.FixedIp] = []
        if asked is None and self.defers(device_owner):
            return []
        if asked is None:
            self._check_connected(device_owner)
            for version in (4, 6):
                chosen += self._one_of(version, device_owner)
        else:
            chosen += [self._asked_for(fixed, mac, device_owner) for fixed in asked]
            _refuse_twice(chosen)
        if not device_owner.startswith(ROUTERS):
            met = {fixed.subnet_id for fixed in chosen}
            chosen += [
                self._own(subnet, mac)
                for subnet in self._subnets.values()
                if address.is_automatic(subnet)
                and subnet.meta.id not in met
                and self._serves(subnet, device_owner)
            ]
        return chosen

    def change(self, asked: Sequence[pb.FixedIp], old: pb.Port, mac: str) -> list[pb.FixedIp]:
        """What the port has after an update: what is asked for again stays, and so do its own EUI-64 ones."""
        moved = mac != old.spec.mac_address
        left = {fixed.ip_address: fixed for fixed in old.spec.fixed_ips}
        chosen_by_itself = not old.spec.device_owner.startswith(ROUTERS)
        own = {id_ for id_, s in self._subnets.items() if chosen_by_itself and address.is_automatic(s)}
        chosen: list[pb.FixedIp | None] = []
        for fixed in asked:
            known = left.get(fixed.ip_address) if fixed.ip_address else None
            if known is not None and not (moved and known.subnet_id in own):
                chosen.append(left.pop(fixed.ip_address))
            else:
                chosen.append(None)
        for at, fixed in enumerate(asked):
            if chosen[at] is None and fixed.subnet_id and not fixed.ip_address:
                same = next((f for f in left.values() if f.subnet_id == fixed.subnet_id), None)
                if same is not None and not (moved and same.subnet_id in own):
                    chosen[at] = left.pop(same.ip_address)
        final: list[pb.FixedIp] = []
        for fixed, kept in zip(asked, chosen, strict=True):
            if (
                kept is None
                and moved
                and fixed.ip_address in left
                and left[fixed.ip_address].subnet_id in own
            ):
                continue  # made of the old MAC; its successor comes below
            final.append(_copy(kept) if kept else self._asked_for(fixed, mac, old.spec.device_owner))
        met = {fixed.subnet_id for fixed in final}
        for fixed in old.spec.fixed_ips:
            if fixed.subnet_id in own and fixed.subnet_id not in met:
                final.append(self._own(self._subnets[fixed.subnet_id], mac) if moved else _copy(fixed))
        _refuse_twice(final)
        return final

    def _check_connected(self, device_owner: str) -> None:
        if not self._routed or device_owner.startswith(_OWN):
            return
        if self._segment is None:
            raise FailedPrecondition(
                f"Host {self._node} is not connected to any segments on routed provider network "
                f"'{self._network.meta.id}'. It should be connected to one.",
                reason="HOST_NOT_CONNECTED_TO_ANY_SEGMENT",
            )
        if not any(serves(subnet, self._segment) for subnet in self._subnets.values()):
            raise _exhausted(
                f"No subnet of network {self._network.meta.id} is on segment {self._segment.meta.id}, which host "
                f"{self._node} uses.",
                "_NO_MATCHING_SUBNET",
            )

    def _serves(self, subnet: subnet_pb2.Subnet, device_owner: str) -> bool:
        if device_owner.startswith(_OWN) or not self._routed:
            return _is_for(subnet, device_owner)
        return serves(subnet, self._segment) and _is_for(subnet, device_owner)

    def _one_of(self, version: int, device_owner: str) -> Iterable[pb.FixedIp]:
        eligible = [
            subnet
            for subnet in self._subnets.values()
            if subnet.spec.ip_version == version
            and not address.is_automatic(subnet)
            and self._serves(subnet, device_owner)
        ]
        for subnet in eligible:
            ip = self._held.choose(subnet)
            if ip is not None:
                self._txn.expect(SUBNETS, subnet)
                return [pb.FixedIp(subnet_id=subnet.meta.id, ip_address=ip)]
        if eligible:
            raise _exhausted(f"No more IP addresses available on network {self._network.meta.id}.", "")
        return []

    def _asked_for(self, fixed: pb.FixedIp, mac: str, device_owner: str) -> pb.FixedIp:
        subnet = self._subnet_of(fixed)
        self._txn.expect(SUBNETS, subnet)
        automatic = address.is_automatic(subnet) and not device_owner.startswith(ROUTERS)
        if not fixed.ip_address:
            if automatic:
                return self._own(subnet, mac)
            ip = self._held.choose(subnet)
            if ip is None:
                raise _exhausted(
                    f"No more IP addresses available for subnet {subnet.meta.id}.", "_FOR_SUBNET"
                )
            return pb.FixedIp(subnet_id=subnet.meta.id, ip_address=ip)
        ip = str(address.address(fixed.ip_address, "fixed_ips"))
        if automatic and ip != address.eui64(subnet.spec.cidr, mac):
            raise address.invalid(
                f"IPv6 address {ip} can not be directly assigned to a port on subnet {subnet.meta.id} as the "
                "subnet is configured for automatic addresses",
                "fixed_ips",
            )
        self._take(subnet, ip)
        return pb.FixedIp(subnet_id=subnet.meta.id, ip_address=ip)

    def _own(self, subnet: subnet_pb2.Subnet, mac: str) -> pb.FixedIp:
        ip = address.eui64(subnet.spec.cidr, mac)
        self._txn.expect(SUBNETS, subnet)
        self._take(subnet, ip)
        return pb.FixedIp(subnet_id=subnet.meta.id, ip_address=ip)

    def _take(self, subnet: subnet_pb2.Subnet, ip: str) -> None:
        if self._allocator.taken(subnet.meta.id, ip) or not self._held.hold(subnet.meta.id, ip):
            raise AlreadyExists(
                f"IP address {ip} already allocated in subnet {subnet.meta.id}",
                reason="IP_ADDRESS_ALREADY_ALLOCATED",
                ip_address=ip,
            )

    def _subnet_of(self, fixed: pb.FixedIp) -> subnet_pb2.Subnet:
        if fixed.subnet_id:
            subnet = self._subnets.get(fixed.subnet_id)
            if subnet is None:
                raise address.invalid(
                    f"Failed to create port on network {self._network.meta.id}, because fixed_ips included "
                    f"invalid subnet {fixed.subnet_id}",
                    "fixed_ips",
                )
            if fixed.ip_address and not _fits(subnet, fixed.ip_address):
                raise InvalidArgument(
                    f"IP address {fixed.ip_address} is not a valid IP for the specified subnet.",
                    reason="INVALID_IP_FOR_SUBNET",
                    field="fixed_ips",
                )
            return subnet
        if not fixed.ip_address:
            raise address.invalid("IP allocation requires subnet_id or ip_address", "fixed_ips")
        for subnet in self._subnets.values():
            if _fits(subnet, fixed.ip_address):
                return subnet
        raise InvalidArgument(
            f"IP address {fixed.ip_address} is not a valid IP for any of the subnets on the specified network.",
            reason="INVALID_IP_FOR_NETWORK",
            field="fixed_ips",
        )


def _fits(subnet: subnet_pb2.Subnet, ip: str) -> bool:
    return address.is_host(address.network(subnet.spec.cidr), address.address(ip, "fixed_ips"))


def _is_for(subnet: subnet_pb2.Subnet, device_owner: str) -> bool:
    types = subnet.spec.service_types
    return not types or any(device_owner == kind or device_owner.startswith(kind + ":") for kind in types)


def _copy(fixed: pb.FixedIp) -> pb.FixedIp:
    return pb.FixedIp(subnet_id=fixed.subnet_id, ip_address=fixed.ip_address)


def _refuse_twice(chosen: Sequence[pb.FixedIp]) -> None:
    met = [fixed.ip_address for fixed in chosen]
    if len(set(met)) != len(met):
        raise address.invalid(f"Duplicate IP address in {', '.join(met)}", "fixed_ips")


def _exhausted(message: str, tail: str) -> Exhausted:
    return Exhausted(message, reason=f"IP_ADDRESS_GENERATION_FAILURE{tail}")
