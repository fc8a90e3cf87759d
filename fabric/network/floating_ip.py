"""Floating IPs: an address of an external network, and where it leads."""

from collections.abc import Callable, Iterable, Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network import address
from fabric.network.collection import (
    FLOATING_IPS,
    FLOATING_OWNER,
    NETWORKS,
    PORT_FORWARDINGS,
    PORTS,
    ROUTERS,
    SUBNETS,
    marked,
)
from fabric.network.dns_name import check_domain, check_name
from fabric.network.grant import EXTERNAL, rely
from fabric.network.network import Networks
from fabric.network.own_port import Plug, Plugs
from fabric.network.port import Ports
from fabric.network.qos_policy import QosPolicies, attach
from fabric.network.record import NetworkResource, is_external
from fabric.network.router_path import fixed_of, path
from fabric.network.translation import disconnect
from fabric.network.v1 import floating_ip_pb2 as pb
from fabric.network.v1 import network_pb2, port_pb2, router_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, Exhausted, FailedPrecondition, InvalidArgument, StaleRevision
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of, merge
from fabric.runtime.store import Store
from fabric.type.v1.query_pb2 import Query

_KEPT = ("floating_network_id", "floating_ip_address", "floating_port_id", "router_id", "subnet_id")


class FloatingIps(NetworkResource[pb.FloatingIp]):
    """The rules of floating IPs. An association writes the port and the router too, so all is in one order."""

    collection = FLOATING_IPS
    policies = {
        "create": "create_floatingip",
        "get": "get_floatingip",
        "list": "get_availability_zone",
        "update": "update_floatingip",
        "delete": "delete_floatingip",
    }
    narrow = {
        "meta.id": "id",
        "spec.port_id": "port",
        "spec.router_id": "router",
        "spec.floating_ip_address": "address",
        "spec.floating_network_id": "network",
        "meta.project_id": "project",
    }

    def __init__(self, store: Store, policy: Policy, plugs: Plugs, networks: Networks, ports: Ports) -> None:
        super().__init__(store, policy)
        self._plugs, self._networks, self._ports = plugs, networks, ports
        self._qos = QosPolicies(store, policy)

    def candidates(self, caller: Caller, asked: Query) -> list[pb.FloatingIp]:
        found = super().candidates(caller, asked)
        paths = [part.path for part in asked.filters] + [part.path for part in asked.sorts]
        if any(path.startswith("status.") for path in paths):
            return [self.present(caller, floating) for floating in found]
        return found

    def present(self, caller: Caller, message: pb.FloatingIp) -> pb.FloatingIp:
        shown = copy_of(message)
        spec = message.spec
        router = self.store.find(ROUTERS, spec.router_id) if spec.router_id else None
        works = router is not None and router.status.state == router_pb2.RouterStatus.STATE_ACTIVE
        state = pb.FloatingIpStatus
        shown.status.state = state.STATE_ACTIVE if works else state.STATE_DOWN
        port = self.store.find(PORTS, spec.port_id) if spec.port_id else None
        if port is not None:
            shown.port.CopyFrom(port)
        network = self.store.find(NETWORKS, spec.floating_network_id)
        shown.qos_network_policy_id = network.spec.qos_policy_id if network is not None else ""
        shown.port_forwardings.extend(self.store.table(PORT_FORWARDINGS).by("floating_ip", message.meta.id))
        return shown

    # -- create, update, delete

    async def make(self, message: pb.FloatingIp, given: FieldMask, caller: Caller) -> pb.FloatingIp:
        def work(plug: Plug) -> pb.FloatingIp:
            new = copy_of(message)
            self.name_it(caller, new)
            on = self.network(caller, new.spec.floating_network_id)
            self.enforce("create", caller, new)
            if not is_external(self.store, caller, on):
                raise _bad(f"Network {on.meta.id} is not a valid external network", "floating_network_id")
            if new.spec.floating_ip_address:
                self.require(caller, new, ["create_floatingip:floating_ip_address"])
            rely(self.store, plug.txn, on.meta.id, on.meta.project_id, new.meta.project_id, EXTERNAL)
            new.ClearField("status")
            new.spec.router_id = ""
            _check_names(new)
            port = self._port(plug, on, new)
            new.spec.floating_port_id = port.meta.id
            new.spec.floating_ip_address = port.spec.fixed_ips[0].ip_address
            new.spec.subnet_id = ""
            self._lead(caller, plug, new)
            attach(self._qos, caller, new, None, plug.txn)
            plug.txn.create(FLOATING_IPS, new)
            return new

        return await self._settled(message, caller, work)

    async def update(self, message: pb.FloatingIp, mask: FieldMask, caller: Caller) -> pb.FloatingIp:
        def work(plug: Plug) -> pb.FloatingIp:
            old = self.find(message.meta.id, caller)
            if message.meta.etag and message.meta.etag != old.meta.etag:
                raise StaleRevision("The resource was changed in the meantime.", id=old.meta.id)
            self.enforce("update", caller, old)
            new = copy_of(old)
            merge(message, new, mask)
            for name in _KEPT:
                if getattr(new.spec, name) != getattr(old.spec, name):
                    raise InvalidArgument(
                        f"Cannot update read-only attribute {name}", reason="HTTP_BAD_REQUEST", field=name
                    )
            _check_names(new)
            new.meta.request_id = caller.request_id
            paths = set(mask.paths)
            if "spec.port_id" in paths:
                if "spec.fixed_ip_address" not in paths:
                    new.spec.fixed_ip_address = ""
                self._refuse_forwarded(old)
                self._lead(caller, plug, new)
            elif "spec.fixed_ip_address" in paths:
                raise _bad("fixed_ip_address cannot be specified without a port_id", "fixed_ip_address")
            attach(self._qos, caller, new, old, plug.txn)
            plug.txn.update(FLOATING_IPS, new)
            return new

        return await self._settled(message, caller, work)

    async def delete(self, id_: str, caller: Caller) -> pb.FloatingIp:
        def work(plug: Plug) -> pb.FloatingIp:
            old = self.find(id_, caller)
            self.enforce("delete", caller, old)
            self._refuse_forwarded(old)
            port = self.store.find(PORTS, old.spec.floating_port_id)
            if port is not None:
                plug.drop(port)
            plug.txn.remove(FLOATING_IPS, old)
            return old

        return await self._plugs.settle(f"floating IP {id_}", work)

    async def ListFloatingIpPools(
        self, request: pb.ListFloatingIpPoolsRequest, caller: Caller
    ) -> pb.ListFloatingIpPoolsResponse:
        """Of all external networks that the caller may see."""
        networks, _ = await self._networks.list(Query(), caller)
        subnets = self.store.table(SUBNETS)
        return pb.ListFloatingIpPoolsResponse(
            floating_ip_pools=[
                pb.FloatingIpPool(
                    subnet_id=subnet.meta.id,
                    subnet_name=subnet.meta.name,
                    network_id=network.meta.id,
                    network_name=network.meta.name,
                    cidr=subnet.spec.cidr,
                    project_id=subnet.meta.project_id,
                )
                for network in networks
                if is_external(self.store, caller, network)
                for subnet in subnets.by("network", network.meta.id)
                if subnet.spec.ip_version == 4 and not marked(subnet)
            ]
        )

    async def _settled(
        self, message: pb.FloatingIp, caller: Caller, work: Callable[[Plug], pb.FloatingIp]
    ) -> pb.FloatingIp:
        known = self.store.find(FLOATING_IPS, message.meta.id)
        project = (known or message).meta.project_id or caller.project_id
        try:
            made = await self._plugs.settle(f"floating IPs of {project}", work)
        except AlreadyExists as error:
            if error.facts.get("index") != "fixed":
                raise
            raise taken(message, *error.facts["value"].split("/")) from error
        return self.present(caller, self.kept(made))

    def _refuse_forwarded(self, floating: pb.FloatingIp) -> None:
        if self.store.table(PORT_FORWARDINGS).count("floating_ip", floating.meta.id):
            raise FailedPrecondition(
                f"Floating IP {floating.meta.id} in use by Port Forwarding resources.",
                reason="FIP_IN_USE_BY_PORT_FORWARDING",
            )

    # -- the address

    def _port(self, plug: Plug, on: network_pb2.Network, new: pb.FloatingIp) -> port_pb2.Port:
        """The port that has the address that is asked for, or any IPv4 address of the network."""
        last: Exhausted | None = None
        for asked in self._asked(on, new.spec):
            try:
                return plug.make(on, [asked], owner=FLOATING_OWNER, device=new.meta.id)
            except Exhausted as error:
                last = error
        if last is not None:
            raise Exhausted(
                f"Unable to find any IP address on external network {on.meta.id}.",
                reason="EXTERNAL_IP_ADDRESS_EXHAUSTED",
            ) from last
        raise _bad(f"Network {on.meta.id} does not contain any IPv4 subnet", "floating_network_id")

    def _asked(self, on: network_pb2.Network, spec: pb.FloatingIpSpec) -> Iterable[port_pb2.FixedIp]:
        if spec.floating_ip_address:
            ip = address.address(spec.floating_ip_address, "floating_ip_address")
            if ip.version != 4:
                raise _bad(f"{ip} is not an IPv4 address", "floating_ip_address")
            return [port_pb2.FixedIp(subnet_id=spec.subnet_id, ip_address=str(ip))]
        found = [
            subnet
            for subnet in self.store.table(SUBNETS).by("network", on.meta.id)
            if subnet.spec.ip_version == 4 and not marked(subnet) and _serves(subnet.spec.service_types)
        ]
        if spec.subnet_id:
            found = [subnet for subnet in found if subnet.meta.id == spec.subnet_id]
            if not found:
                raise _bad(f"Subnet {spec.subnet_id} is no IPv4 subnet of the network", "subnet_id")
        return [port_pb2.FixedIp(subnet_id=subnet.meta.id) for subnet in found]

    # -- where it leads

    def _lead(self, caller: Caller, plug: Plug, new: pb.FloatingIp) -> None:
        """Find the router that leads from the address to the port that is asked for."""
        spec = new.spec
        if not spec.port_id:
            if spec.fixed_ip_address:
                raise _bad("fixed_ip_address cannot be specified without a port_id", "fixed_ip_address")
            disconnect(new)
            return
        port = self._ports.find(spec.port_id, caller)
        if port.meta.project_id != new.meta.project_id and not caller.is_admin:
            raise _bad(
                f"Cannot associate floating IP {spec.floating_ip_address}: port {port.meta.id} is owned by a "
                "different project",
                "port_id",
            )
        fixed = fixed_of(port, spec.fixed_ip_address)
        spec.fixed_ip_address = fixed.ip_address
        owner = self.store.owner(
            FLOATING_IPS, "fixed", f"{port.meta.id}/{fixed.ip_address}/{spec.floating_network_id}"
        )
        if owner not in (None, new.meta.id):
            raise taken(new, port.meta.id, fixed.ip_address, spec.floating_network_id)
        if any(
            forwarding.spec.internal_ip_address == fixed.ip_address
            for forwarding in self.store.table(PORT_FORWARDINGS).by("port", port.meta.id)
        ):
            raise FailedPrecondition(
                f"Cannot associate floating IP {new.meta.id} with port {port.meta.id}, as that port is already in "
                "use by Port Forwarding resources.",
                reason="PORT_HAS_PORT_FORWARDING",
            )
        router = path(self.store, spec.floating_network_id, port, fixed)
        spec.router_id = router.meta.id
        plug.hold(ROUTERS, router)
        plug.hold(PORTS, port)


def taken(floating: pb.FloatingIp, port_id: str, ip: str, network_id: str) -> FailedPrecondition:
    """Another floating IP leads there."""
    return FailedPrecondition(
        f"Cannot associate floating IP {floating.spec.floating_ip_address} ({floating.meta.id}) with port {port_id} "
        f"using fixed IP {ip}, as that fixed IP already has a floating IP on external network {network_id}.",
        reason="FLOATING_IP_PORT_ALREADY_ASSOCIATED",
        port=port_id,
    )


def _check_names(new: pb.FloatingIp) -> None:
    new.spec.dns_name = check_name(new.spec.dns_name)
    check_domain(new.spec.dns_domain)


def _serves(types: Sequence[str]) -> bool:
    return not types or FLOATING_OWNER in types


def _bad(message: str, field: str) -> InvalidArgument:
    return InvalidArgument(f"Bad floatingip request: {message}.", reason="BAD_REQUEST", field=field)
