"""Networks: what attributes may be, who sees them, removal."""

from collections.abc import Iterable, Sequence
from typing import Any

from fabric.network import segment, segment_list
from fabric.network.collection import (
    DHCP_OWNER,
    FLOATING_IPS,
    FLOATING_OWNER,
    NETWORKS,
    PORTS,
    SUBNET_POOLS,
    SUBNETS,
    marked,
)
from fabric.network.dns_name import check_domain
from fabric.network.grant import EXTERNAL, SHARED
from fabric.network.qos_policy import QosPolicies, attach, default_of
from fabric.network.record import TRIES, Asked, access, changed
from fabric.network.sharing import SharedResource, close_to_all, open_to_all, withdraw_all
from fabric.network.v1 import network_pb2 as pb
from fabric.network.v1 import port_pb2, subnet_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.config import Config
from fabric.runtime.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction

LEAST_MTU = {4: 68, 6: 1280}  # of subnets, by IP version
MAX_MTU = 65535
_GUARDED = {
    "spec.shared": "shared",
    "spec.external": "router:external",
    "spec.is_default": "is_default",
    "spec.network_type": "provider:network_type",
    "spec.physical_network": "provider:physical_network",
    "spec.segmentation_id": "provider:segmentation_id",
    "spec.segments": "segments",
}


class NetworkRemoval:
    """A network takes its subnets, its DHCP port and the floating IPs that lead nowhere with it."""

    collection = NETWORKS

    def check_unused(self, store: Store, record: pb.Network) -> None:
        used = [port for port in store.table(PORTS).by("network", record.meta.id) if not marked(port)]
        if any(not _goes_along(store, port) for port in used):
            raise FailedPrecondition(
                f"Unable to complete operation on network {record.meta.id}. "
                "There are one or more ports still in use on the network.",
                reason="NETWORK_IN_USE",
                network=record.meta.id,
            )

    def release(self, store: Store, record: pb.Network, txn: Transaction) -> None:
        for floating in store.table(FLOATING_IPS).by("network", record.meta.id):
            txn.remove(FLOATING_IPS, floating)
        for port in store.table(PORTS).by("network", record.meta.id):
            if _goes_along(store, port):
                txn.remove(PORTS, port)
        for subnet in store.table(SUBNETS).by("network", record.meta.id):
            txn.remove(SUBNETS, subnet)
        withdraw_all(store, txn, record)


def _goes_along(store: Store, port: port_pb2.Port) -> bool:
    if port.spec.device_owner == FLOATING_OWNER:
        floating = store.find(FLOATING_IPS, port.spec.device_id)
        return floating is not None and not floating.spec.router_id
    return port.spec.device_owner == DHCP_OWNER


class Networks(SharedResource[pb.Network]):
    """The rules of networks."""

    collection = NETWORKS
    object_type = "network"
    policies = {
        "create": "create_network",
        "get": "get_network",
        "list": "get_availability_zone",
        "update": "update_network",
        "delete": "delete_network",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "meta.name": "name"}

    def __init__(self, store: Store, policy: Policy, config: Config) -> None:
        super().__init__(store, policy)
        self._config = config.network
        self._zone = config.node.availability_zone
        self._qos = QosPolicies(store, policy)
        self._served: tuple[int, set[str]] = -1, set()  # the zones, and at which version of the lives

    def target_for(self, caller: Caller, message: pb.Network) -> dict[str, Any]:
        return self.target(message) | access(self.store, caller, message.meta.id)

    def present(self, caller: Caller, message: pb.Network) -> pb.Network:
        shown = super().present(caller, message)
        shown.status.Clear()
        shown.status.state = pb.NetworkStatus.STATE_ACTIVE
        for subnet in self.store.table(SUBNETS).by("network", message.meta.id):
            if not marked(subnet):
                shown.status.subnet_ids.append(subnet.meta.id)
                shown.status.routed |= bool(subnet.spec.segment_id)
                self._show_scope(shown.status, subnet)
        hints = frozenset(message.spec.availability_zone_hints)
        if self._served[0] != self.store.lives_version:
            self._served = self.store.lives_version, zones(self.store)
        served = self._served[1]
        shown.status.availability_zones.extend(sorted(served & hints if hints else served))
        return shown

    def _show_scope(self, status: pb.NetworkStatus, subnet: subnet_pb2.Subnet) -> None:
        pool = self.store.find(SUBNET_POOLS, subnet.spec.subnetpool_id)
        if pool is not None and pool.spec.address_scope_id:
            name = "ipv4_address_scope" if pool.spec.ip_version == 4 else "ipv6_address_scope"
            setattr(status, name, pool.spec.address_scope_id)

    # -- rules

    async def make_all(self, asked: Sequence[Asked[pb.Network]], caller: Caller) -> list[pb.Network]:
        for attempt in range(TRIES):
            try:
                return await super().make_all(asked, caller)
            except AlreadyExists as error:
                if error.facts.get("index") != "segment":
                    raise
                chosen = all(segment.is_chosen(message) for message, _ in asked)
                if not chosen or attempt + 1 == TRIES:
                    raise segment.taken(error) from error
                await self.store.fresh(None)  # it was free when it was chosen
        raise AssertionError

    def admit(
        self,
        caller: Caller,
        new: pb.Network,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.Network],
    ) -> None:
        spec = new.spec
        asked = [path for path in _GUARDED if path in given or changed(new, pb.Network(), [path])]
        plain = {
            p
            for p in asked
            if p in ("spec.shared", "spec.external", "spec.is_default", "spec.segments") and not _bool(new, p)
        }
        self.require(caller, new, (f"create_network:{_GUARDED[path]}" for path in asked if path not in plain))
        for name in ("admin_state_up", "port_security_enabled"):
            if f"spec.{name}" not in given:
                setattr(spec, name, True)
        new.ClearField("status")
        self._check_default(new)
        check_zones(self.store, self._zone, new.spec.availability_zone_hints)
        met = {part.segmentation_id for other in earlier for part in segment_list.facts(other)}
        segment.choose(self.store, self._config, new, met, txn)
        spec.mtu = spec.mtu or segment.mtu(self._config, new)
        self._check(new)
        check_domain(spec.dns_domain)
        if "spec.qos_policy_id" not in given:
            spec.qos_policy_id = spec.qos_policy_id or default_of(self.store, new.meta.project_id)
        attach(self._qos, caller, new, None, txn)
        if spec.shared:
            open_to_all(txn, self.object_type, new, SHARED)
        if spec.external:
            open_to_all(txn, self.object_type, new, EXTERNAL)

    def change(self, caller: Caller, new: pb.Network, old: pb.Network, txn: Transaction) -> None:
        differs = changed(old, new, _GUARDED)
        self.require(caller, old, (f"update_network:{_GUARDED[path]}" for path in differs))
        if differs & {"spec.network_type", "spec.physical_network", "spec.segmentation_id", "spec.segments"}:
            raise InvalidArgument(
                "Invalid input for operation: Plugin does not support updating the following provider network "
                "attributes: network_type, physical_network, segmentation_id.",
                reason="INVALID_INPUT",
                field="provider:network_type",
            )
        new.spec.mtu = new.spec.mtu or segment.mtu(self._config, new)
        self._check(new)
        if new.spec.dns_domain != old.spec.dns_domain:
            check_domain(new.spec.dns_domain)
        attach(self._qos, caller, new, old, txn)
        self._check_default(new)
        self._change_access(new, old, txn)

    def _change_access(self, new: pb.Network, old: pb.Network, txn: Transaction) -> None:
        if old.spec.shared and not new.spec.shared:
            self._unshare(old, txn)
        if new.spec.shared and not old.spec.shared:
            open_to_all(txn, self.object_type, new, SHARED)
        if old.spec.external and not new.spec.external:
            self._make_internal(old, txn)
            withdraw_all(self.store, txn, old, EXTERNAL)
        if new.spec.external and not old.spec.external:
            open_to_all(txn, self.object_type, new, EXTERNAL)

    def _check(self, new: pb.Network) -> None:
        if new.spec.mtu > MAX_MTU:
            raise InvalidArgument(
                f"Invalid input for operation: '{new.spec.mtu}' is not in valid range 0 to {MAX_MTU}.",
                reason="INVALID_INPUT",
                field="mtu",
            )
        segment.check_mtu(self._config, new)
        for subnet in self.store.table(SUBNETS).by("network", new.meta.id):
            least = LEAST_MTU[subnet.spec.ip_version]
            if new.spec.mtu >= least:
                continue
            raise FailedPrecondition(
                f"Request to change network MTU for network {new.meta.id} to {new.spec.mtu} conflicts with "
                f"its IPv{subnet.spec.ip_version} subnets, which need {least}.",
                reason="NETWORK_MTU_SUBNET_CONFLICT",
                field="mtu",
            )

    def _check_default(self, new: pb.Network) -> None:
        """The claim decides; this says it in the words of the API."""
        default = self.store.owner(NETWORKS, "default", "external")
        if new.spec.is_default and new.spec.external and default not in (None, new.meta.id):
            raise AlreadyExists(
                f"A default external network already exists: {default}.",
                reason="DEFAULT_EXTERNAL_NETWORK_EXISTS",
                field="is_default",
            )

    def _unshare(self, old: pb.Network, txn: Transaction) -> None:
        try:
            close_to_all(self.store, txn, old, SHARED)
        except FailedPrecondition as error:
            raise FailedPrecondition(
                f"Unable to reconfigure sharing settings for network {old.meta.name}. "
                "Multiple projects are using it.",
                reason="INVALID_SHARED_SETTING",
                field="shared",
            ) from error

    def _make_internal(self, old: pb.Network, txn: Transaction) -> None:
        """Floating IPs that lead nowhere go along."""
        floating_ips = self.store.table(FLOATING_IPS).by("network", old.meta.id)
        led_to = any(floating.spec.router_id for floating in floating_ips)
        if led_to or self.store.table(PORTS).count("routed", old.meta.id):
            raise FailedPrecondition(
                f"External network {old.meta.id} cannot be updated to be made non-external, since it has "
                "existing gateway ports.",
                reason="EXTERNAL_NETWORK_IN_USE",
                field="router:external",
            )
        for floating in floating_ips:
            txn.remove(FLOATING_IPS, floating)
            port = self.store.find(PORTS, floating.spec.floating_port_id)
            if port is not None:
                txn.remove(PORTS, port)

    async def delete(self, id_: str, caller: Caller) -> pb.Network:
        return await self.remove(id_, caller, NetworkRemoval())


def _bool(message: pb.Network, path: str) -> bool:
    return bool(getattr(message.spec, path.removeprefix("spec.")))


def zones(store: Store) -> set[str]:
    """The availability zones of the nodes that are alive."""
    found = set()
    for life in store.lives():
        if "availability_zone" in life.detail:
            found.add(str(life.detail["availability_zone"]))
    return found


def check_zones(store: Store, own: str, hints: Iterable[str]) -> None:
    """Raise NotFound for a hint that is no zone; own: this node's, whether it is alive or not."""
    known = {own, *zones(store)}
    for zone in hints:
        if zone not in known:
            raise NotFound(
                f"AvailabilityZone {zone} could not be found.",
                reason="AVAILABILITY_ZONE_NOT_FOUND",
                field="availability_zone_hints",
            )


def touch(network: pb.Network, txn: Transaction) -> None:
    """Write the network again, so that all who change what is on it are in one order."""
    newer = copy_of(network)
    newer.meta.generation += 1
    txn.update(NETWORKS, newer)
