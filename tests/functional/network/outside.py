"""What leads outside: an external network, and a router on it with an inner network."""

from dataclasses import dataclass
from typing import Any

from tests.functional.network.harness import Cloud

ADMIN = "p0.admin"
OUTER, INNER = "172.24.4.0/24", "10.1.0.0/24"


@dataclass
class Outside:
    """public - router - inner, of project p1."""

    public: dict[str, Any]
    router: dict[str, Any]
    inner: dict[str, Any]
    subnet: dict[str, Any]


async def a_public_network(cloud: Cloud, cidr: str = OUTER, **attributes: Any) -> dict[str, Any]:
    """An external network with one subnet, of the administrator."""
    asked = {"name": "public", "router:external": True} | attributes
    network = await cloud.make("network", token=ADMIN, **asked)
    await cloud.make(
        "subnet", token=ADMIN, network_id=network["id"], ip_version=4, cidr=cidr, enable_dhcp=False
    )
    return await cloud.show("network", network["id"], token=ADMIN)


async def a_way_out(cloud: Cloud) -> Outside:
    public = await a_public_network(cloud)
    inner, (subnet,) = await cloud.network(INNER)
    router = await cloud.make("router", name="r", external_gateway_info={"network_id": public["id"]})
    await interface(cloud, router, subnet_id=subnet["id"])
    return Outside(public, router, inner, subnet)


async def interface(
    cloud: Cloud, router: dict[str, Any], verb: str = "add", token: str = "p1.member", **what: str
) -> dict[str, Any]:
    """Add or remove an interface."""
    reply = await cloud.call(
        "PUT", f"/routers/{router['id']}/{verb}_router_interface", dict(what), token=token
    )
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found
