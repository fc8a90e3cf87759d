"""What joins a network's bridge to the world around the node. No I/O."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from agents.network import name
from fabric.network.v1 import network_pb2
from fabric.runtime.errors import FailedPrecondition


@dataclass(frozen=True)
class Interface:
    """An interface of the node, or a VLAN of it."""

    device: str
    vlan: int = 0


@dataclass(frozen=True)
class Outlet:
    """The node itself is the network's gateway."""

    mac: str  # the same on each node: each is the gateway of its own ports
    addresses: tuple[str, ...]  # with prefix lengths


def uplink(want: network_pb2.NetworkWant, physical_networks: Mapping[str, str]) -> Interface | Outlet | None:
    """None: nothing. Raises FailedPrecondition: the node has no such physical network."""
    spec = want.network.spec
    if spec.network_type in ("flat", "vlan"):
        if spec.physical_network not in physical_networks:
            raise FailedPrecondition(
                "the node does not have the physical network",
                reason="PHYSICAL_NETWORK_MISSING",
                physical_network=spec.physical_network,
            )
        device = physical_networks[spec.physical_network]
        if device:
            return Interface(device, spec.segmentation_id if spec.network_type == "vlan" else 0)
        return _outlet(want)
    return _outlet(want) if spec.external else None


def has_outlet(want: network_pb2.NetworkWant, physical_networks: Mapping[str, str]) -> bool:
    """Whether the node itself is the network's gateway."""
    try:
        return isinstance(uplink(want, physical_networks), Outlet)
    except FailedPrecondition:
        return False


def _outlet(want: network_pb2.NetworkWant) -> Outlet:
    subnets = (subnet.spec for subnet in want.subnets if subnet.spec.gateway_ip)
    addresses = [f"{s.gateway_ip}/{ipaddress.ip_network(s.cidr).prefixlen}" for s in subnets]
    return Outlet(name.outlet_mac(want.network.meta.id), tuple(addresses))
