"""Quotas, and what else the API tells about the cloud."""

import pytest

from tests.functional.network.harness import Cloud


async def test_quotas(cloud: Cloud) -> None:
    network, _ = await cloud.network("10.1.0.0/24")
    quota = (await cloud.call("GET", "/quotas/p1")).json()["quota"]
    assert (
        quota.items()
        >= {
            "network": 100,
            "port": 500,
            "security_group": 10,
            "security_group_rule": 100,
            "subnet": 100,
            "subnetpool": -1,
            "rbac_policy": 10,
            "router": 10,
            "floatingip": 50,
        }.items()
    )
    assert (await cloud.call("GET", "/quotas", token="p1.admin")).json() == {"quotas": []}
    body = {"quota": {"port": 1, "network": "7"}}
    changed = await cloud.call("PUT", "/quotas/p1", body, token="p1.admin")
    assert (changed.json()["quota"]["port"], changed.json()["quota"]["network"]) == (1, 7)
    await cloud.make("port", network_id=network["id"])
    more = {"port": {"network_id": network["id"]}}
    message = await cloud.refused(409, "OverQuota", "POST", "/ports", more)
    assert "Quota exceeded for resources: ['port']" in message
    details = (await cloud.call("GET", "/quotas/p1/details.json")).json()["quota"]
    assert details["port"] == {"limit": 1, "used": 1, "reserved": 0}
    (listed,) = (await cloud.call("GET", "/quotas", token="p1.admin")).json()["quotas"]
    assert (listed["project_id"], listed["tenant_id"], listed["port"]) == ("p1", "p1", 1)
    too_low = {"quota": {"network": 0, "force": False}}
    await cloud.refused(400, "OverQuota", "PUT", "/quotas/p1", too_low, token="p1.admin")
    del too_low["quota"]["force"]
    await cloud.refused(400, "OverQuota", "PUT", "/quotas/p1", too_low, token="p1.admin")
    forced = {"quota": {"network": 0, "force": True}}
    assert (await cloud.call("PUT", "/quotas/p1", forced, token="p1.admin")).status_code == 200
    defaults = (await cloud.call("GET", "/quotas/p1/default")).json()["quota"]
    assert defaults["port"] == 500
    assert (await cloud.call("DELETE", "/quotas/p1", token="p1.admin")).status_code == 204
    await cloud.refused(404, "TenantQuotaNotFound", "DELETE", "/quotas/p1", token="p1.admin")
    await cloud.make("port", network_id=network["id"])


@pytest.mark.parametrize(
    "quota", [{"colour": 5}, {"port": -2}, {"port": "many"}, {"port": 2**31}, {"port": None}]
)
async def test_quotas_that_cannot_be(cloud: Cloud, quota: dict[str, object]) -> None:
    await cloud.refused(400, "HTTPBadRequest", "PUT", "/quotas/p1", {"quota": quota}, token="p1.admin")


async def test_extensions(cloud: Cloud) -> None:
    found = (await cloud.call("GET", "/extensions")).json()["extensions"]
    aliases = {extension["alias"] for extension in found}
    assert {"security-group", "standard-attr-tag", "quotas", "port-security"} <= aliases
    assert not {"dvr", "trunk", "segment"} & aliases
    one = await cloud.call("GET", "/extensions/quotas")
    assert one.json()["extension"] in found
    await cloud.refused(404, "ExtensionNotFound", "GET", "/extensions/dvr")
    provider = {"service_type": "L3_ROUTER_NAT", "name": "fabric", "default": True}
    assert (await cloud.call("GET", "/service-providers")).json() == {"service_providers": [provider]}
    firewalls = await cloud.call("GET", "/service-providers?service_type=FIREWALL_V2")
    assert firewalls.json() == {"service_providers": []}
    assert (await cloud.call("GET", "/extensions", token="nobody")).status_code == 401


async def test_versions(cloud: Cloud) -> None:
    (version,) = (await cloud.call("GET", f"{cloud.url}/", token="")).json()["versions"]
    assert (version["id"], version["status"]) == ("v2.0", "CURRENT")
    assert version["links"] == [{"rel": "self", "href": f"{cloud.url}/v2.0/"}]
    found = (await cloud.call("GET", f"{cloud.url}/v2.0/", token="")).json()["resources"]
    assert {"network", "subnet", "port", "security_group"} <= {resource["name"] for resource in found}


async def test_how_many_addresses_are_left(cloud: Cloud) -> None:
    network, (four, six) = await cloud.network("10.1.0.0/24", "fd00::/48")
    await cloud.make("port", network_id=network["id"])
    reply = await cloud.call("GET", f"/network-ip-availabilities/{network['id']}", token="p1.admin")
    found = reply.json()["network_ip_availability"]
    assert found["total_ips"] == 253 + 2**80 - 2
    assert found["used_ips"] == 2
    by_subnet = {subnet["subnet_id"]: subnet for subnet in found["subnet_ip_availability"]}
    assert (by_subnet[four["id"]]["total_ips"], by_subnet[four["id"]]["used_ips"]) == (253, 1)
    path = "/network-ip-availabilities"
    only = await cloud.call("GET", f"{path}?ip_version=4&network_name=net", token="p1.admin")
    assert only.json()["network_ip_availabilities"][0]["total_ips"] == 253
    assert (await cloud.call("GET", path)).json() == {"network_ip_availabilities": []}
    assert six["id"] in by_subnet
