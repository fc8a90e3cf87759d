"""Routers: gateways, interfaces, routes, and what keeps them from going."""

import asyncio

import pytest

from fabric.network.collection import PORTS
from tests.functional.network.harness import Cloud
from tests.functional.network.outside import ADMIN, INNER, a_public_network, a_way_out, interface


async def test_a_router_from_its_making_to_its_end(cloud: Cloud) -> None:
    public = await a_public_network(cloud)
    router = await cloud.make(
        "router", name="r", admin_state_up=False, external_gateway_info={"network_id": public["id"]}
    )
    gateway = router["external_gateway_info"]
    assert (gateway["network_id"], gateway["enable_snat"]) == (public["id"], True)
    (address,) = gateway["external_fixed_ips"]
    assert address["ip_address"].startswith("172.24.4.")
    assert router["admin_state_up"] is False
    assert "ha" not in router
    (port,) = await cloud.find("port", f"device_id={router['id']}", token=ADMIN)
    assert (port["device_owner"], port["fixed_ips"]) == ("network:router_gateway", [address])
    assert await cloud.find("port", f"device_id={router['id']}") == []
    again = await cloud.put(
        "router", router["id"], name="s", external_gateway_info={"network_id": public["id"]}
    )
    assert again["external_gateway_info"] == gateway
    bare = await cloud.put("router", router["id"], external_gateway_info={})
    assert bare["external_gateway_info"] is None
    assert await cloud.find("port", f"device_id={router['id']}", token=ADMIN) == []
    assert [r["name"] for r in await cloud.find("router", "name=s")] == ["s"]
    await cloud.delete("router", router["id"])
    await cloud.refused(404, "RouterNotFound", "GET", f"/routers/{router['id']}")
    quota = (await cloud.call("GET", "/quotas/p1/details")).json()["quota"]
    assert quota["router"]["used"] == 0


async def test_what_only_administrators_say_of_gateways(cloud: Cloud) -> None:
    public = await a_public_network(cloud)
    info = {"network_id": public["id"], "enable_snat": False}
    await cloud.refused(
        403, "PolicyNotAuthorized", "POST", "/routers", {"router": {"external_gateway_info": info}}
    )
    fixed = {"network_id": public["id"], "external_fixed_ips": [{"ip_address": "172.24.4.77"}]}
    await cloud.refused(
        403, "PolicyNotAuthorized", "POST", "/routers", {"router": {"external_gateway_info": fixed}}
    )
    await cloud.refused(403, "PolicyNotAuthorized", "POST", "/routers", {"router": {"ha": True}})
    await cloud.refused(
        400, "InvalidInput", "POST", "/routers", {"router": {"distributed": True}}, token=ADMIN
    )
    router = await cloud.make("router", token=ADMIN, external_gateway_info=fixed | {"enable_snat": False})
    shown = router["external_gateway_info"]
    assert shown["enable_snat"] is False
    assert [ip["ip_address"] for ip in shown["external_fixed_ips"]] == ["172.24.4.77"]
    assert (router["ha"], router["distributed"]) == (True, False)
    moved = await cloud.put(
        "router",
        router["id"],
        token=ADMIN,
        external_gateway_info={
            "network_id": public["id"],
            "external_fixed_ips": [{"ip_address": "172.24.4.78"}],
        },
    )
    assert [ip["ip_address"] for ip in moved["external_gateway_info"]["external_fixed_ips"]] == [
        "172.24.4.78"
    ]
    inner, _ = await cloud.network(INNER)
    await cloud.refused(
        400,
        "BadRequest",
        "PUT",
        f"/routers/{router['id']}",
        {"router": {"external_gateway_info": {"network_id": inner["id"]}}},
        token=ADMIN,
    )


async def test_interfaces_by_subnet_and_by_port(cloud: Cloud) -> None:
    network, (subnet,) = await cloud.network(INNER)
    other, (second,) = await cloud.network("10.2.0.0/24")
    router = await cloud.make("router")
    added = await interface(cloud, router, subnet_id=subnet["id"])
    assert (added["id"], added["subnet_ids"]) == (router["id"], [subnet["id"]])
    port = await cloud.show("port", added["port_id"])
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.1.0.1"}]
    assert (port["device_owner"], port["device_id"]) == ("network:router_interface", router["id"])
    own = await cloud.make("port", network_id=other["id"])
    path = f"/routers/{router['id']}/add_router_interface"
    await interface(cloud, router, port_id=own["id"])
    assert (await cloud.show("port", own["id"]))["security_groups"] == []
    await cloud.refused(409, "PortInUse", "PUT", path, {"port_id": own["id"]})
    await cloud.refused(400, "BadRequest", "PUT", path, {"subnet_id": subnet["id"]})
    await cloud.refused(400, "BadRequest", "PUT", path, {"subnet_id": subnet["id"], "port_id": own["id"]})
    await cloud.refused(400, "BadRequest", "PUT", path, {})
    _, (overlapping,) = await cloud.network("10.1.0.128/25")
    await cloud.refused(400, "BadRequest", "PUT", path, {"subnet_id": overlapping["id"]})
    await cloud.refused(409, "RouterInUse", "DELETE", f"/routers/{router['id']}")
    await cloud.refused(409, "ServicePortInUse", "DELETE", f"/ports/{added['port_id']}")
    await cloud.refused(409, "SubnetInUse", "DELETE", f"/subnets/{subnet['id']}")
    await cloud.refused(409, "NetworkInUse", "DELETE", f"/networks/{network['id']}")
    body = {"subnet": {"gateway_ip": None}}
    await cloud.refused(409, "GatewayIpInUse", "PUT", f"/subnets/{subnet['id']}", body)
    await interface(cloud, router, "remove", subnet_id=subnet["id"])
    await cloud.refused(
        404,
        "RouterInterfaceNotFoundForSubnet",
        "PUT",
        f"/routers/{router['id']}/remove_router_interface",
        {"subnet_id": subnet["id"]},
    )
    await interface(cloud, router, subnet_id=subnet["id"])
    await interface(cloud, router, "remove", subnet_id=subnet["id"])
    await interface(cloud, router, "remove", port_id=own["id"], subnet_id=second["id"])
    await cloud.refused(404, "PortNotFound", "GET", f"/ports/{own['id']}")
    await cloud.delete("router", router["id"])


@pytest.mark.parametrize("mode", [None, "slaac"])
async def test_ipv6_subnets_of_a_network_share_a_port(cloud: Cloud, mode: str | None) -> None:
    network, (v4,) = await cloud.network(INNER)
    modes = {"ipv6_ra_mode": mode, "ipv6_address_mode": mode} if mode else {}
    one, two = [
        await cloud.make("subnet", network_id=network["id"], ip_version=6, cidr=cidr, **modes)
        for cidr in ("fd00:1::/64", "fd00:2::/64")
    ]
    router = await cloud.make("router")
    await interface(cloud, router, subnet_id=v4["id"])
    first = await interface(cloud, router, subnet_id=one["id"])
    second = await interface(cloud, router, subnet_id=two["id"])
    assert second["port_id"] == first["port_id"]
    addresses = (await cloud.show("port", first["port_id"]))["fixed_ips"]
    assert sorted(fixed["ip_address"] for fixed in addresses) == ["fd00:1::1", "fd00:2::1"]
    await interface(cloud, router, "remove", subnet_id=one["id"])
    addresses = (await cloud.show("port", first["port_id"]))["fixed_ips"]
    assert [fixed["ip_address"] for fixed in addresses] == ["fd00:2::1"]
    await interface(cloud, router, "remove", subnet_id=two["id"])
    await cloud.refused(404, "PortNotFound", "GET", f"/ports/{first['port_id']}")


async def test_one_of_many_adds_the_subnet(cloud: Cloud) -> None:
    _, (subnet,) = await cloud.network(INNER)
    router = await cloud.make("router")
    path = f"/routers/{router['id']}/add_router_interface"
    replies = await asyncio.gather(
        *(cloud.call("PUT", path, {"subnet_id": subnet["id"]}, token=f"p{n}.admin") for n in range(6))
    )
    assert sorted(reply.status_code for reply in replies) == [200, 400, 400, 400, 400, 400]
    assert cloud.store.table(PORTS).count("device", router["id"]) == 1


async def test_routes_lead_to_what_is_connected(cloud: Cloud) -> None:
    _, (subnet,) = await cloud.network(INNER)
    router = await cloud.make("router")
    await interface(cloud, router, subnet_id=subnet["id"])
    route = {"destination": "192.168.0.0/16", "nexthop": "10.1.0.9"}
    path = f"/routers/{router['id']}"
    for wrong in ({"nexthop": "10.9.0.1"}, {"nexthop": "10.1.0.1"}, {"nexthop": "fd00::1"}):
        await cloud.refused(400, "InvalidRoutes", "PUT", path, {"router": {"routes": [route | wrong]}})
    changed = await cloud.put("router", router["id"], routes=[route])
    assert changed["routes"] == [route]
    other = route | {"destination": "192.169.0.0/16"}
    added = await cloud.call("PUT", f"{path}/add_extraroutes", {"router": {"routes": [route, other]}})
    assert added.json()["router"]["routes"] == [route, other]
    await cloud.refused(
        409,
        "RouterInterfaceInUseByRoute",
        "PUT",
        f"{path}/remove_router_interface",
        {"subnet_id": subnet["id"]},
    )
    left = await cloud.call("PUT", f"{path}/remove_extraroutes", {"router": {"routes": [route]}})
    assert left.json()["router"]["routes"] == [other]
    assert (await cloud.put("router", router["id"], routes=None))["routes"] == []


async def test_a_router_takes_its_routes_with_it(cloud: Cloud) -> None:
    public = await a_public_network(cloud)
    router = await cloud.make("router", external_gateway_info={"network_id": public["id"]})
    route = {"destination": "192.168.0.0/16", "nexthop": "172.24.4.99"}
    await cloud.put("router", router["id"], routes=[route])
    await cloud.delete("router", router["id"])
    await cloud.refused(404, "RouterNotFound", "GET", f"/routers/{router['id']}")


async def test_several_gateways(cloud: Cloud) -> None:
    public = await a_public_network(cloud)
    router = await cloud.make("router", token=ADMIN)
    path = f"/routers/{router['id']}"
    asked = {"router": {"external_gateways": [{"network_id": public["id"]}, {"network_id": public["id"]}]}}
    reply = await cloud.call("PUT", f"{path}/add_external_gateways", asked, token=ADMIN)
    first, second = reply.json()["router"]["external_gateways"]
    assert first["external_fixed_ips"] != second["external_fixed_ips"]
    assert reply.json()["router"]["external_gateway_info"] == first
    quiet = {"router": {"external_gateways": [second | {"enable_snat": False}]}}
    reply = await cloud.call("PUT", f"{path}/update_external_gateways", quiet, token=ADMIN)
    assert reply.json()["router"]["external_gateways"] == [first, second | {"enable_snat": False}]
    gone = {"router": {"external_gateways": [first]}}
    reply = await cloud.call("PUT", f"{path}/remove_external_gateways", gone, token=ADMIN)
    assert reply.json()["router"]["external_gateways"] == [second | {"enable_snat": False}]


async def test_gateways_as_openstack_router_set_and_unset_say_it(cloud: Cloud) -> None:
    public, router = await a_public_network(cloud), await cloud.make("router", token=ADMIN)
    path = f"/routers/{router['id']}"
    asked = {"router": {"external_gateways": [{"network_id": public["id"]}]}}
    for _ in range(2):
        reply = await cloud.call("PUT", f"{path}/update_external_gateways", asked, token=ADMIN)
        assert reply.status_code == 200, reply.text
        assert reply.json()["router"]["external_gateway_info"]["network_id"] == public["id"]
    nothing: dict[str, object] = {"router": {"external_gateways": {}}}
    reply = await cloud.call("PUT", f"{path}/remove_external_gateways", nothing, token=ADMIN)
    assert reply.status_code == 200, reply.text
    cleared = await cloud.put("router", router["id"], token=ADMIN, external_gateway_info={})
    assert cleared["external_gateway_info"] is None


async def test_an_administrator_shares_flows_among_gateways(cloud: Cloud) -> None:
    body = {"router": {"enable_default_route_ecmp": True}}
    await cloud.refused(403, "PolicyNotAuthorized", "POST", "/routers", body)
    router = await cloud.make("router", enable_default_route_ecmp=True, token=ADMIN)
    assert (router["enable_default_route_ecmp"], router["enable_snat"]) == (True, True)
    changed = await cloud.put("router", router["id"], enable_default_route_ecmp=False, token=ADMIN)
    assert changed["enable_default_route_ecmp"] is False


async def test_nobody_poses_as_a_router(cloud: Cloud) -> None:
    out = await a_way_out(cloud)
    mine, _ = await cloud.network("10.7.0.0/24", token="p2.member")
    pose = {"device_owner": "network:router_interface", "device_id": out.router["id"]}
    body = {"port": {"network_id": mine["id"], **pose}}
    await cloud.refused(409, "DeviceIDNotOwnedByTenant", "POST", "/ports", body, token="p2.member")
    port = await cloud.make("port", network_id=mine["id"], token="p2.member")
    path = f"/ports/{port['id']}"
    await cloud.refused(409, "DeviceIDNotOwnedByTenant", "PUT", path, {"port": pose}, token="p2.member")
    await cloud.refused(404, "RouterNotFound", "GET", f"/routers/{out.router['id']}", token="p2.member")
    router = await cloud.make("router", token="p2.member")
    await cloud.refused(
        404,
        "SubnetNotFound",
        "PUT",
        f"/routers/{router['id']}/add_router_interface",
        {"subnet_id": out.subnet["id"]},
        token="p2.member",
    )
    (outer,) = out.public["subnets"]
    await cloud.refused(
        404,
        "SubnetNotFound",
        "PUT",
        f"/routers/{router['id']}/add_router_interface",
        {"subnet_id": outer},
        token="p2.member",
    )
    body = {"port": {"network_id": out.public["id"]}}
    await cloud.refused(403, "PolicyNotAuthorized", "POST", "/ports", body, token="p2.member")
