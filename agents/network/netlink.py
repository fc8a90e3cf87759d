"""SwitchDriver on the kernel: a bridge per network, a tap per port, a namespace for what serves the network.

All netlink work is done in one thread, so no two calls interleave; every step reads first and writes only
what differs. A network that spans nodes will have its VXLAN device as one more member of the bridge.
"""

import asyncio
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agents.network import name, netns
from agents.network.batch import Batch
from agents.network.driver import Holding
from agents.network.namespace import configure
from fabric.network.v1 import network_pb2, port_pb2
from fabric.runtime.errors import NotFound

Result = TypeVar("Result")

_LEAVING = 0xFAB0  # the link group of what is being removed
_IFF_UP = 0x1
_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI = 0x2, 0x1000


class NetlinkSwitch:
    """The network and the mount namespace in which it is made are the node's.

    names_dir says which namespaces are ours: they have no alias, and /run/netns may be shared with others.
    """

    def __init__(self, names_dir: Path) -> None:
        self._names_dir = names_dir
        self._thread = ThreadPoolExecutor(1, "netlink")
        self._netlink: IPRoute | None = None
        self._unwanted: set[str] = set()  # taps that the next removal takes
        self._removal = Batch(self._remove_taps)

    async def ensure_network(self, want: network_pb2.NetworkWant) -> None:
        await self._do(self._ensure_bridge, want)
        if want.HasField("dhcp_port"):
            await self._do(self._ensure_namespace, want)
        else:
            await self._do(self._remove_namespace, want.network.meta.id)

    async def remove_network(self, network_id: str) -> None:
        await self._do(self._remove_namespace, network_id)
        await self._do(self._remove_link, name.bridge(network_id))

    async def ensure_port(self, port: port_pb2.Port, mtu: int) -> None:
        await self._do(self._ensure_tap, port, mtu)

    async def remove_port(self, port_id: str) -> None:
        self._unwanted.add(name.tap(port_id))
        await self._removal.run()

    async def find(self) -> list[Holding]:
        return await self._do(self._find)

    async def close(self) -> None:
        """Close the netlink socket; everything that was made stays."""

        def close() -> None:
            if self._netlink is not None:
                self._netlink.close()

        await self._do(close)
        self._thread.shutdown()

    async def _do(self, function: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    @property
    def _ip(self) -> IPRoute:
        if self._netlink is None:
            self._netlink = IPRoute()
        return self._netlink

    def _ensure_bridge(self, want: network_pb2.NetworkWant) -> None:
        network_id, mtu = want.network.meta.id, want.network.spec.mtu or 1500
        device = name.bridge(network_id)
        if _index(device) is None:
            self._ip.link(
                "add", ifname=device, kind="bridge", br_forward_delay=0, br_stp_state=0, br_mcast_snooping=0
            )
        self._hide(device)
        up = want.network.spec.admin_state_up
        self._settle(device, mtu=mtu, up=up, alias=name.mark("network", network_id))

    def _ensure_namespace(self, want: network_pb2.NetworkWant) -> None:
        network_id, mtu = want.network.meta.id, want.network.spec.mtu or 1500
        namespace, device = name.namespace(network_id), name.link(network_id)
        self._names_dir.mkdir(parents=True, exist_ok=True)
        (self._names_dir / namespace).touch()
        netns.create(namespace)
        if _index(device) is None:
            self._make_veth(namespace, device, want.dhcp_port.spec.mac_address)
        self._hide(device)
        self._settle(
            device, mtu=mtu, up=True, alias=name.mark("network", network_id), master=name.bridge(network_id)
        )
        netns.call(namespace, lambda: configure(want))

    def _make_veth(self, namespace: str, device: str, mac: str) -> None:
        handle = os.open(netns.RUN / namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            peer = {"ifname": name.INNER, "net_ns_fd": handle, "address": mac}
            self._ip.link("add", ifname=device, kind="veth", peer=peer)
        finally:
            os.close(handle)

    def _remove_namespace(self, network_id: str) -> None:
        self._remove_link(name.link(network_id))
        if (self._names_dir / name.namespace(network_id)).exists():
            netns.remove(name.namespace(network_id))
            (self._names_dir / name.namespace(network_id)).unlink()

    def _ensure_tap(self, port: port_pb2.Port, mtu: int) -> None:
        device = name.tap(port.meta.id)
        if _index(device) is None:  # any device of this name will do: a test may have put a veth there
            _make_tap(device)
        self._hide(device)
        self._settle(
            device,
            mtu=mtu,
            up=port.spec.admin_state_up,
            alias=name.mark("port", port.meta.id),
            master=name.bridge(port.spec.network_id),
        )

    def _link(self, device: str) -> Any | None:
        try:
            return self._ip.link("get", ifname=device)[0]
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise

    def _settle(self, device: str, *, mtu: int, up: bool, alias: str, master: str | None = None) -> None:
        link = self._link(device)
        if link is None:
            raise NotFound("the interface went away while it was made", device=device)
        wrong: dict[str, Any] = {}
        if link.get_attr("IFLA_MTU") != mtu:
            wrong["mtu"] = mtu
        if bool(link["flags"] & _IFF_UP) != up:
            wrong["state"] = "up" if up else "down"
        if link.get_attr("IFLA_IFALIAS") != alias:
            wrong["ifalias"] = alias
        if master is not None:
            bridge = _index(master)
            if bridge is None:
                raise NotFound("the network has no bridge on this node yet", device=master)
            if link.get_attr("IFLA_MASTER") != bridge:
                wrong["master"] = bridge
        if wrong:
            self._ip.link("set", index=link["index"], **wrong)

    def _hide(self, device: str) -> None:
        """The node itself has no address on a network and answers for none of its own there."""
        _write_once(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6", "1")
        _write_once(f"/proc/sys/net/ipv4/conf/{device}/arp_ignore", "8")

    def _remove_link(self, device: str) -> None:
        link = self._link(device)
        if link is None:
            return
        try:
            self._ip.link("del", index=link["index"])
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise

    async def _remove_taps(self) -> None:
        devices, self._unwanted = self._unwanted, set()
        await self._do(self._remove_links, devices)

    def _remove_links(self, devices: set[str]) -> None:
        """The kernel waits some 20 ms for each removal, and as long for that of a whole group."""
        if len(devices) <= 2:
            for device in devices:
                self._remove_link(device)
            return
        found = [link for link in map(self._link, devices) if link is not None]
        for link in found:
            self._ip.link("set", index=link["index"], group=_LEAVING)
        if found:
            self._ip.link("del", index=0, group=_LEAVING)

    def _find(self) -> list[Holding]:
        kinds = ((name.BRIDGE, "bridge"), (name.LINK, "link"), (name.TAP, "tap"))
        found = []
        for link in self._ip.get_links():
            device, owner = link.get_attr("IFLA_IFNAME"), name.owner(link.get_attr("IFLA_IFALIAS") or "")
            kind = next((kind for prefix, kind in kinds if device.startswith(prefix)), None)
            if kind is not None and owner is not None:
                found.append(Holding(kind, device, *owner))
        ours = sorted(path.name for path in self._names_dir.iterdir()) if self._names_dir.exists() else []
        for namespace in filter(netns.exists, ours):
            found.append(Holding("namespace", namespace, "network", namespace.removeprefix(name.NAMESPACE)))
        return found


def _index(device: str) -> int | None:
    """Far cheaper than asking for the whole link."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return None


def _make_tap(device: str) -> None:
    """A persistent tap: it stays when its opener (QEMU, or this process) ends."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TAP | _IFF_NO_PI))
        fcntl.ioctl(handle, _TUNSETPERSIST, 1)
    finally:
        os.close(handle)


def _write_once(path: str, value: str) -> None:
    try:
        with open(path, "r+") as file:
            if file.read().strip() != value:
                file.seek(0)
                file.write(value)
    except FileNotFoundError:
        return  # a kernel without IPv6
