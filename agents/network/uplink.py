"""Networks that lead out of the cloud: an interface of the node joins the bridge, or the node is the gateway.

A gateway is a pair of links: one end joins the bridge, the other is the node's own and has the subnets' gateway
addresses; what comes in there and leaves by other interfaces is masqueraded (filter_model.py).
"""

import contextlib
import errno
import ipaddress
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import structlog
from pyroute2.netlink.exceptions import NetlinkError

from agents.network import links, name, rtnl, segment
from agents.network.links import Links
from agents.network.mtu import mtu_of
from agents.network.namespace import settle_addresses
from agents.network.segment import Interface, Outlet
from fabric.network.v1 import network_pb2
from fabric.runtime.errors import FailedPrecondition

log = structlog.get_logger(__name__)

_KIND = "uplink"  # in the alias of an interface that we took
_VLAN_ID = 1  # IFLA_VLAN_ID


class Uplinks:
    """physical_networks: name -> interface; empty: the node itself is the way out."""

    def __init__(self, node_links: Links, physical_networks: Mapping[str, str]) -> None:
        self._links = node_links
        self._physical = physical_networks

    def ensure(self, want: network_pb2.NetworkWant) -> None:
        """Runs in the links' thread. Raises FailedPrecondition: the node cannot."""
        found = segment.uplink(want, self._physical)
        self._leave(want.network.meta.id, found)
        match found:
            case Interface(device, 0):
                self._ensure_interface(device, want)
            case Interface(device, vlan):
                self._ensure_vlan(device, vlan, want)
            case Outlet() as outlet:
                self._ensure_outlet(outlet, want)

    def remove(self, network_id: str) -> None:
        """Runs in the links' thread: interfaces are the node's again."""
        self._leave(network_id, None)

    def _leave(self, network_id: str, to: Interface | Outlet | None) -> None:
        """Let go of what the network had before it came to use this one: two segments must not be joined."""
        own = rtnl.find(name.uplink(network_id))
        if own is not None and not _leads_to(own, to):
            self._links.remove(own.name)
        for device in self._physical.values():
            link = rtnl.find(device) if device and to != Interface(device) else None
            if link is not None and link.alias == name.mark(_KIND, network_id):
                self._links.ip.link("set", index=link.index, master=0, ifalias="")
                links.write_once(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6", "0")

    def _ensure_interface(self, device: str, want: network_pb2.NetworkWant) -> None:
        network_id, mtu = want.network.meta.id, mtu_of(want.network)
        link, alias = self._found(device, mtu), name.mark(_KIND, want.network.meta.id)
        if link.master and link.master != links.index(name.bridge(network_id)):
            raise FailedPrecondition(
                "the interface is part of something else", reason="INTERFACE_IN_USE", device=device
            )
        if not link.master:
            own = [a for _, a in rtnl.addresses(link.index) if not a.startswith("fe80:")]
            if own:
                raise FailedPrecondition(
                    "the interface has addresses of the node, which would be cut off",
                    reason="INTERFACE_HAS_ADDRESSES",
                    device=device,
                    addresses=own,
                )
            log.info("the interface joins the network", device=device, network=network_id)
        links.hide(device)
        self._links.settle(device, mtu=link.mtu, up=True, alias=alias, master=name.bridge(network_id))

    def _ensure_vlan(self, device: str, vlan: int, want: network_pb2.NetworkWant) -> None:
        network_id, mtu = want.network.meta.id, mtu_of(want.network)
        link, own = self._found(device, mtu), name.uplink(network_id)
        if links.index(own) is None:
            try:
                self._links.ip.link("add", ifname=own, kind="vlan", link=link.index, vlan_id=vlan)
            except NetlinkError as error:
                if error.code != errno.EOPNOTSUPP:
                    raise
                raise FailedPrecondition(
                    "the kernel has no VLAN devices (802.1q)", reason="VLAN_NOT_SUPPORTED"
                ) from error
        links.hide(own)
        alias = name.mark("network", network_id)
        self._links.settle(own, mtu=mtu, up=True, alias=alias, master=name.bridge(network_id))

    def _found(self, device: str, mtu: int) -> rtnl.Link:
        link = rtnl.find(device)
        if link is None:
            raise FailedPrecondition(
                "the physical network's interface is not there", reason="INTERFACE_MISSING", device=device
            )
        if link.mtu < mtu:
            raise FailedPrecondition(
                "the network's MTU does not fit the interface",
                reason="INTERFACE_MTU_TOO_SMALL",
                device=device,
                mtu=mtu,
            )
        return link

    def _ensure_outlet(self, outlet: Outlet, want: network_pb2.NetworkWant) -> None:
        network_id, mtu = want.network.meta.id, mtu_of(want.network)
        own, member = name.outlet(network_id), name.uplink(network_id)
        if links.index(own) is None:
            self._check_free(outlet)
            peer = {"ifname": member}
            self._links.ip.link("add", ifname=own, kind="veth", address=outlet.mac, peer=peer)
        links.write_once("/proc/sys/net/ipv4/ip_forward", "1")
        self._forward6(own, outlet)
        links.write_once(f"/proc/sys/net/ipv6/conf/{own}/accept_dad", "0")
        links.write_once(f"/proc/sys/net/ipv4/conf/{own}/arp_ignore", "1")
        links.hide(member)
        alias, up = name.mark("network", network_id), want.network.spec.admin_state_up
        self._links.settle(member, mtu=mtu, up=True, alias=alias, master=name.bridge(network_id))
        self._links.settle(own, mtu=mtu, up=up, alias=alias)
        settle_addresses(self._links.writer, socket.if_nametoindex(own), set(outlet.addresses))

    def _forward6(self, own: str, outlet: Outlet) -> None:
        """A node that forwards IPv6 takes no router advertisements, unless it is told to."""
        if not any(":" in address for address in outlet.addresses):
            links.write_once(f"/proc/sys/net/ipv6/conf/{own}/disable_ipv6", "1")
            return
        links.write_once(f"/proc/sys/net/ipv6/conf/{own}/disable_ipv6", "0")
        for path in Path("/proc/sys/net/ipv6/conf").glob("*/accept_ra"):
            with contextlib.suppress(OSError):
                if path.parent.name not in ("all", "default") and path.read_text().strip() == "1":
                    path.write_text("2")
        links.write_once("/proc/sys/net/ipv6/conf/all/forwarding", "1")

    def _check_free(self, outlet: Outlet) -> None:
        """The node would cut itself off if it took addresses of a network in which it lives."""
        wanted = [ipaddress.ip_network(address, strict=False) for address in outlet.addresses]
        for _, address in rtnl.addresses():
            there = ipaddress.ip_network(address, strict=False)
            if any(there.version == network.version and there.overlaps(network) for network in wanted):
                raise FailedPrecondition(
                    "the node has addresses in the external network's subnet already",
                    reason="SUBNET_IN_USE",
                    subnet=str(there),
                )


def _leads_to(own: rtnl.Link, to: Interface | Outlet | None) -> bool:
    match to:
        case Outlet():
            return own.kind == "veth"
        case Interface(vlan=vlan) if vlan:
            tag = int.from_bytes(own.data().get(_VLAN_ID, b"")[:2], sys.byteorder)
            return own.kind == "vlan" and tag == vlan
    return False
