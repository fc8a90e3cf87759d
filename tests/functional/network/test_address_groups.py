"""Address groups, and the templates of what security groups begin with."""

import asyncio
from typing import Any

from fabric.network.collection import MEMBERS, SECURITY_GROUPS
from tests.functional.network.harness import Cloud, until

ADMIN = "p9.admin"
TEMPLATES = "/default-security-group-rules"


async def test_addresses_come_and_go(cloud: Cloud) -> None:
    given = ["10.10.10.3/32", "192.168.0.10/24", "2001:db8::f00/64"]
    group = await cloud.make("address_group", name="g", description="d", addresses=given)
    assert group["addresses"] == ["10.10.10.3/32", "192.168.0.0/24", "2001:db8::/64"]
    assert (group["description"], group["shared"]) == ("d", False)
    path = f"/address-groups/{group['id']}"
    added = await cloud.call("PUT", f"{path}/add_addresses", {"addresses": ["10.0.0.9/8"]})
    assert (added.status_code, added.json()["address_group"]["addresses"][-1]) == (200, "10.0.0.0/8")
    again = {"addresses": ["10.0.0.0/8"]}
    await cloud.refused(400, "AddressesAlreadyExist", "PUT", f"{path}/add_addresses", again)
    removed = await cloud.call("PUT", f"{path}/remove_addresses", {"addresses": given[:2]})
    assert removed.json()["address_group"]["addresses"] == ["2001:db8::/64", "10.0.0.0/8"]
    unknown = {"addresses": ["10.200.200.200"]}
    await cloud.refused(404, "AddressesNotFound", "PUT", f"{path}/remove_addresses", unknown)
    for verb in ("add", "remove"):
        wrong = {"addresses": ["this is no address"]}
        await cloud.refused(400, "InvalidInput", "PUT", f"{path}/{verb}_addresses", wrong)
    for wrong in ({"addresses": ["10.20.30.40"]}, {"addresses": ["x/8"]}):
        await cloud.refused(400, "InvalidInput", "POST", "/address-groups", {"address_group": wrong})
    assert (await cloud.put("address_group", group["id"], name="h"))["name"] == "h"
    await cloud.delete("address_group", group["id"])
    await cloud.refused(404, "AddressGroupNotFound", "GET", path)


async def test_a_rule_lets_in_who_is_in_its_address_group(cloud: Cloud) -> None:
    """The group is told to the nodes of the rule's ports as a group with one member, and followed there."""
    addresses = await cloud.make("address_group", name="g", addresses=["10.9.0.0/16"])
    path = f"/address-groups/{addresses['id']}"
    group = await cloud.make("security_group", name="sg")
    rule = {
        "security_group_id": group["id"],
        "direction": "ingress",
        "remote_address_group_id": addresses["id"],
    }
    made = await cloud.make("security_group_rule", **rule)
    assert made["remote_address_group_id"] == addresses["id"]
    theirs = {"security_group_rule": rule | {"remote_address_group_id": "nobody"}}
    await cloud.refused(404, "AddressGroupNotFound", "POST", "/security-group-rules", theirs)
    both = {"security_group_rule": rule | {"remote_ip_prefix": "10.0.0.0/8"}}
    await cloud.refused(400, "SecurityGroupMultipleRemoteEntites", "POST", "/security-group-rules", both)
    network, _ = await cloud.network("10.1.0.0/24")
    bound = {"network_id": network["id"], "security_groups": [group["id"]], "binding:host_id": "node1"}
    await cloud.make("port", **bound, token="p1.admin")

    def told() -> list[str]:
        told = (one for bundle in cloud.store.wanted(MEMBERS, "node1") for one in bundle.members)
        return [text for one in told if one.port_id == addresses["id"] for text in one.addresses]

    await until(lambda: told() == ["10.9.0.0/16"])

    def remotes() -> set[str]:
        want: Any = cloud.store.wanted(SECURITY_GROUPS, "node1").get(group["id"])
        rules = want.rules if want is not None else ()
        return {rule.spec.remote_group_id for rule in rules if rule.spec.direction == "ingress"}

    await until(lambda: remotes() == {addresses["id"]})
    await cloud.call("PUT", f"{path}/add_addresses", {"addresses": ["10.8.0.1/32"]})
    await until(lambda: told() == ["10.8.0.1/32", "10.9.0.0/16"])
    await cloud.refused(409, "AddressGroupInUse", "DELETE", path)
    await cloud.delete("security_group_rule", made["id"])
    await until(lambda: told() == [])
    await cloud.delete("address_group", addresses["id"])


async def test_who_may_only_look_at_an_address_group_finds_none_to_change(cloud: Cloud) -> None:
    group = await cloud.make("address_group", name="g")
    policy = {"object_type": "address_group", "object_id": group["id"], "action": "access_as_shared"}
    made = await cloud.call("POST", "/rbac-policies", {"rbac_policy": policy | {"target_tenant": "p2"}})
    assert made.status_code == 201
    assert (await cloud.show("address_group", group["id"], token="p2.member"))["shared"] is True
    path, change = f"/address-groups/{group['id']}", {"address_group": {"name": "mine"}}
    await cloud.refused(404, "AddressGroupNotFound", "PUT", path, change, token="p2.member")
    sg = await cloud.make("security_group", name="sg", token="p2.member")
    rule = {"security_group_id": sg["id"], "direction": "ingress", "remote_address_group_id": group["id"]}
    await cloud.make("security_group_rule", **rule, token="p2.member")
    await cloud.refused(
        409, "RbacPolicyInUse", "DELETE", f"/rbac-policies/{made.json()['rbac_policy']['id']}"
    )


async def test_the_cloud_comes_with_templates(cloud: Cloud) -> None:
    reply = await cloud.call("GET", TEMPLATES)
    found = reply.json()["default_security_group_rules"]
    assert len(found) == 4
    egress = next(rule for rule in found if rule["direction"] == "egress" and rule["ethertype"] == "IPv4")
    assert egress == {
        "id": egress["id"],
        "direction": "egress",
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_group_id": None,
        "remote_ip_prefix": None,
        "remote_address_group_id": None,
        "used_in_default_sg": True,
        "used_in_non_default_sg": True,
        "description": "Legacy default SG rule for egress traffic",
    }
    only_default = (await cloud.call("GET", f"{TEMPLATES}?used_in_non_default_sg=false")).json()
    assert {rule["remote_group_id"] for rule in only_default["default_security_group_rules"]} == {"PARENT"}
    await cloud.refused(403, "PolicyNotAuthorized", "DELETE", f"{TEMPLATES}/{egress['id']}")
    gone = await asyncio.gather(
        *(cloud.call("DELETE", f"{TEMPLATES}/{egress['id']}", token=ADMIN) for _ in range(2))
    )
    assert sorted(reply.status_code for reply in gone) == [204, 404]
    await cloud.refused(404, "DefaultSecurityGroupRuleNotFound", "GET", f"{TEMPLATES}/{egress['id']}")
    group = await cloud.make("security_group", name="g")
    assert {rule["ethertype"] for rule in group["security_group_rules"]} == {"IPv6"}


async def test_new_groups_begin_with_what_templates_say(cloud: Cloud) -> None:
    rule = {"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp"}
    ssh = rule | {"port_range_min": 22, "port_range_max": 22}
    denied = {"default_security_group_rule": ssh}
    await cloud.refused(403, "PolicyNotAuthorized", "POST", TEMPLATES, denied)
    made = await cloud.make("default_security_group_rule", **ssh, token=ADMIN)
    assert (made["used_in_default_sg"], made["used_in_non_default_sg"]) == (False, True)
    mine = {"used_in_default_sg": True, "used_in_non_default_sg": False}
    await cloud.make("default_security_group_rule", **ssh, **mine, token=ADMIN)
    kind = "DefaultSecurityGroupRuleExists"
    for used in ({}, {"used_in_default_sg": True}, mine):
        body = {"default_security_group_rule": ssh | used}
        await cloud.refused(409, kind, "POST", TEMPLATES, body, token=ADMIN)
    named = {"default_security_group_rule": rule | {"remote_group_id": "somebody"}}
    await cloud.refused(400, "InvalidInput", "POST", TEMPLATES, named, token=ADMIN)
    parent = rule | {"remote_group_id": "PARENT"}
    await cloud.make("default_security_group_rule", **parent, token=ADMIN)
    group = await cloud.make("security_group", name="g", token="p5.member")
    ingress = [r for r in group["security_group_rules"] if r["direction"] == "ingress"]
    assert {(r["port_range_min"], r["remote_group_id"]) for r in ingress} == {
        (22, None),
        (None, group["id"]),
    }
    (default,) = await cloud.find("security_group", "name=default&project_id=p6", token=ADMIN)
    assert default["project_id"] == "p6"
    assert await cloud.find("security_group", "project_id=p7", token="p5.member") == []
    ports = {r["port_range_min"] for r in default["security_group_rules"] if r["protocol"] == "tcp"}
    assert ports == {22}
