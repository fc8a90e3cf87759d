"""The legs of a router that must not answer any more are down, and nobody else's."""

import socket

from pyroute2 import IPRoute

from agents.network import name, rtnl
from agents.network.router_fence import take_down
from tests.system.network.lab import own_namespace

OURS, OTHERS = "11111111-2222-4333-8444-555555555555", "66666666-7777-4888-8999-000000000000"


def test_only_the_legs_of_the_router_are_taken_down() -> None:
    legs = {
        name.router_link(f"{number}0000000-0000-4000-8000-000000000000"): number for number in range(1, 4)
    }
    with own_namespace(), IPRoute() as netlink:
        for device, number in legs.items():
            netlink.link("add", ifname=device, kind="veth", peer={"ifname": f"peer{number}"})
            owner = OTHERS if number == 3 else OURS
            alias = name.mark("router", owner)
            netlink.link("set", index=socket.if_nametoindex(device), ifalias=alias, state="up")
        assert take_down(OURS)
        up = {device for device in legs if (link := rtnl.find(device)) is not None and link.up}
        assert {legs[device] for device in up} == {3}
        assert not take_down(OURS)
        assert not take_down("99999999-0000-4000-8000-000000000000")
