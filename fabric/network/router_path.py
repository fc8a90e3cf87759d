"""The way from an external network to an address of a port: through which router."""

from fabric.network import address
from fabric.network.collection import INTERFACE_OWNER, PORTS, ROUTERS, SUBNETS, marked
from fabric.network.v1 import port_pb2, router_pb2
from fabric.runtime.errors import InvalidArgument, NotFound
from fabric.runtime.store import Store


def fixed_of(port: port_pb2.Port, ip: str) -> port_pb2.FixedIp:
    """The IPv4 address of the port that is meant; empty: its only one. Raises InvalidArgument."""
    if ip:
        wanted = address.address(ip, "fixed_ip_address")
        if wanted.version != 4:
            raise _bad(f"Cannot process floating IP association with {ip}, since that is not an IPv4 address")
        for fixed in port.spec.fixed_ips:
            if fixed.ip_address == str(wanted):
                return fixed
        raise _bad(f"Port {port.meta.id} does not have fixed ip {ip}")
    found = [f for f in port.spec.fixed_ips if address.address(f.ip_address, "fixed_ips").version == 4]
    if not found:
        raise _bad(f"Cannot add floating IP to port {port.meta.id} that has no fixed IPv4 addresses")
    if len(found) > 1:
        raise _bad(
            f"Port {port.meta.id} has multiple fixed IPv4 addresses. Must provide a specific IPv4 address when "
            "assigning a floating IP"
        )
    return found[0]


def path(store: Store, network_id: str, port: port_pb2.Port, fixed: port_pb2.FixedIp) -> router_pb2.Router:
    """The router on the port's subnet with a gateway to the network; the subnet's own gateway first.

    Raises NotFound.
    """
    subnet = store.find(SUBNETS, fixed.subnet_id)
    found: list[router_pb2.Router] = []
    for interface in store.table(PORTS).by("routed", port.spec.network_id):
        own = {f.ip_address for f in interface.spec.fixed_ips if f.subnet_id == fixed.subnet_id}
        if not own or interface.spec.device_owner != INTERFACE_OWNER:
            continue
        router = store.find(ROUTERS, interface.spec.device_id)
        if router is None or marked(router):
            continue
        if all(gateway.network_id != network_id for gateway in router.spec.external_gateways):
            continue
        if subnet is not None and subnet.spec.gateway_ip in own:
            return router
        found.append(router)
    if found:
        return min(found, key=lambda router: router.meta.id)
    raise NotFound(
        f"External network {network_id} is not reachable from subnet {fixed.subnet_id}.  Therefore, cannot "
        f"associate Port {port.meta.id} with a Floating IP.",
        reason="EXTERNAL_GATEWAY_FOR_FLOATING_IP_NOT_FOUND",
    )


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(
        f"Bad floatingip request: {message}.", reason="BAD_REQUEST", field="fixed_ip_address"
    )
