"""SwitchDriver on the kernel: a bridge per network, a tap per port, a namespace for what serves the network.

A network that spans nodes has its VXLAN device (vxlan.py) as one more member of the bridge, one that leads out of
the cloud an interface of the node or a link to the node itself (uplink.py).
"""

import fcntl
import os
import struct
from collections.abc import Mapping
from pathlib import Path

from agents.network import links, name, netns, rtnl
from agents.network.batch import Batch
from agents.network.driver import Holding
from agents.network.links import Links
from agents.network.mtu import mtu_of
from agents.network.namespace import configure
from agents.network.uplink import Uplinks
from agents.network.vxlan import VxlanTunnels
from fabric.network.v1 import neighbor_pb2, network_pb2, port_pb2

_KINDS = {
    name.BRIDGE: "bridge",
    name.LINK: "link",
    name.TUNNEL: "tunnel",
    name.UPLINK: "uplink",
    name.OUTLET: "outlet",
    name.TAP: "tap",
}
_TUNSETIFF, _TUNSETPERSIST = 0x400454CA, 0x400454CB
_IFF_TAP, _IFF_NO_PI = 0x2, 0x1000


class NetlinkSwitch:
    """The network and the mount namespace in which it is made are the node's.

    names_dir says which namespaces are ours: they have no alias, and /run/netns may be shared with others.
    """

    def __init__(
        self, node_links: Links, names_dir: Path, tunnel_address: str, physical_networks: Mapping[str, str]
    ) -> None:
        self._links = node_links
        self._names_dir = names_dir
        self._tunnels = VxlanTunnels(node_links, tunnel_address)
        self._uplinks = Uplinks(node_links, physical_networks)
        self._unwanted: set[str] = set()  # taps that the next removal takes
        self._removal = Batch(self._remove_taps)

    def adopt(self, neighbors: Mapping[str, neighbor_pb2.Neighbor]) -> None:
        self._tunnels.adopt(neighbors)

    async def resync(self) -> None:
        await self._tunnels.resync()

    async def ensure_network(self, want: network_pb2.NetworkWant) -> None:
        await self._links.do(self._ensure_bridge, want)
        await self._links.do(self._ensure_namespace, want)
        await self._tunnels.ensure_network(want)
        await self._links.do(self._uplinks.ensure, want)

    async def remove_network(self, network_id: str) -> None:
        await self._links.do(self._uplinks.remove, network_id)
        await self._tunnels.remove_network(network_id)
        await self._links.do(self._remove_namespace, network_id)
        await self._links.do(self._links.remove, name.bridge(network_id))

    async def ensure_neighbors(self, neighbors: Mapping[str, neighbor_pb2.Neighbor | None]) -> None:
        await self._tunnels.ensure_neighbors(neighbors)

    async def ensure_port(self, port: port_pb2.Port, mtu: int) -> None:
        await self._links.do(self._ensure_tap, port, mtu)

    async def remove_port(self, port_id: str) -> None:
        self._unwanted.add(name.tap(port_id))
        await self._removal.run()

    async def find(self) -> list[Holding]:
        return await self._links.do(self._find)

    async def close(self) -> None:
        await self._links.close()

    def _ensure_bridge(self, want: network_pb2.NetworkWant) -> None:
        network_id, mtu = want.network.meta.id, mtu_of(want.network)
        device = name.bridge(network_id)
        if links.index(device) is None:
            self._links.ip.link(
                "add", ifname=device, kind="bridge", br_forward_delay=0, br_stp_state=0, br_mcast_snooping=0
            )
        links.mute(device)
        up = want.network.spec.admin_state_up
        self._links.settle(device, mtu=mtu, up=up, alias=name.mark("network", network_id))

    def _ensure_namespace(self, want: network_pb2.NetworkWant) -> None:
        network_id, mtu = want.network.meta.id, mtu_of(want.network)
        namespace, device = name.namespace(network_id), name.link(network_id)
        self._names_dir.mkdir(parents=True, exist_ok=True)
        (self._names_dir / namespace).touch()
        netns.create(namespace)
        if links.index(device) is None:
            self._links.add_veth(device, namespace, name.INNER, name.link_mac(want))
        links.hide(device)
        self._links.settle(
            device, mtu=mtu, up=True, alias=name.mark("network", network_id), master=name.bridge(network_id)
        )
        netns.call(namespace, lambda: configure(want))

    def _remove_namespace(self, network_id: str) -> None:
        self._links.remove(name.link(network_id))
        if (self._names_dir / name.namespace(network_id)).exists():
            netns.remove(name.namespace(network_id))
            (self._names_dir / name.namespace(network_id)).unlink()

    def _ensure_tap(self, port: port_pb2.Port, mtu: int) -> None:
        device = name.tap(port.meta.id)
        if links.index(device) is None:  # any device of this name will do: a test may have put a veth there
            _make_tap(device)
        links.hide(device)
        self._links.settle(
            device,
            mtu=mtu,
            up=port.spec.admin_state_up,
            alias=name.mark("port", port.meta.id),
            master=name.bridge(port.spec.network_id),
        )

    async def _remove_taps(self) -> None:
        devices, self._unwanted = self._unwanted, set()
        await self._links.do(self._links.remove_all, devices)

    def _find(self) -> list[Holding]:
        found = []
        for link in rtnl.links():
            device, owner = link.name, name.owner(link.alias)
            if owner is None or owner[0] == "router":
                continue
            if owner[0] == "uplink":  # an interface of the node that joined a network
                found.append(Holding("uplink", device, "network", owner[1]))
                continue
            kind = next((kind for prefix, kind in _KINDS.items() if device.startswith(prefix)), None)
            if kind is not None:
                found.append(Holding(kind, device, *owner))
        ours = sorted(path.name for path in self._names_dir.iterdir()) if self._names_dir.exists() else []
        for namespace in filter(netns.exists, ours):
            found.append(Holding("namespace", namespace, "network", namespace.removeprefix(name.NAMESPACE)))
        return found


def _make_tap(device: str) -> None:
    """A persistent tap: it stays when its opener (QEMU, or this process) ends."""
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, _TUNSETIFF, struct.pack("16sH22x", device.encode(), _IFF_TAP | _IFF_NO_PI))
        fcntl.ioctl(handle, _TUNSETPERSIST, 1)
    finally:
        os.close(handle)
