"""Networks that span nodes: a VXLAN device for each network that has peers, one more member of its bridge.

What is for everybody is sent to each peer; frames to a known MAC go where it is, since the device and the
bridge are told; who asks for a known address is answered by the bridge, and the question stays on the node.
Frames to MACs that nobody knows do not leave the node. The kernel is read at the start and at each resync;
between those, what was written is remembered.
"""

import contextlib
import errno
import ipaddress
import socket
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from agents.network import links, name, rtnl
from agents.network.batch import Batch
from agents.network.forwarding import ANSWER, FLOOD, FORWARD, Entries, Forwarding, Key
from agents.network.links import Links
from agents.network.mtu import mtu_of
from fabric.network.v1 import neighbor_pb2, network_pb2
from fabric.runtime.errors import FailedPrecondition, NotFound

_ANYBODY = "00:00:00:00:00:00"
_OVERHEAD = {4: 50, 6: 70}  # bytes around a frame's payload: Ethernet, VXLAN, UDP and the tunnel's IP version
_SELF, _MASTER = 0x2, 0x4  # an entry of the device, and one of its bridge
_REACHABLE, _NOARP, _PERMANENT = 0x2, 0x40, 0x80
_STATIC = _NOARP | _REACHABLE
_VNI, _LOCAL, _LOCAL6 = 1, 4, 17  # IFLA_VXLAN_*
_MEMBER = {"unicast_flood": 9, "proxyarp_wifi": 12, "neigh_suppress": 32}  # IFLA_BRPORT_*


class VxlanTunnels:
    """Told of networks and neighbors in any order; local: this node's tunnel address."""

    def __init__(self, node_links: Links, local: str) -> None:
        self._links = node_links
        self._local = local
        self._networks: defaultdict[str, Forwarding] = defaultdict(Forwarding)
        self._network_of: dict[str, str] = {}  # by port
        self._made: set[str] = set()  # networks that have a device
        self._have: dict[str, Entries] = {}  # what the kernel has, as far as we know
        self._look = True  # at the kernel before anything is written
        self._settled: set[str] = set()  # networks of which only what is touched may be wrong
        self._changed: set[str] = set()
        self._batch = Batch(self._settle)

    def adopt(self, neighbors: Mapping[str, neighbor_pb2.Neighbor]) -> None:
        """Know all of them before anything is written."""
        self._networks.clear()
        self._network_of.clear()
        self._made.clear()
        self._look = True
        for port_id, neighbor in neighbors.items():
            self._put(port_id, neighbor)

    async def ensure_network(self, want: network_pb2.NetworkWant) -> None:
        """Make the network reach its peers. Raises FailedPrecondition: the node cannot."""
        network_id = want.network.meta.id
        peers = {peer.node: peer.address for peer in want.peers}
        if self._networks[network_id].peers != peers:
            self._networks[network_id].put_peers(peers)
        if not peers:
            await self.remove_network(network_id)
            return
        if await self._links.do(self._ensure_device, want):
            self._settled.discard(network_id)
            self._have[network_id] = {}
        self._made.add(network_id)
        await self._run(network_id)

    async def remove_network(self, network_id: str) -> None:
        """Make the device not exist; neighbors stay known."""
        self._networks[network_id].put_peers({})
        await self._run(network_id)  # the bridge may stay
        self._made.discard(network_id)
        self._settled.discard(network_id)
        if not self._networks[network_id]:
            del self._networks[network_id]
        await self._links.do(self._links.remove, name.tunnel(network_id))

    async def ensure_neighbors(self, neighbors: Mapping[str, neighbor_pb2.Neighbor | None]) -> None:
        """Send frames to each port where it is; None: know nothing of it."""
        networks = set()
        for port_id, neighbor in neighbors.items():
            if neighbor is not None:
                self._put(port_id, neighbor)
                networks.add(neighbor.network_id)
            elif (network_id := self._network_of.pop(port_id, None)) is not None:
                self._networks[network_id].drop(port_id)
                networks.add(network_id)
        await self._run(*networks)

    async def resync(self) -> None:
        """Compare everything with the kernel and repair."""
        self._look = True
        await self._run(*self._made)

    def _put(self, port_id: str, neighbor: neighbor_pb2.Neighbor) -> None:
        self._network_of[port_id] = neighbor.network_id
        self._networks[neighbor.network_id].put(port_id, neighbor)

    async def _run(self, *network_ids: str) -> None:
        self._changed.update(self._made.intersection(network_ids))
        if self._changed:
            await self._batch.run()

    async def _settle(self) -> None:
        """Write what changed since the last time, of a network that was not settled all that is wrong."""
        changed, self._changed = self._changed, set()
        if self._look:
            self._look = False
            self._settled.clear()
            try:
                self._have = await self._links.do(self._read, list(self._networks))
            except BaseException:
                self._look = True
                raise
        for network_id in changed & self._made:
            forwarding, have = self._networks[network_id], self._have.setdefault(network_id, {})
            touched, forwarding.touched = forwarding.touched, set()
            if network_id not in self._settled:
                touched = {*forwarding.wanted(), *have}
            wrong = {key: forwarding.get(key) for key in touched if forwarding.get(key) != have.get(key)}
            self._settled.discard(network_id)
            if wrong and not await self._links.do(self._write, network_id, wrong):
                continue
            self._settled.add(network_id)
            for key, value in wrong.items():
                have.pop(key, None)
                if value is not None:
                    have[key] = value

    def _ensure_device(self, want: network_pb2.NetworkWant) -> bool:
        """True: it is a new one."""
        network_id, mtu = want.network.meta.id, mtu_of(want.network)
        device, vni = name.tunnel(network_id), want.network.spec.segmentation_id
        link = rtnl.find(device)
        if link is not None and _facts(link) != (vni, self._local):
            self._links.remove(device)
            link = None
        if link is None:
            self._check_underlay(mtu)
            self._make_device(device, vni)
        links.hide(device)
        self._links.settle(
            device,
            mtu=mtu,
            up=want.network.spec.admin_state_up,
            alias=name.mark("network", network_id),
            master=name.bridge(network_id),
        )
        self._settle_membership(device, any(subnet.spec.ip_version == 6 for subnet in want.subnets))
        return link is None

    def _make_device(self, device: str, vni: int) -> None:
        local = {"vxlan_local6" if ":" in self._local else "vxlan_local": self._local}
        facts = {"vxlan_id": vni, "vxlan_port": name.VXLAN_PORT, "vxlan_learning": False, **local}
        try:
            self._links.ip.link("add", ifname=device, kind="vxlan", **facts)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
            raise FailedPrecondition(
                "the node has another device with the network's VNI", reason="VNI_IN_USE", vni=vni
            ) from error

    def _check_underlay(self, mtu: int) -> None:
        """Frames of full size must fit: VXLAN is not fragmented."""
        version = ipaddress.ip_address(self._local).version
        found = [index for index, address in rtnl.addresses() if address.split("/")[0] == self._local]
        if not found:
            raise FailedPrecondition(
                "no interface of the node has its tunnel address",
                reason="TUNNEL_ADDRESS_MISSING",
                address=self._local,
            )
        underlay = next(link.mtu for link in rtnl.links() if link.index == found[0])
        if underlay < mtu + _OVERHEAD[version]:
            raise FailedPrecondition(
                "the network's MTU does not fit into the tunnel",
                reason="UNDERLAY_MTU_TOO_SMALL",
                mtu=mtu,
                underlay_mtu=underlay,
                needed=mtu + _OVERHEAD[version],
            )

    def _settle_membership(self, device: str, six: bool) -> None:
        """As a member of the bridge it gets no frames to unknown MACs, and no questions that have an answer.

        Of the two ways in which bridges answer, one knows IPv6 but keeps gratuitous ARP from the peers, by which
        an address pair says that it has moved: it is taken where there is IPv6.
        """
        link = rtnl.find(device)
        if link is None:
            raise NotFound("the interface went away while it was made", device=device)
        wanted = {"unicast_flood": 0, "neigh_suppress": int(six), "proxyarp_wifi": int(not six)}
        found = link.member()
        if any(found.get(_MEMBER[key]) != bytes([value]) for key, value in wanted.items()):
            self._links.ip.brport("set", index=link.index, **wanted)

    def _write(self, network_id: str, wrong: Mapping[Key, str | None]) -> bool:
        """Repeating it is safe. False: the devices went away; the network's next look makes them anew."""
        tunnel, bridge = links.index(name.tunnel(network_id)), links.index(name.bridge(network_id))
        if tunnel is None or bridge is None:
            return False
        for (kind, address), value in wrong.items():
            if kind == ANSWER:
                self._write_answer(bridge, address, value)
            elif kind == FLOOD:
                command = "del" if value is None else "append"
                self._write_forward(command, tunnel, lladdr=_ANYBODY, dst=address, flags=_SELF)
            elif value is None:
                for flag in (_MASTER, _SELF):
                    self._write_forward("del", tunnel, lladdr=address, flags=flag)
            else:
                self._write_forward("replace", tunnel, lladdr=address, dst=value, flags=_SELF | _MASTER)
        return True

    def _write_forward(self, command: str, tunnel: int, **facts: Any) -> None:
        with _repeated():
            self._links.ip.fdb(command, ifindex=tunnel, state=_STATIC, **facts)

    def _write_answer(self, bridge: int, address: str, mac: str | None) -> None:
        facts: dict[str, Any] = {"family": socket.AF_INET6 if ":" in address else socket.AF_INET}
        facts |= {} if mac is None else {"lladdr": mac, "state": _PERMANENT}
        with _repeated():
            self._links.ip.neigh("del" if mac is None else "replace", ifindex=bridge, dst=address, **facts)

    def _read(self, network_ids: list[str]) -> dict[str, Entries]:
        """What the kernel has, by network."""
        indexes = {device: index for index, device in socket.if_nameindex()}
        tunnels = {indexes.get(name.tunnel(network_id)): network_id for network_id in network_ids}
        bridges = {indexes.get(name.bridge(network_id)): network_id for network_id in network_ids}
        found: defaultdict[str, Entries] = defaultdict(dict)
        told = set()  # MACs of which the bridge knows
        for entry in self._links.ip.fdb("dump"):
            network_id, mac = tunnels.get(entry["ifindex"]), entry.get_attr("NDA_LLADDR")
            if network_id is None:
                continue
            if not entry["flags"] & _SELF:
                if entry["state"] & _NOARP:  # not what it has learned
                    told.add((network_id, mac))
            elif mac == _ANYBODY:
                found[network_id][FLOOD, entry.get_attr("NDA_DST")] = ""
            else:
                found[network_id][FORWARD, mac] = entry.get_attr("NDA_DST")
        for network_id, entries in found.items():
            for kind, mac in list(entries):
                if kind == FORWARD and (network_id, mac) not in told:
                    entries[FORWARD, mac] = ""  # the bridge has lost its half
        for family in (socket.AF_INET, socket.AF_INET6):
            for entry in self._links.ip.get_neighbours(family):
                network_id = bridges.get(entry["ifindex"])
                if network_id is not None and entry["state"] & _PERMANENT:
                    found[network_id][ANSWER, entry.get_attr("NDA_DST")] = entry.get_attr("NDA_LLADDR")
        return found


@contextlib.contextmanager
def _repeated() -> Iterator[None]:
    """What is there already, or gone already, is as it should be."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in (errno.EEXIST, errno.ENOENT):
            raise


def _facts(link: rtnl.Link) -> tuple[int, str]:
    """VNI and tunnel address of a VXLAN device."""
    data = link.data()
    local = data.get(_LOCAL) or data.get(_LOCAL6)
    return int.from_bytes(data.get(_VNI, b""), sys.byteorder), str(
        ipaddress.ip_address(local)
    ) if local else ""
