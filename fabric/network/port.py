"""Ports: addresses, groups, binding."""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from fabric.network import address, log
from fabric.network.allocation import Allocator, Reservation
from fabric.network.binding import bind, is_known
from fabric.network.collection import DHCP_OWNER, NETWORKS, PORTS, SECURITY_GROUPS, marked
from fabric.network.default_group import DefaultGroups
from fabric.network.dns_name import assignments, check_name
from fabric.network.fixed_ip import Chooser
from fabric.network.grant import grant, rely
from fabric.network.own_port import server_of
from fabric.network.qos_policy import QosPolicies, attach
from fabric.network.record import TRIES, Asked, NetworkResource, changed, sees_all
from fabric.network.translation import leave
from fabric.network.trunk import check_not_joined, details
from fabric.network.v1 import network_pb2
from fabric.network.v1 import port_pb2 as pb
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.config import Config
from fabric.runtime.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StaleRevision,
)
from fabric.runtime.order import InOrder
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Query

MAX_PAIRS = 10
_HELD: ContextVar[Reservation] = ContextVar("reservation")  # of the transaction that the call prepares
_UPDATE_RULES = {
    "spec.device_owner": "device_owner",
    "spec.mac_address": "mac_address",
    "spec.port_security_enabled": "port_security_enabled",
    "spec.allowed_address_pairs": "allowed_address_pairs",
    "spec.node": "binding:host_id",
    "spec.target_node": "binding:host_id",
    "spec.binding_profile": "binding:profile",
    "spec.vnic_type": "binding:vnic_type",
}
VNIC_TYPES = frozenset(
    [
        "normal",
        "direct",
        "macvtap",
        "baremetal",
        "direct-physical",
        "virtio-forwarder",
        "smart-nic",
        "accelerator-direct",
        "accelerator-direct-physical",
        "remote-managed",
        "vdpa",
    ]
)


class Ports(NetworkResource[pb.Port]):
    """The rules of ports."""

    collection = PORTS
    policies = {
        "create": "create_port",
        "get": "get_port",
        "list": "get_availability_zone",
        "update": "update_port",
        "delete": "delete_port",
    }
    narrow = {
        "meta.id": "id",
        "spec.network_id": "network",
        "spec.device_id": "device",
        "spec.fixed_ips.subnet_id": "subnet",
        "spec.security_group_ids": "group",
        "spec.node": "node",
        "meta.project_id": "project",
        "meta.name": "name",
    }

    def __init__(
        self, store: Store, policy: Policy, config: Config, groups: DefaultGroups, allocator: Allocator
    ) -> None:
        super().__init__(store, policy)
        self._domain = config.network.dns_domain
        self._groups = groups
        self._qos = QosPolicies(store, policy)
        self._allocator = allocator

    def target_for(self, caller: Caller, message: pb.Port) -> dict[str, Any]:
        return self.target(message) | self.network_target(caller, message.spec.network_id)

    def visible(self, caller: Caller, message: pb.Port) -> bool:
        if not message.meta.project_id and not caller.project_id:  # nobody's, and not everybody's
            return not marked(message) and sees_all(caller)
        return super().visible(caller, message)

    def in_order(self, caller: Caller, asked: Query) -> InOrder[pb.Port] | None:
        """All that the caller sees, if they name nothing that makes the list short and it is not of several orders."""
        if any(part.path in self.narrow for part in asked.filters):
            return None
        table, project_id = self.store.table(PORTS), caller.project_id
        if sees_all(caller):
            return table.in_order()
        if not project_id or any(
            table.count("network", network.meta.id)
            > table.count("network_project", f"{network.meta.id}/{project_id}")
            for network in self.store.table(NETWORKS).by("project", project_id)
        ):
            return None  # ports of others are on its networks
        return table.in_order(project_id)

    def reachable(self, caller: Caller) -> list[pb.Port]:
        if not caller.project_id:
            return []
        table = self.store.table(PORTS)
        found = {p.meta.id: p for p in table.by("project", caller.project_id)}
        for network in self.store.table(NETWORKS).by("project", caller.project_id):
            found.update((p.meta.id, p) for p in table.by("network", network.meta.id))
        return list(found.values())

    def present(self, caller: Caller, message: pb.Port) -> pb.Port:
        shown = copy_of(message)
        network = self.store.find(NETWORKS, message.spec.network_id)
        shown.dns_assignments.extend(assignments(message, self._domain_of(network)))
        shown.qos_network_policy_id = network.spec.qos_policy_id if network is not None else ""
        joined = details(self.store, message)
        if joined is not None:
            shown.trunk.CopyFrom(joined)
        return shown

    def _domain_of(self, network: network_pb2.Network | None) -> str:
        own = network.spec.dns_domain if network is not None else ""
        return (own or self._domain).rstrip(".")

    # -- creation

    async def make_all(self, asked: Sequence[Asked[pb.Port]], caller: Caller) -> list[pb.Port]:
        for message, given in asked:
            if not message.spec.security_group_ids and "spec.security_group_ids" not in given:
                await self._groups.ensure(message.meta.project_id or caller.project_id)
        for attempt in range(TRIES):
            with self._allocator.reservation() as held:
                _HELD.set(held)
                try:
                    return await self._make_held(asked, caller)
                except AlreadyExists as error:
                    if attempt + 1 == TRIES or not _was_chosen(error, [message for message, _ in asked]):
                        raise _taken(error, asked[0][0].spec.network_id) from error
                except StaleRevision:
                    if attempt + 1 == TRIES:
                        raise
            await self.store.fresh(None)
        raise AssertionError

    async def _make_held(self, asked: Sequence[Asked[pb.Port]], caller: Caller) -> list[pb.Port]:
        made: list[pb.Port] = []
        async with self.store.transaction() as txn:
            for message, given in asked:
                new = copy_of(message)
                self.admit_id(caller, new)
                self.admit(caller, new, given, txn, made)
                txn.create(PORTS, new)
                made.append(new)
        return [self.present(caller, self.kept(new)) for new in made]

    def admit_id(self, caller: Caller, new: pb.Port) -> None:
        """Who it is and whose."""
        self.name_it(caller, new)
        self.network(caller, new.spec.network_id)  # NOT_FOUND before PERMISSION_DENIED
        self.enforce("create", caller, new)

    def admit(
        self,
        caller: Caller,
        new: pb.Port,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.Port],
    ) -> None:
        spec, on = new.spec, self.network(caller, new.spec.network_id)
        txn.expect(NETWORKS, on)
        rely(self.store, txn, on.meta.id, on.meta.project_id, new.meta.project_id)
        self._check_create_rules(caller, new, on, given)
        if "spec.admin_state_up" not in given:
            spec.admin_state_up = True
        if "spec.port_security_enabled" not in given:
            spec.port_security_enabled = on.spec.port_security_enabled
        spec.vnic_type = spec.vnic_type or "normal"
        new.ClearField("status")
        held = _HELD.get()
        if spec.mac_address:
            spec.mac_address = address.mac(spec.mac_address)
        else:
            spec.mac_address = self._allocator.mac(on.meta.id)
        held.hold(f"mac {on.meta.id}", spec.mac_address)
        chooser = Chooser(self.store, txn, self._allocator, held, on, spec.node)
        said = bool(spec.fixed_ips) or "spec.fixed_ips" in given
        spec.addresses_deferred = not said and chooser.defers(spec.device_owner)
        chosen = chooser.choose(spec.fixed_ips if said else None, spec.mac_address, spec.device_owner)
        del spec.fixed_ips[:]
        spec.fixed_ips.extend(chosen)
        chooser.check_place(new)
        if not spec.security_group_ids and "spec.security_group_ids" not in given:
            self._join_default(new)
        self._check_groups(caller, new, txn, frozenset())
        self._check_pairs(new)
        self._check_security(new, None)
        attach(self._qos, caller, new, None, txn)
        _check_options(spec)
        _check_vnic(spec)
        spec.dns_name = check_name(spec.dns_name)
        bind(new, None)

    def _check_create_rules(
        self, caller: Caller, new: pb.Port, on: network_pb2.Network, given: frozenset[str]
    ) -> None:
        spec = new.spec
        rules = []
        if spec.device_owner.startswith("network:"):
            rules.append("device_owner")
        if spec.mac_address:
            rules.append("mac_address")
        if "spec.port_security_enabled" in given:
            rules.append("port_security_enabled")
        if spec.allowed_address_pairs:
            rules.append("allowed_address_pairs")
        if spec.node:
            rules.append("binding:host_id")
        if spec.HasField("binding_profile") and spec.binding_profile.fields:
            rules.append("binding:profile")
        if any(fixed.ip_address for fixed in spec.fixed_ips):
            rules.append("fixed_ips:ip_address")
        if any(fixed.subnet_id for fixed in spec.fixed_ips):
            rules.append("fixed_ips:subnet_id")
        if on.spec.external:
            rules.append("router:external")
        if rules:
            self.require(caller, new, (f"create_port:{rule}" for rule in rules))
        if spec.device_owner == DHCP_OWNER:
            _must_serve(caller)
        self._refuse_posing(new)

    def _join_default(self, new: pb.Port) -> None:
        if not new.spec.port_security_enabled or new.spec.device_owner.startswith("network:"):
            return
        group = self._groups.find(new.meta.project_id)
        if group is None:  # deleted since it was ensured
            raise StaleRevision("The project's default security group is gone.")
        new.spec.security_group_ids.append(group.meta.id)

    # -- update and delete

    async def update(self, message: pb.Port, mask: Any, caller: Caller) -> pb.Port:
        for attempt in range(TRIES):
            with self._allocator.reservation() as held:
                _HELD.set(held)
                try:
                    return await super().update(message, mask, caller)
                except AlreadyExists as error:
                    if attempt + 1 == TRIES or not _was_chosen(error, [message]):
                        old = self.store.find(PORTS, message.meta.id)
                        raise _taken(error, old.spec.network_id if old else "") from error
            await self.store.fresh(None)
        raise AssertionError

    def change(self, caller: Caller, new: pb.Port, old: pb.Port, txn: Transaction) -> None:
        spec = new.spec
        if spec.network_id != old.spec.network_id:
            raise InvalidArgument(
                "Cannot update read-only attribute network_id", reason="HTTP_BAD_REQUEST", field="network_id"
            )
        differs = changed(old, new, [*_UPDATE_RULES, "spec.fixed_ips", "spec.security_group_ids"])
        self._check_update_rules(caller, new, old, differs)
        self._check_served(new, old)
        on = self.store.get(NETWORKS, old.spec.network_id)
        if "spec.mac_address" in differs:
            self._change_mac(new, old)
        spec.addresses_deferred = old.spec.addresses_deferred
        if differs & {"spec.fixed_ips", "spec.mac_address"} or (spec.node and spec.addresses_deferred):
            self._change_addresses(new, old, on, txn)
            leave(self.store, txn, old, frozenset(fixed.ip_address for fixed in new.spec.fixed_ips))
        elif "spec.node" in differs:
            Chooser(self.store, txn, self._allocator, _HELD.get(), on, spec.node).check_place(new)
        if "spec.security_group_ids" in differs:
            self._check_groups(caller, new, txn, frozenset(old.spec.security_group_ids))
        self._check_pairs(new)
        self._check_security(new, old)
        attach(self._qos, caller, new, old, txn)
        _merge_options(new, old)
        _check_options(spec)
        spec.vnic_type = spec.vnic_type or "normal"
        _check_vnic(spec)
        spec.dns_name = check_name(spec.dns_name)
        bind(new, old)

    def _check_update_rules(self, caller: Caller, new: pb.Port, old: pb.Port, differs: set[str]) -> None:
        rules = [rule for path, rule in _UPDATE_RULES.items() if path in differs]
        if "device_owner" in rules and DHCP_OWNER in (new.spec.device_owner, old.spec.device_owner):
            _must_serve(caller)
        if "device_owner" in rules and not new.spec.device_owner.startswith("network:"):
            rules.remove("device_owner")
        if "spec.fixed_ips" in differs:
            before = {fixed.ip_address for fixed in old.spec.fixed_ips}
            asked = [fixed for fixed in new.spec.fixed_ips if fixed.ip_address not in before]
            if any(fixed.ip_address for fixed in asked):
                rules.append("fixed_ips:ip_address")
            if any(fixed.subnet_id for fixed in asked):
                rules.append("fixed_ips:subnet_id")
        if rules:
            self.require(caller, old, (f"update_port:{rule}" for rule in rules))

    def _change_mac(self, new: pb.Port, old: pb.Port) -> None:
        if old.spec.node and old.spec.device_owner.startswith("compute:"):
            raise FailedPrecondition(
                f"Unable to complete operation on port {old.meta.id}, port is already bound, port type: bridge, "
                f"old_mac {old.spec.mac_address}, new_mac {new.spec.mac_address}.",
                reason="PORT_BOUND",
                field="mac_address",
            )
        asked = new.spec.mac_address
        new.spec.mac_address = address.mac(asked) if asked else self._allocator.mac(old.spec.network_id)

    def _change_addresses(
        self, new: pb.Port, old: pb.Port, on: network_pb2.Network, txn: Transaction
    ) -> None:
        spec = new.spec
        chooser = Chooser(self.store, txn, self._allocator, _HELD.get(), on, spec.node)
        if spec.addresses_deferred and spec.node and not spec.fixed_ips:
            chosen = chooser.choose(None, spec.mac_address, spec.device_owner)
        else:
            chosen = chooser.change(spec.fixed_ips, old, spec.mac_address)
        spec.addresses_deferred = spec.addresses_deferred and not chosen
        del spec.fixed_ips[:]
        spec.fixed_ips.extend(chosen)
        chooser.check_place(new)

    async def delete(self, id_: str, caller: Caller) -> pb.Port:
        found = self.find(id_, caller)
        if found.spec.node and not is_known(self.store, found.spec.node):
            await self._let_go(id_, caller)
        return await super().delete(id_, caller)

    def check_delete(self, caller: Caller, old: pb.Port, txn: Transaction) -> None:
        if server_of(self.store, old):
            raise FailedPrecondition(
                f"Port {old.meta.id} cannot be deleted directly via the port API: has device owner "
                f"{old.spec.device_owner}.",
                reason="SERVICE_PORT_IN_USE",
                port=old.meta.id,
            )
        check_not_joined(self.store, old)
        leave(self.store, txn, old)
        log.end(self.store, txn, old.meta.id)

    @again
    async def _let_go(self, id_: str, caller: Caller) -> None:
        """Nobody on the node ever held it, so nobody would release it."""
        old = self.find(id_, caller)
        self.enforce("delete", caller, old)
        if "agent" in old.meta.finalizers:
            async with self.store.transaction() as txn:
                txn.release(PORTS, old, "agent")

    # -- rules

    def _refuse_posing(self, new: pb.Port) -> None:
        """What a router or a floating IP has, only its own service gives it."""
        if server_of(self.store, new):
            raise FailedPrecondition(
                f"The following device_id {new.spec.device_id} is not owned by your tenant or matches another "
                "tenants router.",
                reason="DEVICE_ID_NOT_OWNED_BY_TENANT",
                field="device_id",
            )

    def _check_served(self, new: pb.Port, old: pb.Port) -> None:
        """A router's port stays with it, on its node and on its subnets."""
        if not server_of(self.store, old):
            self._refuse_posing(new)
            return
        moved = changed(old, new, ["spec.device_id", "spec.device_owner", "spec.node"])
        before = {fixed.subnet_id for fixed in old.spec.fixed_ips}
        asked = {fixed.subnet_id for fixed in new.spec.fixed_ips} - {""}
        if moved or not asked <= before or not new.spec.fixed_ips:
            raise FailedPrecondition(
                f"Port {old.meta.id} cannot be updated so: it has device owner {old.spec.device_owner}.",
                reason="SERVICE_PORT_IN_USE",
                port=old.meta.id,
            )

    def _check_groups(self, caller: Caller, new: pb.Port, txn: Transaction, before: frozenset[str]) -> None:
        groups = list(dict.fromkeys(new.spec.security_group_ids))
        new.spec.security_group_ids[:] = groups
        found = filter(None, (self.store.find(SECURITY_GROUPS, id_) for id_ in groups))
        if len({group.spec.stateful for group in found}) > 1:
            raise FailedPrecondition(
                "Error Cannot apply both stateful and stateless security groups on the same port at the same "
                "time while attempting the operation.",
                reason="SECURITY_GROUP_CONFLICT",
                field="security_groups",
            )
        for id_ in groups:
            if id_ in before:
                continue
            group = self.store.find(SECURITY_GROUPS, id_)
            if group is None or marked(group) or not self._may_use(caller, new, group):
                raise NotFound(
                    f"Security group {id_} does not exist",
                    reason="SECURITY_GROUP_NOT_FOUND",
                    field="security_groups",
                )
            txn.expect(SECURITY_GROUPS, group)
            rely(self.store, txn, id_, group.meta.project_id, new.meta.project_id)

    def _may_use(self, caller: Caller, new: pb.Port, group: Any) -> bool:
        if group.meta.project_id in (caller.project_id, new.meta.project_id) or caller.is_admin:
            return True
        return grant(self.store, group.meta.id, caller.project_id) is not None

    def _check_pairs(self, new: pb.Port) -> None:
        pairs = new.spec.allowed_address_pairs
        if len(pairs) > MAX_PAIRS:
            raise InvalidArgument(
                f"The number of allowed address pairs exceeds the maximum {MAX_PAIRS}.",
                reason="ALLOWED_ADDRESS_PAIR_EXHAUSTED",
                field="allowed_address_pairs",
            )
        met = set()
        for pair in pairs:
            pair.ip_address = address_or_network(pair.ip_address)
            pair.mac_address = address.mac(pair.mac_address) if pair.mac_address else new.spec.mac_address
            key = (pair.mac_address, pair.ip_address)
            if key in met:
                raise InvalidArgument(
                    f"Request contains duplicate address pair: mac_address {key[0]} ip_address {key[1]}.",
                    reason="DUPLICATE_ADDRESS_PAIR_IN_REQUEST",
                    field="allowed_address_pairs",
                )
            met.add(key)

    def _check_security(self, new: pb.Port, old: pb.Port | None) -> None:
        if new.spec.port_security_enabled:
            return
        if new.spec.allowed_address_pairs:
            raise FailedPrecondition(
                "Allowed Address Pair must have port security enabled.",
                reason="ADDRESS_PAIR_AND_PORT_SECURITY_REQUIRED",
                field="allowed_address_pairs",
            )
        if not new.spec.security_group_ids:
            return
        if old is not None and old.spec.port_security_enabled:
            raise FailedPrecondition(
                "Port has security group associated. Cannot disable port security or IP address until security "
                "group is removed.",
                reason="PORT_SECURITY_PORT_HAS_SECURITY_GROUP",
                field="port_security_enabled",
            )
        raise InvalidArgument(
            "Port security must be enabled and port must have an IP address in order to use security groups.",
            reason="PORT_SECURITY_AND_IP_REQUIRED_FOR_SECURITY_GROUPS",
            field="security_groups",
        )


def _must_serve(caller: Caller) -> None:
    """DHCP ports are not counted and keep nothing from being removed: they are not for everybody."""
    if not sees_all(caller):
        raise PermissionDenied(f"Only the cloud itself gives ports the device_owner {DHCP_OWNER}.")


def address_or_network(value: str) -> str:
    """An address, or a network in CIDR notation, in its usual form. Raises InvalidArgument."""
    found = address.network(value, "allowed_address_pairs")
    if found.is_multicast:
        raise address.invalid(f"'{value}' is a multicast address", "allowed_address_pairs")
    return str(found if "/" in value else found.network_address)


def _was_chosen(error: AlreadyExists, asked: Sequence[pb.Port]) -> bool:
    """Whether what is taken was our choice, so that another one can be made."""
    value = error.facts.get("value", "").rpartition("/")[2]
    match error.facts.get("index"):
        case "mac":
            return all(message.spec.mac_address.lower().replace("-", ":") != value for message in asked)
        case "ip":
            return all(fixed.ip_address != value for message in asked for fixed in message.spec.fixed_ips)
    return False


def _taken(error: AlreadyExists, network_id: str) -> AlreadyExists:
    space, _, value = error.facts.get("value", "").rpartition("/")
    match error.facts.get("index"):
        case "mac":
            return AlreadyExists(
                f"Unable to complete operation for network {network_id}. The mac address {value} is in use.",
                reason="MAC_ADDRESS_IN_USE",
                **error.facts,
            )
        case "ip":
            return AlreadyExists(
                f"IP address {value} already allocated in subnet {space}",
                reason="IP_ADDRESS_ALREADY_ALLOCATED",
                **error.facts,
            )
    return error


def _merge_options(new: pb.Port, old: pb.Port) -> None:
    """An update names the options that change; the others stay (extra_dhcp_opt extension)."""
    if list(new.spec.extra_dhcp_opts) == list(old.spec.extra_dhcp_opts):
        return
    merged = {(option.name, option.ip_version): option for option in old.spec.extra_dhcp_opts}
    for option in new.spec.extra_dhcp_opts:
        key = (option.name, option.ip_version or 4)
        if option.absent:
            merged.pop(key, None)
        else:
            merged[key] = option
    kept = [copy_of_option(option) for option in merged.values()]
    del new.spec.extra_dhcp_opts[:]
    new.spec.extra_dhcp_opts.extend(kept)


def copy_of_option(option: pb.DhcpOption) -> pb.DhcpOption:
    """Detached from the port that holds it."""
    copy = pb.DhcpOption()
    copy.CopyFrom(option)
    return copy


def _check_options(spec: pb.PortSpec) -> None:
    met = set()
    kept = [option for option in spec.extra_dhcp_opts if not option.absent]
    if len(kept) != len(spec.extra_dhcp_opts):
        kept = [copy_of_option(option) for option in kept]
        del spec.extra_dhcp_opts[:]
        spec.extra_dhcp_opts.extend(kept)
    for option in spec.extra_dhcp_opts:
        option.ip_version = option.ip_version or 4
        if option.ip_version not in (4, 6):
            raise address.invalid(f"'{option.ip_version}' is not an IP version", "extra_dhcp_opts")
        if not option.name or not option.name.isprintable() or len(option.name) > 64:
            raise address.invalid("an option needs a printable name", "extra_dhcp_opts")
        if "\n" in option.value or "\r" in option.value:
            raise address.invalid("an option's value must be one line", "extra_dhcp_opts")
        key = (option.name, option.ip_version)
        if key in met:
            raise InvalidArgument(
                f"Invalid data format for extra-dhcp-opt: duplicate option {option.name}.",
                reason="EXTRA_DHCP_OPT_BAD_DATA",
                field="extra_dhcp_opts",
            )
        met.add(key)


def _check_vnic(spec: pb.PortSpec) -> None:
    if spec.vnic_type not in VNIC_TYPES:
        raise address.invalid(f"'{spec.vnic_type}' is not in {sorted(VNIC_TYPES)}", "binding:vnic_type")
