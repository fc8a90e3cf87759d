"""What a network's namespace has on its link.

The addresses of the DHCP port and those of the metadata service.
"""

import array
import contextlib
import errno
import fcntl
import ipaddress
import socket
import struct
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from agents.network import name, rtnl
from agents.network.links import write_once
from agents.network.mtu import mtu_of
from fabric.network.v1 import network_pb2

_OURS = 250  # the protocol number of routes that we made
_NO_DAD = 0x02  # without it the address can be used a moment later, also where accept_dad is 0
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17


def addresses(want: network_pb2.NetworkWant) -> list[str]:
    """Addresses with prefix length, in the order of the DHCP port's fixed_ips.

    Then those of the metadata service.
    """
    lengths = {
        subnet.meta.id: ipaddress.ip_network(subnet.spec.cidr).prefixlen
        for subnet in want.subnets
        if subnet.spec.cidr
    }
    own = [
        f"{fixed.ip_address}/{lengths[fixed.subnet_id]}"
        for fixed in want.dhcp_port.spec.fixed_ips
        if fixed.subnet_id in lengths
    ]
    return [*own, f"{name.METADATA_V4}/32", f"{name.METADATA_V6}/64"]


def gateway(want: network_pb2.NetworkWant) -> str | None:
    """The IPv4 router of the network, by which the DNS forwarder reaches name servers.

    None: there is none, or nobody to forward for.
    """
    own = {fixed.ip_address for fixed in want.dhcp_port.spec.fixed_ips}
    if not own:
        return None
    for subnet in want.subnets:
        if subnet.spec.ip_version == 4 and subnet.spec.gateway_ip and subnet.spec.gateway_ip not in own:
            return subnet.spec.gateway_ip
    return None


def on_link(want: network_pb2.NetworkWant) -> set[str]:
    """The IPv4 subnets without an address of ours: who is on them is answered by the metadata address."""
    own = {fixed.subnet_id for fixed in want.dhcp_port.spec.fixed_ips}
    subnets = (s.spec for s in want.subnets if s.spec.ip_version == 4 and s.meta.id not in own)
    return {str(ipaddress.ip_network(spec.cidr)) for spec in subnets}


def configure(want: network_pb2.NetworkWant) -> None:
    """Runs inside the namespace: make its link carry exactly the addresses; write only what differs."""
    with contextlib.closing(rtnl.Writer()) as writer:
        for key, value in (("accept_dad", "0"), ("accept_ra", "0"), ("autoconf", "0")):
            write_once(f"/proc/sys/net/ipv6/conf/{name.INNER}/{key}", value)
        found = {link.name: link for link in rtnl.links()}
        loopback, link = found["lo"], found[name.INNER]
        if not loopback.up:
            writer.ip.link("set", index=loopback.index, state="up")
        changes: dict[str, Any] = {}
        if link.mac != name.link_mac(want):
            changes["address"] = name.link_mac(want)
        if link.mtu != mtu_of(want.network):
            changes["mtu"] = mtu_of(want.network)
        if not link.up:
            _fill_checksums()
            changes["state"] = "up"
        if changes:
            writer.ip.link("set", index=link.index, **changes)
        settle_addresses(writer, link.index, set(addresses(want)))
        _settle_on_link(writer, link.index, on_link(want))
        _settle_gateway(writer, link.index, gateway(want))


def settle_addresses(writer: rtnl.Writer, index: int, wanted: set[str]) -> set[str]:
    """Make the link have these addresses (with prefix length); returns those that it had not."""
    found = {address for _, address in rtnl.addresses(index)}
    for address in sorted(found - wanted):
        if not address.startswith("fe80:"):  # the kernel's own link-local address stays
            writer.ip.addr("del", index=index, **_parts(address))
    for address in sorted(wanted - found):
        writer.ip.addr("add", index=index, **_parts(address))
    return wanted - found


def _parts(address: str) -> dict[str, Any]:
    interface = ipaddress.ip_interface(address)
    parts = {"address": str(interface.ip), "prefixlen": interface.network.prefixlen}
    if interface.version == 4:
        return parts | {"family": socket.AF_INET}
    return parts | {"family": socket.AF_INET6, "flags": _NO_DAD}


def _settle_on_link(writer: rtnl.Writer, index: int, wanted: set[str]) -> None:
    found = {route.destination for route in rtnl.routes(socket.AF_INET, _OURS)}
    facts: dict[str, Any] = {"oif": index, "proto": _OURS, "scope": "link"}
    for destination in found - wanted:
        writer.ip.route("del", dst=destination, **facts)
    for destination in wanted - found:
        writer.ip.route("replace", dst=destination, prefsrc=name.METADATA_V4, **facts)


def _settle_gateway(writer: rtnl.Writer, index: int, wanted: str | None) -> None:
    routes = rtnl.routes(socket.AF_INET)
    found = next((gateway for r in routes if r.destination == "default" for gateway, _ in r.hops), None)
    if found == wanted:
        return
    if wanted is None:
        writer.ip.route("del", dst="default", oif=index, family=socket.AF_INET)
        return
    try:
        writer.ip.route("replace", dst="default", gateway=wanted, oif=index)
    except NetlinkError as error:
        if error.code not in (errno.ENETUNREACH, errno.EINVAL):  # a gateway outside the DHCP port's subnets
            raise


def _fill_checksums() -> None:
    """Raw-socket DHCP clients reject the unfilled checksums that a veth passes on.

    Turn off transmit offload.
    """
    value = array.array("I", [_ETHTOOL_STXCSUM, 0])
    request = struct.pack("16sP", name.INNER.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, _SIOCETHTOOL, request)
