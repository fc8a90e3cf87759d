"""How the things on a node are called.

The kernel allows 15 characters; an interface's alias holds the whole id.
"""

from fabric.network.v1 import network_pb2

BRIDGE, LINK, TUNNEL, TAP, NAMESPACE = "fb", "fd", "fv", "tap", "fabric-"
ROUTER_LINK, ROUTER_PORT, ROUTER_NAMESPACE = "fr", "rp", "fabric-router-"
OUTLET, UPLINK, SHAPER, TRUNK_LINK = "fo", "fu", "fq", "ft"
ROUTER_SHAPER = "rq"
VXLAN_PORT = 4789
INNER = "dhcp"  # the link's other end, inside the namespace
METADATA_V4 = "169.254.169.254"
METADATA_V6 = "fe80::a9fe:a9fe"


def bridge(network_id: str) -> str:
    """The bridge of a network."""
    return BRIDGE + network_id[:12]


def link(network_id: str) -> str:
    """The bridge's end of the veth into the network's namespace."""
    return LINK + network_id[:12]


def tunnel(network_id: str) -> str:
    """The VXLAN device by which a network reaches other nodes."""
    return TUNNEL + network_id[:12]


def uplink(network_id: str) -> str:
    """The bridge's member that leads to the node itself, or into a VLAN."""
    return UPLINK + network_id[:12]


def outlet(network_id: str) -> str:
    """The node's own end: it has the gateway's addresses."""
    return OUTLET + network_id[:12]


def outlet_mac(network_id: str) -> str:
    """The MAC of a network's gateway where nodes are it: each node's own ports see the same."""
    octets = bytes.fromhex(network_id.replace("-", "")[:8])
    return "0e:fa:" + octets.hex(":")


def link_mac(want: network_pb2.NetworkWant) -> str:
    """The MAC of the namespace: the DHCP port's or, without DHCP, one that is the same on each node."""
    octets = bytes.fromhex(want.network.meta.id.replace("-", "")[:8])
    return want.dhcp_port.spec.mac_address or "0e:fb:" + octets.hex(":")


def tap(port_id: str) -> str:
    """The tap of a port; the same name is in the server's Nic.tap."""
    return TAP + port_id[:11]


def trunk_link(port_id: str) -> str:
    """The other end of a port that carries a tag on a trunk."""
    return TRUNK_LINK + port_id[:12]


def shaper(port_id: str) -> str:
    """The device through which goes what a port with a bandwidth limit sends."""
    return SHAPER + port_id[:12]


def namespace(network_id: str) -> str:
    """The network's namespace under /run/netns."""
    return NAMESPACE + network_id


def router_namespace(router_id: str) -> str:
    """The router's namespace under /run/netns."""
    return ROUTER_NAMESPACE + router_id


def router_link(port_id: str) -> str:
    """The bridge's end of the veth into the router's namespace."""
    return ROUTER_LINK + port_id[:12]


def router_port(port_id: str) -> str:
    """The other end, inside the router's namespace."""
    return ROUTER_PORT + port_id[:12]


def router_shaper(device: str) -> str:
    """The device beside a router's port through which goes what comes in by it, if that is limited."""
    return ROUTER_SHAPER + device.removeprefix(ROUTER_PORT)


def mark(kind: str, owner_id: str) -> str:
    """The alias by which we know an interface as ours."""
    return f"fabric {kind} {owner_id}"


def owner(alias: str) -> tuple[str, str] | None:
    """Kind and id from an alias; None: not ours."""
    words = alias.split(" ")
    if len(words) != 3 or words[0] != "fabric":
        return None
    return words[1], words[2]
