"""What a node is told of a network. No I/O."""

from collections.abc import Iterable

from fabric.network.collection import PORTS
from fabric.network.record import plain
from fabric.network.segment_list import on_segment, serves
from fabric.network.v1 import network_pb2 as pb
from fabric.network.v1 import port_pb2, segment_pb2, subnet_pb2
from fabric.runtime.resource import copy_of


def made(
    network: pb.Network, segment: segment_pb2.Segment | None, subnets: Iterable[subnet_pb2.Subnet]
) -> pb.NetworkWant:
    """For nodes that use the segment: a subnet of another one is not there."""
    return pb.NetworkWant(
        network=plain(on_segment(network, segment)),
        subnets=[plain(subnet) for subnet in subnets if serves(subnet, segment)],
    )


def spans_nodes(want: pb.NetworkWant) -> bool:
    """Whether its nodes are joined by tunnels."""
    return want.network.spec.network_type == "vxlan"


def put_dhcp(want: pb.NetworkWant, port: port_pb2.Port) -> None:
    """The DHCP port with its addresses of the subnets that are there; without any there is none."""
    there = {subnet.meta.id for subnet in want.subnets}
    addresses = [copy_of(fixed) for fixed in port.spec.fixed_ips if fixed.subnet_id in there]
    if addresses:
        want.dhcp_port.CopyFrom(port)
        PORTS.strip(want.dhcp_port)  # the reply of a service says more than the record
        del want.dhcp_port.spec.fixed_ips[:]
        want.dhcp_port.spec.fixed_ips.extend(addresses)
