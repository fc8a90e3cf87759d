"""Floating IPs: where they lead, and what ends that."""

import asyncio

from fabric.network.collection import FLOATING_IPS, PORTS
from tests.functional.network.harness import Cloud
from tests.functional.network.outside import ADMIN, a_public_network, a_way_out, interface


async def test_a_floating_ip_from_its_making_to_its_end(cloud: Cloud) -> None:
    out = await a_way_out(cloud)
    first = await cloud.make("port", network_id=out.inner["id"], name="first")
    second = await cloud.make("port", network_id=out.inner["id"])
    floating = await cloud.make(
        "floatingip", floating_network_id=out.public["id"], port_id=first["id"], description="d", tags=["t"]
    )
    assert floating["floating_ip_address"].startswith("172.24.4.")
    assert floating["fixed_ip_address"] == first["fixed_ips"][0]["ip_address"]
    assert (floating["router_id"], floating["status"]) == (out.router["id"], "DOWN")
    assert floating["port_details"]["name"] == "first"
    assert (floating["description"], floating["tags"]) == ("d", ["t"])
    assert await cloud.show("floatingip", floating["id"]) == floating
    (port,) = await cloud.find("port", "device_owner=network:floatingip", token=ADMIN)
    assert (port["device_id"], port["project_id"]) == (floating["id"], "")
    for query, count in (
        (f"port_id={first['id']}", 1),
        (f"floating_ip_address={floating['floating_ip_address']}", 1),
        ("status=DOWN", 1),
        ("status=ACTIVE", 0),
        (f"router_id={out.router['id']}&tags=t", 1),
    ):
        assert len(await cloud.find("floatingip", query)) == count, query
    moved = await cloud.put("floatingip", floating["id"], port_id=second["id"])
    assert moved["fixed_ip_address"] == second["fixed_ips"][0]["ip_address"]
    kept = await cloud.put("floatingip", floating["id"], description="e")
    assert kept["port_id"] == second["id"]
    alone = await cloud.put("floatingip", floating["id"])
    nowhere = (None, None, None, None)
    names = ("port_id", "fixed_ip_address", "router_id", "port_details")
    assert tuple(alone[name] for name in names) == nowhere
    await cloud.delete("floatingip", floating["id"])
    await cloud.refused(404, "FloatingIPNotFound", "GET", f"/floatingips/{floating['id']}")
    assert await cloud.find("port", "device_owner=network:floatingip", token=ADMIN) == []
    quota = (await cloud.call("GET", "/quotas/p1/details")).json()["quota"]
    assert quota["floatingip"]["used"] == 0


async def test_where_a_floating_ip_cannot_lead(cloud: Cloud) -> None:
    out = await a_way_out(cloud)
    elsewhere, _ = await cloud.network("10.5.0.0/24")
    lost = await cloud.make("port", network_id=elsewhere["id"])
    bare = await cloud.make("port", network_id=out.inner["id"], fixed_ips=[])
    foreign, _ = await cloud.network("10.6.0.0/24", token="p2.member")
    theirs = await cloud.make("port", network_id=foreign["id"], token="p2.member")
    port = await cloud.make("port", network_id=out.inner["id"])
    ip = port["fixed_ips"][0]["ip_address"]

    async def refused(status: int, kind: str, **asked: str) -> None:
        body = {"floatingip": {"floating_network_id": out.public["id"]} | asked}
        await cloud.refused(status, kind, "POST", "/floatingips", body)

    await refused(404, "ExternalGatewayForFloatingIPNotFound", port_id=lost["id"])
    await refused(400, "BadRequest", port_id=bare["id"])
    await refused(404, "PortNotFound", port_id=theirs["id"])
    await refused(400, "BadRequest", port_id=port["id"], fixed_ip_address="10.1.0.1")  # the router has it
    await refused(400, "BadRequest", fixed_ip_address=ip)
    await refused(400, "BadRequest", floating_network_id=out.inner["id"])
    await refused(404, "NetworkNotFound", floating_network_id=foreign["id"])
    await refused(403, "PolicyNotAuthorized", floating_ip_address="172.24.4.9")
    await cloud.make("floatingip", floating_network_id=out.public["id"], port_id=port["id"])
    await refused(409, "FloatingIPPortAlreadyAssociated", port_id=port["id"], fixed_ip_address=ip)
    ports = await cloud.find("port", f"network_id={out.public['id']}", token=ADMIN)
    taken = {fixed["ip_address"] for port in ports for fixed in port["fixed_ips"]}
    free = next(found for last in range(9, 99) if (found := f"172.24.4.{last}") not in taken)
    chosen = await cloud.make(
        "floatingip",
        token=ADMIN,
        floating_network_id=out.public["id"],
        floating_ip_address=free,
        subnet_id=out.public["subnets"][0],
    )
    assert chosen["floating_ip_address"] == free
    assert (await cloud.find("floatingip", f"floating_ip_address={free}")) == []


async def test_what_a_floating_ip_needs_stays(cloud: Cloud) -> None:
    out = await a_way_out(cloud)
    port = await cloud.make("port", network_id=out.inner["id"])
    floating = await cloud.make("floatingip", floating_network_id=out.public["id"], port_id=port["id"])
    path = f"/routers/{out.router['id']}"
    await cloud.refused(
        409,
        "RouterInterfaceInUseByFloatingIP",
        "PUT",
        f"{path}/remove_router_interface",
        {"subnet_id": out.subnet["id"]},
    )
    clear = {"router": {"external_gateway_info": None}}
    await cloud.refused(409, "RouterExternalGatewayInUseByFloatingIp", "PUT", path, clear)
    inner = {"network": {"router:external": False}}
    network = f"/networks/{out.public['id']}"
    await cloud.refused(409, "ExternalNetworkInUse", "PUT", network, inner, token=ADMIN)
    await cloud.refused(409, "NetworkInUse", "DELETE", network, token=ADMIN)
    await cloud.delete("port", port["id"])
    assert (await cloud.show("floatingip", floating["id"]))["router_id"] is None
    await cloud.put("router", out.router["id"], external_gateway_info=None)
    await interface(cloud, out.router, "remove", subnet_id=out.subnet["id"])
    await cloud.delete("router", out.router["id"])
    await cloud.delete("network", out.public["id"], token=ADMIN)
    assert await cloud.find("floatingip") == []


async def test_an_address_that_goes_takes_its_association(cloud: Cloud) -> None:
    out = await a_way_out(cloud)
    fixed = [{"ip_address": "10.1.0.50"}, {"ip_address": "10.1.0.51"}]
    port = await cloud.make("port", token=ADMIN, project_id="p1", network_id=out.inner["id"], fixed_ips=fixed)
    body = {"floatingip": {"floating_network_id": out.public["id"], "port_id": port["id"]}}
    await cloud.refused(400, "BadRequest", "POST", "/floatingips", body)
    one, two = [
        await cloud.make(
            "floatingip",
            floating_network_id=out.public["id"],
            port_id=port["id"],
            fixed_ip_address=ip["ip_address"],
        )
        for ip in fixed
    ]
    await cloud.put("port", port["id"], fixed_ips=fixed[:1])
    assert (await cloud.show("floatingip", one["id"]))["port_id"] == port["id"]
    assert (await cloud.show("floatingip", two["id"]))["port_id"] is None


async def test_a_port_that_is_deleted_at_the_same_moment(cloud: Cloud) -> None:
    """However they meet: nothing leads to a port that is not there."""
    out = await a_way_out(cloud)
    ports = [await cloud.make("port", network_id=out.inner["id"]) for _ in range(8)]
    floating = [await cloud.make("floatingip", floating_network_id=out.public["id"]) for _ in ports]
    await asyncio.gather(
        *(
            cloud.call(
                "PUT", f"/floatingips/{ip['id']}", {"floatingip": {"port_id": port["id"]}}, token=f"p1.{role}"
            )
            for ip, port, role in zip(floating, ports, ["member", "admin"] * 4, strict=True)
        ),
        *(cloud.call("DELETE", f"/ports/{port['id']}", token="p2.admin") for port in ports),
    )
    assert all(not ip.spec.port_id for ip in cloud.store.table(FLOATING_IPS))
    assert not {port["id"] for port in ports} & set(cloud.store.table(PORTS).ids())


async def test_two_that_want_the_same_port(cloud: Cloud) -> None:
    out = await a_way_out(cloud)
    port = await cloud.make("port", network_id=out.inner["id"])
    body = {"floatingip": {"floating_network_id": out.public["id"], "port_id": port["id"]}}
    tokens = ["p1.member", "p1.admin", "p1.member", "p1.admin"]
    replies = await asyncio.gather(
        *(cloud.call("POST", "/floatingips", body, token=token) for token in tokens)
    )
    assert sorted(reply.status_code for reply in replies) == [201, 409, 409, 409]


async def test_those_that_lead_nowhere_go_with_their_network_s_way_out(cloud: Cloud) -> None:
    out = await a_way_out(cloud)
    port = await cloud.make("port", network_id=out.inner["id"])
    led = await cloud.make("floatingip", floating_network_id=out.public["id"], port_id=port["id"])
    await cloud.make("floatingip", floating_network_id=out.public["id"])
    inside = {"network": {"router:external": False}}
    path = f"/networks/{out.public['id']}"
    await cloud.refused(409, "ExternalNetworkInUse", "PUT", path, inside, token=ADMIN)
    assert len(await cloud.find("floatingip")) == 2
    await cloud.delete("floatingip", led["id"])
    await cloud.put("router", out.router["id"], external_gateway_info=None)
    await cloud.put("network", out.public["id"], **inside["network"], token=ADMIN)
    assert await cloud.find("floatingip") == []


async def test_pools(cloud: Cloud) -> None:
    public = await a_public_network(cloud)
    pools = (await cloud.call("GET", "/floatingip_pools")).json()["floatingip_pools"]
    assert [(pool["network_name"], pool["cidr"]) for pool in pools] == [("public", "172.24.4.0/24")]
    none = await cloud.call("GET", f"/floatingip_pools?subnet_id={public['id']}")
    assert none.json() == {"floatingip_pools": []}
