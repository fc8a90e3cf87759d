"""What happens to frames as they enter a device: several parts of the agent add a filter there, each at its place."""

from typing import Any

from pyroute2 import IPRoute

PARENT, QDISC = 0xFFFFFFF1, 0xFFFF0000
_EVERY_FRAME = "0x0/0x0+0"
_ETH_P_ALL = 3
TRUNK, SHAPER = 1, 10  # the order in which they look at a frame


def open_(ip: IPRoute, index: int) -> None:
    """Let the device have filters."""
    if not _is_open(ip, index):
        ip.tc("add", "ingress", index, QDISC)


def redirect(ip: IPRoute, index: int, device: int) -> None:
    """Let what enters go through the queue of the device (an IFB) first."""
    open_(ip, index)
    action = {"kind": "mirred", "direction": "egress", "action": "redirect", "ifindex": device}
    facts = {"parent": QDISC, "prio": SHAPER, "protocol": _ETH_P_ALL, "target": 0x10000}
    ip.tc("add-filter", "u32", index, keys=[_EVERY_FRAME], action=action, **facts)


def filters(ip: IPRoute, index: int, place: int) -> list[Any]:
    """Those of one place."""
    return [kept for kept in ip.get_filters(index=index, parent=QDISC) if kept["info"] >> 16 == place]


def clear(ip: IPRoute, index: int, place: int) -> None:
    """Nothing is at the place any more; nor has the device filters at all when nobody has any."""
    if not _is_open(ip, index):
        return
    if filters(ip, index, place):
        ip.tc("del-filter", index=index, parent=QDISC, info=place << 16)
    if not ip.get_filters(index=index, parent=QDISC):
        ip.tc("del", index=index, handle=QDISC, parent=PARENT)


def _is_open(ip: IPRoute, index: int) -> bool:
    return any(qdisc.get_attr("TCA_KIND") == "ingress" for qdisc in ip.get_qdiscs(index))
