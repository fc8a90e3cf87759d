"""Takes the legs of a router off their networks, without its agent: they stay as they are, but carry nothing."""

import contextlib
import socket

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from agents.network import name, rtnl


def take_down(router_id: str) -> bool:
    """The agent sets them up again when it has a lease. True: some were up."""
    mark = name.mark("router", router_id)
    devices = [device for _, device in socket.if_nameindex() if device.startswith(name.ROUTER_LINK)]
    legs = [link for link in map(rtnl.find, devices) if link is not None and link.alias == mark and link.up]
    with IPRoute() as netlink:
        for leg in legs:
            with contextlib.suppress(NetlinkError):  # it went meanwhile
                netlink.link("set", index=leg.index, state="down")
    return bool(legs)
