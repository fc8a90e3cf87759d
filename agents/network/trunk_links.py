"""TrunkDriver on the kernel: a pair of veth a port with a tag, and eBPF programs that move frames between it and the
parent's tap, without the tag on one side and with it on the other.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping

import structlog
from pyroute2.netlink.exceptions import NetlinkError

from agents.network import ebpf, ingress, links, name, netns, rtnl
from agents.network.driver import Holding
from agents.network.links import Links
from fabric.runtime.errors import NotFound, Unavailable

log = structlog.get_logger(__name__)

_LARGEST_MTU = 65535  # of the inner end, which only hands over
_ETH_P_ALL = 3


class VethTrunks:
    """The end of a pair that is on the bridge has the name of the port's tap, so that all else is as with a tap."""

    def __init__(self, node_links: Links) -> None:
        self._links = node_links

    async def ensure(self, parent_id: str, tags: Mapping[str, int]) -> None:
        await self._links.do(self._ensure, parent_id, tags)

    async def remove(self, port_ids: Iterable[str]) -> None:
        await self._links.do(self._remove, list(port_ids))

    async def find(self) -> list[Holding]:
        return await self._links.do(self._find)

    def _ensure(self, parent_id: str, tags: Mapping[str, int]) -> None:
        parent = links.index(name.tap(parent_id))
        if parent is None:
            raise NotFound("the trunk's parent has no tap yet", port=parent_id)
        devices = {}
        for port_id, tag in tags.items():
            inner = self._ensure_pair(port_id)
            self._run(inner, ebpf.tagging(tag, parent))
            devices[tag] = inner
        if devices:
            self._run(parent, ebpf.untagging(devices))
        else:
            ingress.clear(self._links.ip, parent, ingress.TRUNK)

    def _ensure_pair(self, port_id: str) -> int:
        """The index of the end that is not on the bridge."""
        outer, inner = name.tap(port_id), name.trunk_link(port_id)
        if links.index(inner) is None:
            self._links.remove(outer)  # a tap from before it joined
            self._links.ip.link("add", ifname=outer, kind="veth", peer={"ifname": inner})
        links.hide(inner)
        self._links.settle(inner, mtu=_LARGEST_MTU, up=True, alias=name.mark("port", port_id))
        found = links.index(inner)
        if found is None:
            raise NotFound("the interface went away while it was made", device=inner)
        return found

    def _run(self, index: int, program: bytes) -> None:
        """Make this the program of the device; its name tells whether it is there."""
        title = f"fabric {hashlib.sha256(program).hexdigest()[:12]}"
        ingress.open_(self._links.ip, index)
        kept = ingress.filters(self._links.ip, index, ingress.TRUNK)
        options = [options for one in kept if (options := one.get_attr("TCA_OPTIONS")) is not None]
        if [one.get_attr("TCA_BPF_NAME") for one in options] == [title]:
            return
        handle = ebpf.load(program)
        try:
            if kept:
                self._links.ip.tc("del-filter", index=index, parent=ingress.QDISC, info=ingress.TRUNK << 16)
            self._links.ip.tc(
                "add-filter",
                "bpf",
                index,
                0,
                fd=handle,
                name=title,
                parent=ingress.QDISC,
                direct_action=True,
                prio=ingress.TRUNK,
                protocol=_ETH_P_ALL,
            )
        finally:
            os.close(handle)

    def _remove(self, port_ids: list[str]) -> None:
        for port_id in port_ids:
            self._links.remove(name.trunk_link(port_id))

    def _find(self) -> list[Holding]:
        found = []
        for link in rtnl.links():
            device, owner = link.name, name.owner(link.alias)
            if device.startswith(name.TRUNK_LINK) and owner is not None:
                found.append(Holding("trunk_link", device, *owner))
        return found


def is_possible() -> bool:
    """Whether the kernel takes the programs, tried in a namespace that goes at once; blocking."""

    def attempt() -> None:
        node_links = Links()
        try:
            parent, port = "parent", "port"
            node_links.ip.link("add", ifname=name.tap(parent), kind="veth", peer={"ifname": "other"})
            VethTrunks(node_links)._ensure(parent, {port: 1})
        finally:
            node_links.ip.close()

    try:
        netns.scratch(attempt)
    except (Unavailable, NetlinkError, OSError) as error:
        log.warning("the node cannot have trunks", problem=str(error))
        return False
    return True
