"""What a router is connected with: its ports, and what of them may overlap. No I/O but the cache."""

from collections.abc import Iterable, Sequence

from fabric.network import address
from fabric.network.collection import (
    FLOATING_IPS,
    GATEWAY_OWNER,
    INTERFACE_OWNER,
    PORT_FORWARDINGS,
    PORTS,
    SUBNETS,
    marked,
)
from fabric.network.v1 import port_pb2, subnet_pb2
from fabric.network.v1 import router_pb2 as pb
from fabric.runtime.errors import FailedPrecondition, InvalidArgument
from fabric.runtime.store import Store

MAX_ROUTES = 30


def bad(message: str, field: str) -> InvalidArgument:
    """What Neutron says of a request that makes no sense for this router."""
    return InvalidArgument(f"Bad router request: {message}.", reason="BAD_REQUEST", field=field)


def ports_of(store: Store, router_id: str, *owners: str) -> list[port_pb2.Port]:
    """Its interfaces and gateways, in the order in which they came."""
    wanted = owners or (INTERFACE_OWNER, GATEWAY_OWNER)
    found = [
        port
        for port in store.table(PORTS).by("device", router_id)
        if port.spec.device_owner in wanted and not marked(port)
    ]
    return sorted(found, key=lambda p: (p.meta.create_time.seconds, p.meta.create_time.nanos, p.meta.id))


def subnets_of(store: Store, ports: Iterable[port_pb2.Port]) -> list[subnet_pb2.Subnet]:
    """Those that the ports have addresses of."""
    ids = dict.fromkeys(fixed.subnet_id for port in ports for fixed in port.spec.fixed_ips)
    return [subnet for id_ in ids if (subnet := store.find(SUBNETS, id_)) is not None]


def check_overlap(router_id: str, new: subnet_pb2.Subnet, others: Iterable[subnet_pb2.Subnet]) -> None:
    """Raise InvalidArgument when the router could not tell the subnets from each other."""
    net = address.network(new.spec.cidr)
    for other in others:
        if other.meta.id == new.meta.id:
            raise bad(f"Router already has a port on subnet {new.meta.id}", "subnet_id")
        if other.spec.ip_version == new.spec.ip_version and net.overlaps(address.network(other.spec.cidr)):
            raise bad(
                f"Cidr {new.spec.cidr} of subnet {new.meta.id} overlaps with cidr {other.spec.cidr} of subnet "
                f"{other.meta.id}",
                "subnet_id",
            )


def check_routes(
    routes: Sequence[subnet_pb2.HostRoute], ports: Sequence[port_pb2.Port], store: Store
) -> None:
    """Normalize in place; a next hop is on a connected subnet and not the router. Raises InvalidArgument."""
    if len(routes) > MAX_ROUTES:
        raise InvalidArgument(
            f"Unable to complete operation: the number of routes exceeds the maximum {MAX_ROUTES}.",
            reason="ROUTES_EXHAUSTED",
            field="routes",
        )
    networks = [address.network(subnet.spec.cidr) for subnet in subnets_of(store, ports)]
    own = {fixed.ip_address for port in ports for fixed in port.spec.fixed_ips}
    met = set()
    for route in routes:
        destination = address.network(route.destination, "routes")
        nexthop = address.address(route.nexthop, "routes")
        if (destination, nexthop) in met:
            raise address.invalid(f"Duplicate route {destination} via {nexthop}", "routes")
        met.add((destination, nexthop))
        problem = ""
        if destination.version != nexthop.version:
            problem = "the nexthop is of another IP version"
        elif str(nexthop) in own:
            problem = "the nexthop is used by router"
        elif not any(nexthop in network for network in networks):
            problem = "the nexthop is not connected with router"
        if problem:
            raise InvalidArgument(
                f"Invalid format for routes: {destination} via {nexthop}, {problem}.",
                reason="INVALID_ROUTES",
                field="routes",
            )
        route.destination, route.nexthop = str(destination), str(nexthop)


def check_unneeded(store: Store, router: pb.Router, going: Iterable[subnet_pb2.Subnet]) -> None:
    """Raise FailedPrecondition when floating IPs or routes need the router to be on the subnets."""
    networks = {subnet.meta.id: address.network(subnet.spec.cidr) for subnet in going}
    for floating in store.table(FLOATING_IPS).by("router", router.meta.id):
        for id_ in networks:
            if leads_into(store, floating.meta.id, id_):
                raise FailedPrecondition(
                    f"Router interface for subnet {id_} on router {router.meta.id} cannot be deleted, as it is "
                    "required by one or more floating IPs.",
                    reason="ROUTER_INTERFACE_IN_USE_BY_FLOATING_IP",
                    subnet=id_,
                )
    for route in router.spec.routes:
        nexthop = address.address(route.nexthop, "routes")
        for id_, network in networks.items():
            if nexthop in network:
                raise FailedPrecondition(
                    f"Router interface for subnet {id_} on router {router.meta.id} cannot be deleted, as it is "
                    "required by one or more routes.",
                    reason="ROUTER_INTERFACE_IN_USE_BY_ROUTE",
                    subnet=id_,
                )


def leads_into(store: Store, floating_id: str, subnet_id: str) -> bool:
    """Whether the floating IP, or a forwarding of it, leads to an address of the subnet."""
    floating = store.get(FLOATING_IPS, floating_id)
    targets = [(floating.spec.port_id, floating.spec.fixed_ip_address)]
    targets += [
        (forwarding.spec.internal_port_id, forwarding.spec.internal_ip_address)
        for forwarding in store.table(PORT_FORWARDINGS).by("floating_ip", floating_id)
    ]
    for port_id, ip in targets:
        port = store.find(PORTS, port_id)
        if port is not None and any(
            fixed.subnet_id == subnet_id and fixed.ip_address == ip for fixed in port.spec.fixed_ips
        ):
            return True
    return False
