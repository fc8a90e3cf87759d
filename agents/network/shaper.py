"""Bandwidth limits with tc: what goes to a server is shaped on its tap, what comes from it on an IFB.

A tap's own queue only sees what leaves the node towards the server. What the server sends is redirected, as it
enters, through an intermediate device (IFB) whose queue is limited, and then goes on as if it had just come in.
Both are shaped (tbf: it waits, and drops only when too much waits), so TCP comes close to the limit. Blocking, for
one thread; each step reads first.
"""

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.tcmsg.common import calc_xmittime

from agents.network import ingress, name, netns, rtnl
from agents.network.driver import Holding
from agents.network.limit import Bandwidth, Limits
from fabric.runtime.errors import NotFound

_ROOT, _TBF = 0xFFFFFFFF, 0x10000
_QUEUED_S = 0.1  # how long a frame may wait
_QUEUED_FRAMES = 20  # at least, however slow it is


class Shaper:
    """Works on the network namespace of the thread that first uses it."""

    def __init__(self) -> None:
        self._writer = rtnl.Writer()

    def close(self) -> None:
        """Everything stays."""
        self._writer.close()

    def ensure(self, port_id: str, wanted: Limits) -> None:
        """Limit the port's tap to this, or to nothing. Raises NotFound: there is no tap."""
        tap = rtnl.find(name.tap(port_id))
        if tap is None:
            if wanted.into is None and wanted.out is None:
                self._remove_device(port_id)
                return
            raise NotFound("the port has no tap yet", port=port_id)
        self._shape(tap, wanted.into, tap.mtu)
        if wanted.out is None:
            if rtnl.find(name.shaper(port_id)) is not None:
                ingress.clear(self._ip, tap.index, ingress.SHAPER)
            self._remove_device(port_id)
            return
        device = self._ensure_device(port_id)
        self._shape(device, wanted.out, tap.mtu)
        self._redirect(tap.index, device.index)

    def remove(self, port_id: str) -> None:
        """Nothing of it is there any more, but for the tap's own queue, which goes with the tap."""
        if rtnl.find(name.shaper(port_id)) is not None:
            self.ensure(port_id, Limits())

    def find(self) -> list[Holding]:
        """The intermediate devices."""
        found = []
        for link in rtnl.links():
            device, owner = link.name, name.owner(link.alias)
            if device.startswith(name.SHAPER) and owner is not None:
                found.append(Holding("shaper", device, *owner))
        return found

    @property
    def _ip(self) -> IPRoute:
        return self._writer.ip

    def _ensure_device(self, port_id: str) -> rtnl.Link:
        device, alias = name.shaper(port_id), name.mark("port", port_id)
        link = rtnl.find(device)
        if link is None:
            self._ip.link("add", ifname=device, kind="ifb")
            link = rtnl.find(device)
        if link is None:
            raise NotFound("the interface went away while it was made", device=device)
        if link.alias != alias or not link.up:
            self._ip.link("set", index=link.index, ifalias=alias, state="up")
        return link

    def _remove_device(self, port_id: str) -> None:
        link = rtnl.find(name.shaper(port_id))
        if link is not None:
            self._ip.link("del", index=link.index)

    def _shape(self, link: rtnl.Link, wanted: Bandwidth | None, mtu: int) -> None:
        index, found = link.index, link.qdisc
        if wanted is None:
            if found == "tbf":
                self._ip.tc("del", index=index, handle=_TBF, parent=_ROOT)
            return
        largest = mtu + 18  # a frame's header and a VLAN tag; a burst below it would let nothing pass
        burst = max(wanted.burst, 2 * largest)
        limit = min(2**32 - 1, burst + queued_bytes(wanted.rate, largest))
        parameters = (wanted.rate, limit, calc_xmittime(wanted.rate, burst))
        if found != "tbf" or self._parameters(index) != parameters:
            self._ip.tc("replace", "tbf", index, _TBF, rate=wanted.rate, burst=burst, limit=limit)

    def _parameters(self, index: int) -> tuple[int, int, int] | None:
        for qdisc in self._ip.get_qdiscs(index):
            if qdisc["parent"] == _ROOT and qdisc.get_attr("TCA_KIND") == "tbf":
                found = qdisc.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")
                return found["rate"], found["limit"], found["buffer"]
        return None

    def _redirect(self, index: int, device: int) -> None:
        if self._redirected(index) == device:
            return
        ingress.clear(self._ip, index, ingress.SHAPER)
        ingress.redirect(self._ip, index, device)

    def _redirected(self, index: int) -> int | None:
        """Where what enters goes; None: on its own way."""
        for kept in ingress.filters(self._ip, index, ingress.SHAPER):
            options = kept.get_attr("TCA_OPTIONS")
            actions = options.get_attr("TCA_U32_ACT") if options is not None else None
            action = actions.get_attr("TCA_ACT_PRIO_1") if actions is not None else None
            if action is not None and action.get_attr("TCA_ACT_KIND") == "mirred":
                parameters = action.get_attr("TCA_ACT_OPTIONS").get_attr("TCA_MIRRED_PARMS")
                return int(parameters["ifindex"])
        return None


def queued_bytes(rate: int, largest: int) -> int:
    """What may wait at this rate; largest: a frame."""
    return max(int(rate * _QUEUED_S), _QUEUED_FRAMES * largest)


def probe() -> str:
    """What keeps the kernel from limiting bandwidth, tried in a namespace of its own; empty: nothing. Blocking."""

    def attempt() -> None:
        shaper = Shaper()
        try:
            port_id = "00000000-0000"
            shaper._ip.link("add", ifname=name.tap(port_id), kind="ifb")
            both = Bandwidth(10**6, 10**5)
            shaper.ensure(port_id, Limits(out=both, into=both))
        finally:
            shaper.close()

    try:
        netns.scratch(attempt)
    except (NetlinkError, OSError) as error:
        return f"the kernel lacks tbf, ifb, u32 or mirred: {error}"
    return ""
