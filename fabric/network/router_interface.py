"""Interfaces of routers: addresses that a router has of subnets, in the transaction that writes the router."""

from collections.abc import Sequence

from fabric.network import address
from fabric.network.collection import INTERFACE_OWNER, NETWORKS, PORTS, SUBNETS, marked
from fabric.network.own_port import Plug
from fabric.network.router_link import bad, check_overlap, check_unneeded, ports_of, subnets_of
from fabric.network.v1 import port_pb2, subnet_pb2
from fabric.network.v1 import router_pb2 as pb
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, NotFound
from fabric.runtime.store import Store


def described(router: pb.Router, port: port_pb2.Port, subnets: Sequence[str]) -> pb.RouterInterface:
    """What the caller is told of it."""
    return pb.RouterInterface(
        router_id=router.meta.id,
        project_id=router.meta.project_id,
        port_id=port.meta.id,
        subnet_ids=subnets,
        network_id=port.spec.network_id,
        tags=router.meta.tags,
    )


def add_subnet(plug: Plug, router: pb.Router, subnet: subnet_pb2.Subnet) -> pb.RouterInterface:
    """The router gets the subnet's gateway address. Raises InvalidArgument, AlreadyExists: it is taken."""
    store, spec = plug.store, subnet.spec
    if not spec.gateway_ip:
        raise bad("Subnet for router interface must have a gateway IP", "subnet_id")
    _check_advertised(subnet)
    ports = ports_of(store, router.meta.id)
    check_overlap(router.meta.id, subnet, subnets_of(store, ports))
    on = store.get(NETWORKS, spec.network_id)
    asked = port_pb2.FixedIp(subnet_id=subnet.meta.id, ip_address=spec.gateway_ip)
    plug.txn.expect(SUBNETS, subnet)
    shared = _v6_port(store, router, spec.network_id) if spec.ip_version == 6 else None
    if shared is not None:
        port = plug.readdress(shared, on, [*shared.spec.fixed_ips, asked])
    else:
        port = plug.make(
            on,
            [asked],
            owner=INTERFACE_OWNER,
            device=router.meta.id,
            project=router.meta.project_id,
            node=router.node,
        )
    return described(router, port, [subnet.meta.id])


def add_port(plug: Plug, router: pb.Router, port: port_pb2.Port) -> pb.RouterInterface:
    """The router gets the port with all its addresses. Raises InvalidArgument, AlreadyExists: it is in use."""
    store, spec = plug.store, port.spec
    if spec.device_id:
        raise AlreadyExists(
            f"Unable to complete operation on port {port.meta.id} for network {spec.network_id}. Port already has "
            f"an attached device {spec.device_id}.",
            reason="PORT_IN_USE",
            port=port.meta.id,
        )
    if not spec.fixed_ips:
        raise bad("Router port must have at least one fixed IP", "port_id")
    subnets = subnets_of(store, [port])
    if sum(subnet.spec.ip_version == 4 for subnet in subnets) > 1:
        raise bad("Cannot have multiple IPv4 subnets on router port", "port_id")
    if any(subnet.spec.ip_version == 6 for subnet in subnets):
        other = _v6_port(store, router, spec.network_id)
        if other is not None:
            raise bad(
                f"Cannot have multiple router ports with the same network id if both contain IPv6 subnets. Existing "
                f"port {other.meta.id} has IPv6 subnet(s) and network id {spec.network_id}",
                "port_id",
            )
    has = subnets_of(store, ports_of(store, router.meta.id))
    for subnet in subnets:
        _check_advertised(subnet)
        check_overlap(router.meta.id, subnet, has)
        has.append(subnet)
    taken = plug.take(port, owner=INTERFACE_OWNER, device=router.meta.id, node=router.node)
    return described(router, taken, [subnet.meta.id for subnet in subnets])


def remove(plug: Plug, router: pb.Router, subnet_id: str, port_id: str) -> pb.RouterInterface:
    """Raises NotFound, FailedPrecondition: floating IPs or routes need it."""
    store = plug.store
    port = _find(store, router, subnet_id, port_id)
    on_subnets = [fixed.subnet_id for fixed in port.spec.fixed_ips]
    if subnet_id and subnet_id not in on_subnets:
        raise FailedPrecondition(
            f"Subnet on port {port_id} does not match the requested subnet {subnet_id}.",
            reason="SUBNET_MISMATCH_FOR_PORT",
            port=port_id,
        )
    going = list(dict.fromkeys(on_subnets)) if port_id else [subnet_id]
    gone = [subnet for id_ in going if (subnet := store.find(SUBNETS, id_)) is not None]
    check_unneeded(store, router, gone)
    left = [fixed for fixed in port.spec.fixed_ips if fixed.subnet_id not in going]
    if left:
        plug.readdress(port, store.get(NETWORKS, port.spec.network_id), left)
    else:
        plug.drop(port)
    return described(router, port, going)


def _find(store: Store, router: pb.Router, subnet_id: str, port_id: str) -> port_pb2.Port:
    ports = ports_of(store, router.meta.id, INTERFACE_OWNER)
    if port_id:
        found = store.find(PORTS, port_id)
        if found is None or marked(found) or all(port.meta.id != port_id for port in ports):
            raise NotFound(
                f"Router {router.meta.id} does not have an interface with id {port_id}",
                reason="ROUTER_INTERFACE_NOT_FOUND",
            )
        return found
    for port in ports:
        if any(fixed.subnet_id == subnet_id for fixed in port.spec.fixed_ips):
            return port
    raise NotFound(
        f"Router {router.meta.id} has no interface on subnet {subnet_id}",
        reason="ROUTER_INTERFACE_NOT_FOUND_FOR_SUBNET",
    )


def _v6_port(store: Store, router: pb.Router, network_id: str) -> port_pb2.Port | None:
    """The port that has the router's IPv6 addresses on the network."""
    for port in ports_of(store, router.meta.id, INTERFACE_OWNER):
        if port.spec.network_id == network_id and any(
            address.address(fixed.ip_address, "fixed_ips").version == 6 for fixed in port.spec.fixed_ips
        ):
            return port
    return None


def _check_advertised(subnet: subnet_pb2.Subnet) -> None:
    spec = subnet.spec
    if spec.ip_version == 6 and spec.ipv6_address_mode and not spec.ipv6_ra_mode:
        raise bad(
            f"IPv6 subnet {subnet.meta.id} configured to receive RAs from an external router cannot be added to "
            "Neutron Router",
            "subnet_id",
        )
