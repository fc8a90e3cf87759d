"""The way out of a new cloud: the external network `public`, a project's router to it, a pool of inner addresses."""

import ipaddress
from collections.abc import Iterable

from pyroute2 import IPRoute

from fabric.ctl.api import Body, Cloud
from fabric.ctl.settings import PUBLIC, Refused

POOL, POOL_PREFIX = "default-v4", "10.64.0.0/12"
_FAVOURITES = [ipaddress.IPv4Network((f"172.24.{n}.0", 24)) for n in range(4, 256)]


def ensure_public(admin: Cloud, cidr: ipaddress.IPv4Network | None) -> None:
    """The network with its subnet; cidr None: addresses that this machine does not use. Raises ApiError, Refused."""
    network = admin.find("network", "/v2.0/networks", PUBLIC)
    if network is None:
        body = {"name": PUBLIC, "router:external": True, "is_default": True}
        network = admin.post("network", "/v2.0/networks", {"network": body})["network"]
    if network["subnets"]:
        return
    subnet = {
        "name": PUBLIC,
        "network_id": network["id"],
        "ip_version": 4,
        "cidr": str(cidr or unused(_used_here())),
        "enable_dhcp": False,
    }
    admin.post("network", "/v2.0/subnets", {"subnet": subnet})


def ensure_pool(admin: Cloud) -> None:
    """Where the subnets of networks come from that projects are given without asking for more. Raises ApiError."""
    if admin.get("network", "/v2.0/subnetpools?is_default=true&ip_version=4")["subnetpools"]:
        return
    pool = {
        "name": POOL,
        "prefixes": [POOL_PREFIX],
        "default_prefixlen": 26,
        "min_prefixlen": 22,  # no project takes it all
        "is_default": True,
        "shared": True,
    }
    admin.post("network", "/v2.0/subnetpools", {"subnetpool": pool})


def ensure_router(demo: Cloud, name: str, subnet: str) -> bool:
    """A router from the subnet of that name to `public`; False: the cloud has no such network any more."""
    public = demo.find("network", "/v2.0/networks", PUBLIC)
    if public is None:
        return False
    router = demo.find("network", "/v2.0/routers", name)
    if router is None:
        body = {"name": name, "external_gateway_info": {"network_id": public["id"]}}
        router = demo.post("network", "/v2.0/routers", {"router": body})["router"]
    inner = demo.find("network", "/v2.0/subnets", subnet)
    assert inner is not None
    ports: list[Body] = demo.get("network", f"/v2.0/ports?device_id={router['id']}")["ports"]
    if all(fixed["subnet_id"] != inner["id"] for port in ports for fixed in port["fixed_ips"]):
        path = f"/v2.0/routers/{router['id']}/add_router_interface"
        demo.put("network", path, {"subnet_id": inner["id"]})
    return True


def ensure_floating(demo: Cloud, server_id: str) -> str:
    """An address of `public` that leads to the server."""
    port = demo.get("network", f"/v2.0/ports?device_id={server_id}")["ports"][0]
    known: list[Body] = demo.get("network", f"/v2.0/floatingips?port_id={port['id']}")["floatingips"]
    if known:
        return str(known[0]["floating_ip_address"])
    public = demo.find("network", "/v2.0/networks", PUBLIC)
    assert public is not None
    body = {"floating_network_id": public["id"], "port_id": port["id"]}
    made = demo.post("network", "/v2.0/floatingips", {"floatingip": body})["floatingip"]
    return str(made["floating_ip_address"])


def unused(used: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """The first of our favourites that overlaps nothing. Raises Refused."""
    there = [network for network in used if network.prefixlen]  # the default route is no use of an address
    for favourite in _FAVOURITES:
        if not any(favourite.overlaps(network) for network in there):
            return favourite
    raise Refused("all of 172.24.0.0/16 is in use on this machine: name a subnet with --public CIDR")


def _used_here() -> list[ipaddress.IPv4Network]:
    """Where this machine has routes to; its own addresses are among them."""
    with IPRoute() as route:
        return [
            ipaddress.IPv4Network((message.get_attr("RTA_DST"), message["dst_len"]))
            for message in route.get_routes(family=2)
            if message.get_attr("RTA_DST")
        ]
