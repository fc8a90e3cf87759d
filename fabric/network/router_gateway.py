"""The gateways of a router: which stay, which go, which are new, with their ports in the same transaction."""

from collections.abc import Sequence

from fabric.network.collection import (
    FLOATING_IPS,
    GATEWAY_OWNER,
    INTERFACE_OWNER,
    PORTS,
    SUBNETS,
    marked,
)
from fabric.network.own_port import Plug
from fabric.network.router_link import bad, check_overlap, check_unneeded, ports_of, subnets_of
from fabric.network.v1 import network_pb2, port_pb2
from fabric.network.v1 import router_pb2 as pb
from fabric.runtime.errors import FailedPrecondition
from fabric.runtime.store import Store

Networks = dict[str, network_pb2.Network]  # that the caller may see, by id


def pair(
    asked: Sequence[pb.ExternalGateway], had: Sequence[pb.ExternalGateway]
) -> list[tuple[pb.ExternalGateway, pb.ExternalGateway | None]]:
    """What is asked for beside the gateway that becomes it: of the same network, an own address first.

    had: as shown, with their addresses.
    """
    left = list(had)
    found: list[tuple[pb.ExternalGateway, pb.ExternalGateway | None]] = []
    for gateway in asked:
        same = named(gateway, left)
        if same is not None:
            left.remove(same)
        found.append((gateway, same))
    return found


def named(gateway: pb.ExternalGateway, among: Sequence[pb.ExternalGateway]) -> pb.ExternalGateway | None:
    """The one that is meant by a network and, where there are several, an address."""
    same = [other for other in among if other.network_id == gateway.network_id]
    wanted = {fixed.ip_address for fixed in gateway.external_fixed_ips} - {""}
    own = [o for o in same if wanted & {fixed.ip_address for fixed in o.external_fixed_ips}]
    return next(iter(own or same), None)


def shown(store: Store, gateway: pb.ExternalGateway) -> pb.ExternalGateway:
    """With the addresses of its port, which a record leaves to the port."""
    full = pb.ExternalGateway()
    full.CopyFrom(gateway)
    port = store.find(PORTS, gateway.port_id)
    del full.external_fixed_ips[:]
    if port is not None:
        full.external_fixed_ips.extend(port.spec.fixed_ips)
    return full


def set_gateways(
    plug: Plug, router: pb.Router, asked: Sequence[pb.ExternalGateway], networks: Networks
) -> None:
    """Make these the gateways of the router, which is written by the caller.

    Raises InvalidArgument, FailedPrecondition (floating IPs or routes need one that would go), and what the choice
    of addresses raises.
    """
    store = plug.store
    had = [shown(store, gateway) for gateway in router.spec.external_gateways]
    pairs = pair(asked, had)
    kept = {old.port_id for _, old in pairs if old is not None}
    left_networks = {gateway.network_id for gateway in asked}
    for old in had:
        if old.port_id not in kept:
            _remove(plug, router, old, stays=old.network_id in left_networks)
    made = []
    for gateway, same in pairs:
        on = networks[gateway.network_id]
        port = _readdressed(plug, gateway, same, on) if same else _made(plug, router, gateway, on)
        made.append(
            pb.ExternalGateway(
                network_id=gateway.network_id,
                enable_snat=gateway.enable_snat,
                qos_policy_id=gateway.qos_policy_id,
                port_id=port.meta.id,
            )
        )
    del router.spec.external_gateways[:]
    router.spec.external_gateways.extend(made)


def _made(
    plug: Plug, router: pb.Router, gateway: pb.ExternalGateway, on: network_pb2.Network
) -> port_pb2.Port:
    _check_addresses(plug.store, on, gateway.external_fixed_ips)
    port = plug.make(
        on,
        list(gateway.external_fixed_ips) or None,
        owner=GATEWAY_OWNER,
        device=router.meta.id,
        node=router.node,
    )
    _check_apart(plug.store, router, port)
    return port


def _readdressed(
    plug: Plug, gateway: pb.ExternalGateway, old: pb.ExternalGateway, on: network_pb2.Network
) -> port_pb2.Port:
    port = plug.store.get(PORTS, old.port_id)
    if not gateway.external_fixed_ips or not differs(gateway, old):
        return port
    _check_addresses(plug.store, on, gateway.external_fixed_ips)
    return plug.readdress(port, on, gateway.external_fixed_ips)


def differs(gateway: pb.ExternalGateway, old: pb.ExternalGateway) -> bool:
    """Whether other addresses are asked for than there are; a subnet alone is content with any of it."""
    has = [(fixed.subnet_id, fixed.ip_address) for fixed in old.external_fixed_ips]
    for fixed in gateway.external_fixed_ips:
        same = next(
            (
                (subnet, ip)
                for subnet, ip in has
                if fixed.ip_address in ("", ip) and fixed.subnet_id in ("", subnet)
            ),
            None,
        )
        if same is None:
            return True
        has.remove(same)
    return bool(has)


def _remove(plug: Plug, router: pb.Router, old: pb.ExternalGateway, *, stays: bool) -> None:
    """stays: another gateway leads to the same network."""
    store = plug.store
    if not stays:
        for floating in store.table(FLOATING_IPS).by("router", router.meta.id):
            if floating.spec.floating_network_id == old.network_id:
                raise FailedPrecondition(
                    f"Gateway cannot be updated for router {router.meta.id}, since a gateway to external network "
                    f"{old.network_id} is required by one or more floating IPs.",
                    reason="ROUTER_EXTERNAL_GATEWAY_IN_USE_BY_FLOATING_IP",
                    network=old.network_id,
                )
    port = store.find(PORTS, old.port_id)
    if port is not None:
        if not stays:
            check_unneeded(store, router, subnets_of(store, [port]))
        plug.drop(port)


def _check_addresses(store: Store, on: network_pb2.Network, asked: Sequence[port_pb2.FixedIp]) -> None:
    gateways = {
        subnet.spec.gateway_ip
        for subnet in store.table(SUBNETS).by("network", on.meta.id)
        if not marked(subnet) and subnet.spec.gateway_ip
    }
    for fixed in asked:
        if fixed.ip_address in gateways:
            raise bad(
                f"External IP {fixed.ip_address} is the same as the gateway IP", "external_gateway_info"
            )


def _check_apart(store: Store, router: pb.Router, port: port_pb2.Port) -> None:
    inside = subnets_of(store, ports_of(store, router.meta.id, INTERFACE_OWNER))
    for subnet in subnets_of(store, [port]):
        check_overlap(router.meta.id, subnet, inside)
