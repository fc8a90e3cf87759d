"""Subnet pools and address scopes: what is cut from a pool overlaps nothing, whoever cuts at the same time."""

import asyncio
import ipaddress
import itertools
from typing import Any

from tests.functional.network.harness import Cloud

ADMIN = "p9.admin"


async def a_pool(cloud: Cloud, *prefixes: str, token: str = "p1.member", **attributes: Any) -> dict[str, Any]:
    return await cloud.make("subnetpool", token=token, **{"name": "pool", "prefixes": prefixes} | attributes)


async def test_a_pool_fills_in_its_bounds(cloud: Cloud) -> None:
    pool = await a_pool(cloud, "10.0.1.0/24", "10.0.0.77/24", min_prefixlen="26")
    assert pool["prefixes"] == ["10.0.0.0/23"]
    lengths = [pool[f"{name}_prefixlen"] for name in ("min", "default", "max")]
    assert lengths == ["26", "26", "32"]
    assert (pool["ip_version"], pool["shared"], pool["is_default"]) == (4, False, False)
    assert (pool["default_quota"], pool["address_scope_id"]) == (None, None)
    pool = await cloud.put("subnetpool", pool["id"], name="other", max_prefixlen=28, default_quota=7)
    assert (pool["name"], pool["max_prefixlen"], pool["default_quota"]) == ("other", "28", 7)
    assert (await cloud.put("subnetpool", pool["id"], default_quota=None))["default_quota"] is None
    v6 = await a_pool(cloud, "2001:db8::/48")
    assert (v6["ip_version"], v6["min_prefixlen"], v6["max_prefixlen"]) == (6, "64", "128")
    await cloud.delete("subnetpool", pool["id"])
    assert [found["id"] for found in await cloud.find("subnetpool")] == [v6["id"]]


async def test_what_pools_cannot_be(cloud: Cloud) -> None:
    for kind, attributes in {
        "EmptySubnetPoolPrefixList": {"prefixes": []},
        "PrefixVersionMismatch": {"prefixes": ["10.0.0.0/8", "2001:db8::/48"]},
        "IllegalSubnetPoolPrefixBounds": {"prefixes": ["10.0.0.0/8"], "min_prefixlen": 9, "max_prefixlen": 8},
        "UnsupportedMinSubnetPoolPrefix": {"prefixes": ["10.0.0.0/8"], "min_prefixlen": 33},
        "HTTPBadRequest": {"prefixes": ["10.0.0.0/33"]},
    }.items():
        await cloud.refused(400, kind, "POST", "/subnetpools", {"subnetpool": attributes})
    for name in ("shared", "is_default"):
        body = {"subnetpool": {"prefixes": ["10.0.0.0/8"], name: True}}
        await cloud.refused(403, "PolicyNotAuthorized", "POST", "/subnetpools", body)
    pool = await a_pool(cloud, "10.0.0.0/16")
    path = f"/subnetpools/{pool['id']}"
    await cloud.refused(400, "HTTPBadRequest", "PUT", path, {"subnetpool": {"shared": True}}, token=ADMIN)
    smaller = {"subnetpool": {"prefixes": ["10.0.0.0/17"]}}
    await cloud.refused(400, "IllegalSubnetPoolPrefixUpdate", "PUT", path, smaller)
    await cloud.refused(404, "SubnetPoolNotFound", "GET", path, token="p2.member")


async def test_prefixes_come_and_go(cloud: Cloud) -> None:
    pool = await a_pool(cloud, "10.0.0.0/24")
    path = f"/subnetpools/{pool['id']}"
    added = await cloud.call("PUT", f"{path}/add_prefixes", {"prefixes": ["10.0.1.0/24", "10.0.0.0/25"]})
    assert (added.status_code, added.json()) == (200, {"prefixes": ["10.0.0.0/23"]})
    network = await cloud.make("network", name="n")
    subnet = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"]}
    await cloud.make("subnet", **subnet, cidr="10.0.1.0/25")
    kind = "IllegalSubnetPoolPrefixUpdate"
    for gone in ("10.0.1.0/28", "10.0.0.0/22", "11.0.0.0/24"):
        await cloud.refused(400, kind, "PUT", f"{path}/remove_prefixes", {"prefixes": [gone]})
    left = await cloud.call("PUT", f"{path}/remove_prefixes", {"prefixes": ["10.0.1.128/25"]})
    assert left.json() == {"prefixes": ["10.0.0.0/24", "10.0.1.0/25"]}


async def test_subnets_are_cut_from_their_pool(cloud: Cloud) -> None:
    pool = await a_pool(cloud, "10.0.0.0/24", min_prefixlen=25, default_prefixlen=26, max_prefixlen=28)
    network = await cloud.make("network", name="n")
    subnet = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"]}
    first = await cloud.make("subnet", **subnet)
    assert (first["cidr"], first["subnetpool_id"]) == ("10.0.0.0/26", pool["id"])
    assert first["gateway_ip"] == "10.0.0.1"
    assert (await cloud.make("subnet", **subnet, prefixlen=28))["cidr"] == "10.0.0.64/28"
    assert (await cloud.make("subnet", **subnet, cidr="10.0.0.128/26"))["cidr"] == "10.0.0.128/26"
    for status, kind, attributes in (
        (400, "MinPrefixSubnetAllocationError", {"prefixlen": 24}),
        (400, "MaxPrefixSubnetAllocationError", {"prefixlen": 29}),
        (400, "BadRequest", {"prefixlen": 27, "cidr": "10.0.0.80/28"}),
        (409, "SubnetAllocationError", {"cidr": "10.0.0.128/28"}),
        (409, "SubnetAllocationError", {"cidr": "10.1.0.0/28"}),
        (409, "SubnetAllocationError", {"prefixlen": 25}),
        (404, "SubnetPoolNotFound", {"subnetpool_id": "nobody"}),
        (400, "BadRequest", {"subnetpool_id": "prefix_delegation"}),
        (400, "InvalidInput", {"ip_version": 6}),
    ):
        await cloud.refused(status, kind, "POST", "/subnets", {"subnet": subnet | attributes})
    await cloud.refused(400, "SubnetPoolDeleteError", "DELETE", f"/subnetpools/{pool['id']}")
    other = await a_pool(cloud, "192.168.0.0/16")
    mixed = {"subnet": subnet | {"subnetpool_id": other["id"], "prefixlen": 24}}
    await cloud.refused(400, "NetworkSubnetPoolAffinityError", "POST", "/subnets", mixed)
    plain = {"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": "10.9.0.0/24"}}
    await cloud.refused(400, "NetworkSubnetPoolAffinityError", "POST", "/subnets", plain)
    await cloud.delete("subnet", first["id"])
    assert (await cloud.make("subnet", **subnet))["cidr"] == "10.0.0.0/26"


async def test_those_who_cut_at_the_same_time_get_different_prefixes(cloud: Cloud) -> None:
    pool = await a_pool(cloud, "10.0.0.0/24", default_prefixlen=28, min_prefixlen=28)
    networks = [await cloud.make("network", name=f"n{at}") for at in range(16)]
    asked = [{"network_id": n["id"], "ip_version": 4, "subnetpool_id": pool["id"]} for n in networks]
    replies = await asyncio.gather(*(cloud.call("POST", "/subnets", {"subnet": s}) for s in asked))
    assert [reply.status_code for reply in replies] == [201] * 16, [reply.text for reply in replies]
    cidrs = [ipaddress.ip_network(reply.json()["subnet"]["cidr"]) for reply in replies]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(cidrs, 2))
    await cloud.refused(409, "SubnetAllocationError", "POST", "/subnets", {"subnet": asked[0]})


async def test_bulk_subnets_of_one_pool_do_not_overlap(cloud: Cloud) -> None:
    pool = await a_pool(cloud, "2001:db8::/62", default_prefixlen=64)
    network = await cloud.make("network", name="n")
    subnet = {"network_id": network["id"], "ip_version": 6, "subnetpool_id": pool["id"]}
    made = await cloud.call("POST", "/subnets", {"subnets": [subnet] * 4})
    assert len({found["cidr"] for found in made.json()["subnets"]}) == 4
    await cloud.refused(409, "SubnetAllocationError", "POST", "/subnets", {"subnet": subnet})


async def test_a_project_takes_no_more_than_the_pools_quota(cloud: Cloud) -> None:
    pool = await a_pool(
        cloud, "10.0.0.0/24", token=ADMIN, shared=True, default_quota=32, default_prefixlen=28
    )
    for project in ("p1", "p2"):
        token = f"{project}.member"
        network = await cloud.make("network", name="n", token=token)
        subnet = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"]}
        await cloud.make("subnet", **subnet, token=token)
        await cloud.make("subnet", **subnet, token=token)
        kind = "SubnetPoolQuotaExceeded"
        await cloud.refused(409, kind, "POST", "/subnets", {"subnet": subnet}, token=token)


async def test_the_clouds_default_pool(cloud: Cloud) -> None:
    network = await cloud.make("network", name="n")
    subnet = {"network_id": network["id"], "ip_version": 4, "use_default_subnetpool": True}
    await cloud.refused(400, "BadRequest", "POST", "/subnets", {"subnet": subnet})
    pool = await a_pool(cloud, "10.0.0.0/16", default_prefixlen=24, is_default=True, shared=True, token=ADMIN)
    second = {"subnetpool": {"prefixes": ["10.1.0.0/16"], "is_default": True}}
    await cloud.refused(400, "InvalidInput", "POST", "/subnetpools", second, token=ADMIN)
    made = await cloud.make("subnet", **subnet)
    assert (made["cidr"], made["subnetpool_id"]) == ("10.0.0.0/24", pool["id"])
    both = {"subnet": subnet | {"subnetpool_id": pool["id"]}}
    await cloud.refused(400, "BadRequest", "POST", "/subnets", both)


async def test_a_networks_subnets_move_into_a_pool(cloud: Cloud) -> None:
    network, (subnet,) = await cloud.network("10.5.0.0/24")
    pool = await a_pool(cloud, "10.0.0.0/24")
    path = f"/subnetpools/{pool['id']}/onboard_network_subnets"
    moved = await cloud.call("PUT", path, {"network_id": network["id"]})
    assert (moved.status_code, moved.json()) == (200, [{"id": subnet["id"], "cidr": "10.5.0.0/24"}])
    assert (await cloud.show("subnet", subnet["id"]))["subnetpool_id"] == pool["id"]
    assert (await cloud.show("subnetpool", pool["id"]))["prefixes"] == ["10.0.0.0/24", "10.5.0.0/24"]
    await cloud.refused(400, "IllegalSubnetPoolUpdate", "PUT", path, {"network_id": network["id"]})
    empty = await cloud.make("network", name="n")
    await cloud.refused(400, "NoSubnetsToOnboard", "PUT", path, {"network_id": empty["id"]})
    await cloud.refused(404, "NetworkNotFound", "PUT", path, {"network_id": "nobody"})


async def test_pools_of_a_scope_do_not_overlap(cloud: Cloud) -> None:
    scope = await cloud.make("address_scope", name="s", ip_version=4)
    assert (scope["ip_version"], scope["shared"]) == (4, False)
    pool = await a_pool(cloud, "10.0.0.0/16", address_scope_id=scope["id"], default_prefixlen=24)
    inside = {"subnetpool": {"prefixes": ["10.0.9.0/24"], "address_scope_id": scope["id"]}}
    await cloud.refused(409, "AddressScopePrefixConflict", "POST", "/subnetpools", inside)
    other = await a_pool(cloud, "10.1.0.0/16", address_scope_id=scope["id"], default_prefixlen=24)
    wider = {"subnetpool": {"prefixes": ["10.0.0.0/15"]}}
    path = f"/subnetpools/{other['id']}"
    await cloud.refused(409, "AddressScopePrefixConflict", "PUT", path, wider)
    await cloud.refused(409, "AddressScopeInUse", "DELETE", f"/address-scopes/{scope['id']}")
    v6 = await cloud.make("address_scope", name="s", ip_version=6)
    kind = "IllegalSubnetPoolIpVersionAssociationToAddressScope"
    await cloud.refused(400, kind, "PUT", path, {"subnetpool": {"address_scope_id": v6["id"]}})
    network = await cloud.make("network", name="n")
    assert (network["ipv4_address_scope"], network["ipv6_address_scope"]) == (None, None)
    for one in (pool, other):
        await cloud.make("subnet", network_id=network["id"], ip_version=4, subnetpool_id=one["id"])
    assert (await cloud.show("network", network["id"]))["ipv4_address_scope"] == scope["id"]
    await cloud.delete("network", network["id"])
    assert (await cloud.put("subnetpool", other["id"], address_scope_id=None))["address_scope_id"] is None
    await cloud.delete("subnetpool", pool["id"])
    await cloud.delete("address_scope", scope["id"])


async def test_of_pools_that_join_a_scope_at_the_same_time_one_gets_the_prefix(cloud: Cloud) -> None:
    scope = await cloud.make("address_scope", name="s", ip_version=4)
    body = {"subnetpool": {"name": "p", "prefixes": ["10.0.0.0/16"], "address_scope_id": scope["id"]}}
    replies = await asyncio.gather(*(cloud.call("POST", "/subnetpools", body) for _ in range(6)))
    assert sorted(reply.status_code for reply in replies) == [201, *[409] * 5]


async def test_scopes_of_the_cloud(cloud: Cloud) -> None:
    scope = await cloud.make("address_scope", name="s", ip_version=4, shared=True, token=ADMIN)
    path = f"/address-scopes/{scope['id']}"
    assert (await cloud.show("address_scope", scope["id"]))["shared"] is True
    unshared = {"address_scope": {"shared": False}}
    await cloud.refused(400, "AddressScopeUpdateError", "PUT", path, unshared, token=ADMIN)
    own = await cloud.make("address_scope", name="s", ip_version=4)
    for value in (True, False):
        body = {"address_scope": {"shared": value}}
        await cloud.refused(403, "PolicyNotAuthorized", "PUT", f"/address-scopes/{own['id']}", body)
    pool = await a_pool(cloud, "10.0.0.0/16", address_scope_id=scope["id"])
    wider = {"subnetpool": {"prefixes": ["10.0.0.0/15"]}}
    path = f"/subnetpools/{pool['id']}"
    await cloud.refused(400, "IllegalSubnetPoolUpdate", "PUT", path, wider)
    assert (await cloud.call("PUT", path, wider, token=ADMIN)).status_code == 200
