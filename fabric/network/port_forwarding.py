"""Port forwardings: transport ports of a floating IP that lead to those of a port."""

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network.collection import FLOATING_IPS, PORT_FORWARDINGS, PORTS, ROUTERS
from fabric.network.floating_ip import FloatingIps, taken
from fabric.network.own_port import Plug, Plugs
from fabric.network.port import Ports
from fabric.network.record import NetworkResource
from fabric.network.router_path import fixed_of, path
from fabric.network.v1 import floating_ip_pb2
from fabric.network.v1 import port_forwarding_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of, merge
from fabric.runtime.store import Store

PROTOCOLS = frozenset({"tcp", "udp", "icmp"})
LAST_PORT = 65535


def check_ranges(spec: pb.PortForwardingSpec) -> None:
    """Fill in the last ports where only the first are given; ICMP has none. Raises InvalidArgument."""
    if spec.protocol == "icmp":
        if spec.external_port_first or spec.internal_port_first:
            raise bad("ICMP has no ports", "external_port")
        return
    for side in ("external", "internal"):
        first, last = getattr(spec, f"{side}_port_first"), getattr(spec, f"{side}_port_last")
        if not last:
            last = first
            setattr(spec, f"{side}_port_last", last)
        if not 1 <= first <= last <= LAST_PORT:
            raise bad(f"Invalid range of {side} ports {first}:{last}", f"{side}_port")
    inside = spec.internal_port_last - spec.internal_port_first
    if inside and inside != spec.external_port_last - spec.external_port_first:
        raise bad(
            "The internal ports must be one or as many as the external ports",
            "internal_port_range",
        )


def collides(one: pb.PortForwardingSpec, other: pb.PortForwardingSpec) -> bool:
    """Whether a packet could be meant by both, or both mean the same transport port of the same address."""
    if one.protocol != other.protocol:
        return False
    if one.protocol == "icmp":
        return True
    if (
        one.external_port_first <= other.external_port_last
        and other.external_port_first <= one.external_port_last
    ):
        return True
    return (
        (one.internal_port_id, one.internal_ip_address) == (other.internal_port_id, other.internal_ip_address)
        and one.internal_port_first <= other.internal_port_last
        and other.internal_port_first <= one.internal_port_last
    )


class PortForwardings(NetworkResource[pb.PortForwarding]):
    """The rules of port forwardings. Each change writes the floating IP, so those of one are in one order."""

    collection = PORT_FORWARDINGS
    policies = {
        "create": "create_floatingip_port_forwarding",
        "get": "get_floatingip_port_forwarding",
        "list": "get_availability_zone",
        "update": "update_floatingip_port_forwarding",
        "delete": "delete_floatingip_port_forwarding",
    }
    narrow = {"meta.id": "id", "spec.floating_ip_id": "floating_ip", "spec.internal_port_id": "port"}

    def __init__(
        self, store: Store, policy: Policy, plugs: Plugs, floating_ips: FloatingIps, ports: Ports
    ) -> None:
        super().__init__(store, policy)
        self._plugs, self._floating_ips, self._ports = plugs, floating_ips, ports

    def target(self, message: pb.PortForwarding) -> dict[str, Any]:
        owner = message.meta.project_id
        return super().target(message) | {"ext_parent:tenant_id": owner, "ext_parent:project_id": owner}

    def missing(self, id_: str) -> NotFound:
        return NotFound(f"Port Forwarding {id_} could not be found.", reason="PORT_FORWARDING_NOT_FOUND")

    def present(self, caller: Caller, message: pb.PortForwarding) -> pb.PortForwarding:
        return with_address(self.store, message)

    async def make(self, message: pb.PortForwarding, given: FieldMask, caller: Caller) -> pb.PortForwarding:
        def work(plug: Plug) -> pb.PortForwarding:
            floating = self._floating_ips.find(message.spec.floating_ip_id, caller)
            new = copy_of(message)
            new.meta.project_id = floating.meta.project_id
            self.name_it(caller, new)
            self.enforce("create", caller, new)
            self._lead(caller, plug, new, floating)
            plug.txn.create(PORT_FORWARDINGS, new)
            return new

        key = f"port forwardings of {message.spec.floating_ip_id}"
        return self.present(caller, self.kept(await self._plugs.settle(key, work)))

    async def update(self, message: pb.PortForwarding, mask: FieldMask, caller: Caller) -> pb.PortForwarding:
        def work(plug: Plug) -> pb.PortForwarding:
            old = self.find(message.meta.id, caller)
            self.enforce("update", caller, old)
            new = copy_of(old)
            merge(message, new, mask)
            for name in ("floating_ip_id", "router_id"):
                setattr(new.spec, name, getattr(old.spec, name))
            new.meta.request_id = caller.request_id
            floating = self._floating_ips.find(old.spec.floating_ip_id, caller)
            self._lead(caller, plug, new, floating)
            plug.txn.update(PORT_FORWARDINGS, new)
            return new

        key = f"port forwarding {message.meta.id}"
        return self.present(caller, self.kept(await self._plugs.settle(key, work)))

    async def delete(self, id_: str, caller: Caller) -> pb.PortForwarding:
        def work(plug: Plug) -> pb.PortForwarding:
            old = self.find(id_, caller)
            self.enforce("delete", caller, old)
            floating = copy_of(self.store.get(FLOATING_IPS, old.spec.floating_ip_id))
            if self.store.table(PORT_FORWARDINGS).count("floating_ip", floating.meta.id) == 1:
                floating.spec.router_id = ""
            plug.txn.update(FLOATING_IPS, floating)
            plug.txn.remove(PORT_FORWARDINGS, old)
            return old

        return await self._plugs.settle(f"port forwarding {id_}", work)

    def _lead(
        self, caller: Caller, plug: Plug, new: pb.PortForwarding, floating: floating_ip_pb2.FloatingIp
    ) -> None:
        """Check what it leads to, and write all that it stands on."""
        spec, owned = new.spec, floating.spec
        spec.protocol = spec.protocol.lower()
        if spec.protocol not in PROTOCOLS:
            raise bad(f"Protocol '{spec.protocol}' is none of {', '.join(sorted(PROTOCOLS))}", "protocol")
        check_ranges(spec)
        if owned.port_id:
            raise taken(floating, owned.port_id, owned.fixed_ip_address, owned.floating_network_id)
        port = self._ports.find(spec.internal_port_id, caller)
        fixed = fixed_of(port, spec.internal_ip_address)
        spec.internal_ip_address = fixed.ip_address
        self._check_alone(new)
        router = path(self.store, owned.floating_network_id, port, fixed)
        if owned.router_id not in ("", router.meta.id) and self._others(new):
            raise bad(
                f"Floating IP {floating.meta.id} is already served by router {owned.router_id}", "router_id"
            )
        spec.router_id = router.meta.id
        served = copy_of(floating)
        served.spec.router_id = router.meta.id
        plug.txn.update(FLOATING_IPS, served)
        plug.hold(ROUTERS, router)
        plug.hold(PORTS, port)

    def _others(self, new: pb.PortForwarding) -> list[pb.PortForwarding]:
        table = self.store.table(PORT_FORWARDINGS)
        return [o for o in table.by("floating_ip", new.spec.floating_ip_id) if o.meta.id != new.meta.id]

    def _check_alone(self, new: pb.PortForwarding) -> None:
        for floating in self.store.table(FLOATING_IPS).by("port", new.spec.internal_port_id):
            if floating.spec.fixed_ip_address == new.spec.internal_ip_address:
                raise FailedPrecondition(
                    f"Cannot create port forwarding to floating IP {new.spec.floating_ip_id} with port "
                    f"{new.spec.internal_port_id} using fixed IP {new.spec.internal_ip_address}, as that port already "
                    "has a binding floating IP.",
                    reason="PORT_HAS_BINDING_FLOATING_IP",
                )
        for other in self._others(new):
            if collides(new.spec, other.spec):
                raise bad(
                    f"A duplicate port forwarding entry with same attributes already exists: {other.meta.id}",
                    "external_port",
                )


def with_address(store: Store, message: pb.PortForwarding) -> pb.PortForwarding:
    """With the address of its floating IP."""
    shown = copy_of(message)
    floating = store.find(FLOATING_IPS, message.spec.floating_ip_id)
    if floating is not None:
        shown.floating_ip_address = floating.spec.floating_ip_address
    return shown


def bad(message: str, field: str) -> InvalidArgument:
    """What Neutron says of a request that makes no sense."""
    return InvalidArgument(f"Bad port_forwarding request: {message}.", reason="BAD_REQUEST", field=field)
