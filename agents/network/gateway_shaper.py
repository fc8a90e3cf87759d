"""Bandwidth limits of routers' gateways and floating IPs with tc, inside a router's namespace; blocking.

What leaves by a gateway waits in classes of its own queue (htb), by the address that it leaves with. What comes in is
redirected through an intermediate device (IFB) with such a queue before it is translated. The gateway's alias
says for what its queues were made, so nothing is written where nothing changed.
"""

import hashlib
import ipaddress
from collections.abc import Mapping

from pyroute2 import IPRoute

from agents.network import ingress, name, rtnl
from agents.network.gateway_limit import Passing, Shares
from agents.network.limit import Bandwidth
from agents.network.shaper import queued_bytes
from fabric.runtime.errors import NotFound

_ROOT, _HTB, _REST = 0xFFFFFFFF, 0x10000, 0xFFF0
_ETH_P_IP, _ETH_P_ALL = 0x0800, 3
_SOURCE, _DESTINATION = 12, 16  # where an IPv4 header has them
_LARGEST_QUANTUM = 200_000


def settle(writer: rtnl.Writer, wanted: Mapping[str, Passing]) -> None:
    """Make exactly these limits hold."""
    links = {link.name: link for link in rtnl.links()}
    for device, limits in wanted.items():
        link = links[device]
        alias = _alias(limits, link.mtu)
        if link.alias == alias and _is_there(links, device, limits):
            continue
        _clear(writer.ip, link, links.get(name.router_shaper(device)))
        if limits.out != Shares():
            _shape(writer.ip, link.index, limits.out, _SOURCE, link.mtu)
        if limits.into != Shares():
            _redirect(writer.ip, link, name.router_shaper(device), limits.into)
        if link.alias != alias:
            writer.ip.link("set", index=link.index, ifalias=alias)
    kept = {name.router_shaper(device) for device in wanted}
    for device, link in links.items():
        if device.startswith(name.ROUTER_SHAPER) and device not in kept:
            writer.ip.link("del", index=link.index)


def _alias(limits: Passing, mtu: int) -> str:
    """Empty: it needs no queue."""
    return f"limits {hashlib.sha256(f'{mtu} {limits}'.encode()).hexdigest()[:16]}" if limits else ""


def _is_there(links: Mapping[str, rtnl.Link], device: str, limits: Passing) -> bool:
    into = links.get(name.router_shaper(device))
    is_out = links[device].qdisc == "htb"
    is_into = into is not None and into.qdisc == "htb"
    return (is_out, is_into) == (limits.out != Shares(), limits.into != Shares())


def _clear(ip: IPRoute, link: rtnl.Link, shaper: rtnl.Link | None) -> None:
    if link.qdisc == "htb":
        ip.tc("del", index=link.index, handle=_HTB, parent=_ROOT)
    if shaper is not None:
        ingress.clear(ip, link.index, ingress.SHAPER)
        ip.link("del", index=shaper.index)


def _redirect(ip: IPRoute, link: rtnl.Link, device: str, shares: Shares) -> None:
    ip.link("add", ifname=device, kind="ifb")
    shaper = rtnl.find(device)
    if shaper is None:
        raise NotFound("the interface went away while it was made", device=device)
    ip.link("set", index=shaper.index, state="up")
    _shape(ip, shaper.index, shares, _DESTINATION, link.mtu)
    ingress.redirect(ip, link.index, shaper.index)


def _shape(ip: IPRoute, index: int, shares: Shares, at: int, mtu: int) -> None:
    """at: where in the header the address is that tells the share."""
    ip.tc("add", "htb", index, _HTB, default=_REST if shares.rest else 0)
    if shares.rest is not None:
        _class(ip, index, _HTB | _REST, shares.rest, mtu)
    for number, (address, bandwidth) in enumerate(shares.by_address, 1):
        class_id = _HTB  # the queue itself: at once
        if bandwidth is not None:
            class_id |= number
            _class(ip, index, class_id, bandwidth, mtu)
        key = f"{int(ipaddress.IPv4Address(address)):#x}/0xffffffff+{at}"
        ip.tc(
            "add-filter", "u32", index, parent=_HTB, prio=1, protocol=_ETH_P_IP, target=class_id, keys=[key]
        )


def _class(ip: IPRoute, index: int, class_id: int, wanted: Bandwidth, mtu: int) -> None:
    burst = max(wanted.burst, 2 * mtu)
    quantum = min(max(wanted.rate // 10, mtu), _LARGEST_QUANTUM)
    facts = {"rate": wanted.rate, "ceil": wanted.rate, "burst": burst, "cburst": burst, "quantum": quantum}
    ip.tc("add-class", "htb", index, class_id, parent=_HTB, **facts)
    queue = ((class_id & 0xFFFF) + 1) << 16
    rtnl.add_fifo(index, queue, class_id, queued_bytes(wanted.rate, mtu))
