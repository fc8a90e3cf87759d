"""How large frames of a network may be."""

from fabric.network.v1 import network_pb2

_LEAST = 68  # of which the kernel knows (RFC 791)


def mtu_of(network: network_pb2.Network) -> int:
    """What the devices of the network have."""
    return max(network.spec.mtu or 1500, _LEAST)
