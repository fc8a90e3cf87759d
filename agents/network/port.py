"""What is so about a port or a network on its node. No I/O."""

from fabric.network.v1 import network_pb2, port_pb2


def has_tap(port: port_pb2.Port) -> bool:
    """Ports of the network service itself (DHCP, routers) are made by what they belong to."""
    return not port.spec.device_owner.startswith("network:")


def is_subport(port: port_pb2.Port) -> bool:
    """What it sends and receives carries a tag on a trunk: its device is made by that."""
    return port.spec.device_owner == "trunk:subport"


def observed(
    port: port_pb2.Port, state: "port_pb2.PortStatus.State.ValueType", reason: str = ""
) -> port_pb2.PortStatus:
    """The status that says this was seen for the present generation."""
    return port_pb2.PortStatus(state=state, reason=reason, observed_generation=port.meta.generation)


def is_settled(port: port_pb2.Port, status: port_pb2.PortStatus) -> bool:
    """Whether the port was made for this generation."""
    made = status.state in (port_pb2.PortStatus.STATE_ACTIVE, port_pb2.PortStatus.STATE_DOWN)
    return made and status.observed_generation == port.meta.generation


def network_status(want: network_pb2.NetworkWant) -> network_pb2.NetworkStatus:
    """What a network is once everything of it is there."""
    up = want.network.spec.admin_state_up
    state = network_pb2.NetworkStatus.STATE_ACTIVE if up else network_pb2.NetworkStatus.STATE_DOWN
    return network_pb2.NetworkStatus(state=state)
