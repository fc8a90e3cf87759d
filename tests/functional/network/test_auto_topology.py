"""A project's automatic network."""

import asyncio
from typing import Any

from tests.functional.network.harness import Cloud

ADMIN = "p9.admin"
PATH = "/auto-allocated-topology"


async def furnished(cloud: Cloud) -> dict[str, Any]:
    """What the cloud must have for it: a default external network and default pools."""
    external = {"router:external": True, "is_default": True}
    network = await cloud.make("network", name="public", token=ADMIN, **external)
    await cloud.make("subnet", network_id=network["id"], ip_version=4, cidr="203.0.113.0/24", token=ADMIN)
    for prefix, length in (("10.64.0.0/16", 26), ("2001:db8::/48", 64)):
        pool = {"prefixes": [prefix], "default_prefixlen": length, "is_default": True, "shared": True}
        await cloud.make("subnetpool", name=prefix, token=ADMIN, **pool)
    return network


async def counts(cloud: Cloud, token: str = "p1.member") -> dict[str, int]:
    nouns = ("network", "subnet", "router")
    found = {noun: await cloud.find(noun, "tags=auto_allocated", token=token) for noun in nouns}
    for noun, items in found.items():
        assert all(item["name"].startswith(f"auto_allocated_{noun}") for item in items)
    return {noun: len(items) for noun, items in found.items()}


async def test_it_is_made_once_and_goes_as_a_whole(cloud: Cloud) -> None:
    public = await furnished(cloud)
    dry = (await cloud.call("GET", f"{PATH}/p1?fields=dry-run")).json()["auto_allocated_topology"]
    assert dry == {"id": "dry-run=pass", "project_id": "p1", "tenant_id": "p1"}
    assert await counts(cloud) == {"network": 0, "subnet": 0, "router": 0}
    replies = await asyncio.gather(*(cloud.call("GET", f"{PATH}/{name}") for name in ("p1", "None", "p1")))
    assert {reply.status_code for reply in replies} == {200}
    (network_id,) = {reply.json()["auto_allocated_topology"]["id"] for reply in replies}
    assert await counts(cloud) == {"network": 1, "subnet": 2, "router": 1}
    (router,) = await cloud.find("router", "name=auto_allocated_router")
    assert router["external_gateway_info"]["network_id"] == public["id"]
    port = await cloud.make("port", network_id=network_id)
    assert len(port["fixed_ips"]) == 2
    await cloud.refused(409, "NetworkInUse", "DELETE", f"{PATH}/p1")
    await cloud.delete("port", port["id"])
    await cloud.refused(403, "PolicyNotAuthorized", "GET", f"{PATH}/p1", token="p2.member")
    await cloud.refused(403, "PolicyNotAuthorized", "DELETE", f"{PATH}/p1", token="p1.reader")
    for _ in range(2):
        assert (await cloud.call("DELETE", f"{PATH}/p1")).status_code == 204
    assert await counts(cloud) == {"network": 0, "subnet": 0, "router": 0}
    again = (await cloud.call("GET", f"{PATH}/p1")).json()["auto_allocated_topology"]
    assert again["id"] != network_id


async def test_what_is_missing_of_it_is_made_again(cloud: Cloud) -> None:
    await furnished(cloud)
    first = (await cloud.call("GET", f"{PATH}/p1")).json()["auto_allocated_topology"]["id"]
    (router,) = await cloud.find("router", "name=auto_allocated_router")
    subnets = await cloud.find("subnet", "tags=auto_allocated")
    for subnet in subnets:
        body = {"subnet_id": subnet["id"]}
        path = f"/routers/{router['id']}/remove_router_interface"
        assert (await cloud.call("PUT", path, body)).status_code == 200
        await cloud.delete("subnet", subnet["id"])
    assert (await cloud.call("GET", f"{PATH}/p1")).json()["auto_allocated_topology"]["id"] == first
    assert await counts(cloud) == {"network": 1, "subnet": 2, "router": 1}


async def test_a_cloud_without_defaults_has_none(cloud: Cloud) -> None:
    for query in ("", "?fields=dry-run"):
        await cloud.refused(409, "AutoAllocationFailure", "GET", f"{PATH}/p1{query}")
    assert await counts(cloud) == {"network": 0, "subnet": 0, "router": 0}


async def test_a_project_whose_quota_is_too_small_has_nothing_of_it(cloud: Cloud) -> None:
    await furnished(cloud)
    await cloud.call("PUT", "/quotas/p1", {"quota": {"router": 0}}, token="p1.admin")
    await cloud.refused(409, "OverQuota", "GET", f"{PATH}/p1")
    assert await counts(cloud) == {"network": 0, "subnet": 0, "router": 0}


async def test_one_external_network_is_the_default(cloud: Cloud) -> None:
    await furnished(cloud)
    second = {"network": {"router:external": True, "is_default": True}}
    await cloud.refused(409, "DefaultExternalNetworkExists", "POST", "/networks", second, token=ADMIN)
    other = await cloud.make("network", name="n", token=ADMIN, **{"router:external": True})
    change = {"network": {"is_default": True}}
    path = f"/networks/{other['id']}"
    await cloud.refused(409, "DefaultExternalNetworkExists", "PUT", path, change, token=ADMIN)
