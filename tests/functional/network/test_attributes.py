"""What all resources have: tags, revisions, times, bulk creation, owners."""

import asyncio

from tests.functional.network.harness import Cloud


async def test_tags_of_each_kind(cloud: Cloud) -> None:
    network, (subnet,) = await cloud.network("10.1.0.0/24")
    port = await cloud.make("port", network_id=network["id"])
    group = await cloud.make("security_group", name="g")
    items = {"networks": network, "subnets": subnet, "ports": port, "security-groups": group}
    for path, item in items.items():
        tags = f"/{path}/{item['id']}/tags"
        assert (await cloud.call("PUT", f"{tags}/red")).status_code == 201
        assert (await cloud.call("PUT", f"{tags}/red")).status_code == 201
        assert (await cloud.call("GET", f"{tags}/red")).status_code == 204
        assert (await cloud.call("GET", tags)).json() == {"tags": ["red"]}
        await cloud.refused(404, "TagNotFound", "DELETE", f"{tags}/blue")
        await cloud.refused(404, "TagNotFound", "GET", f"{tags}/blue")
        added = await cloud.call("POST", tags, {"tags": ["cyan", "red"]})
        assert (added.status_code, added.json()) == (201, {"tags": ["cyan", "red"]})
        replaced = await cloud.call("PUT", tags, {"tags": ["green", "blue", "green"]})
        assert replaced.json() == {"tags": ["blue", "green"]}
        assert (await cloud.call("DELETE", f"{tags}/blue")).status_code == 204
        assert (await cloud.call("DELETE", tags)).status_code == 204
        assert (await cloud.call("GET", tags)).json() == {"tags": []}
        await cloud.refused(400, "HTTPBadRequest", "PUT", tags, {"tags": ["x" * 256]})
        await cloud.refused(400, "HTTPBadRequest", "PUT", tags, {"tag": []})


async def test_tags_that_are_added_at_the_same_time_are_all_kept(cloud: Cloud) -> None:
    network = await cloud.make("network", name="n")
    path = f"/networks/{network['id']}/tags"
    wanted = [f"tag{at}" for at in range(6)]
    replies = await asyncio.gather(*(cloud.call("PUT", f"{path}/{tag}") for tag in wanted))
    assert [reply.status_code for reply in replies] == [201] * len(wanted)
    assert sorted((await cloud.call("GET", path)).json()["tags"]) == wanted


async def test_a_domain_is_one(cloud: Cloud) -> None:
    for domain in ("example.org\nserver=192.0.2.1", "two words", "-x.org", "a..b", "x" * 64):
        await cloud.refused(400, "InvalidInput", "POST", "/networks", {"network": {"dns_domain": domain}})
    network = await cloud.make("network", dns_domain="example.org.")
    assert network["dns_domain"] == "example.org."
    path = f"/networks/{network['id']}"
    await cloud.refused(400, "InvalidInput", "PUT", path, {"network": {"dns_domain": "two words"}})
    assert (await cloud.call("PUT", path, {"network": {"dns_domain": ""}})).status_code == 200


async def test_writes_that_depend_on_a_revision(cloud: Cloud) -> None:
    network = await cloud.make("network", name="n")
    path, body = f"/networks/{network['id']}", {"network": {"name": "m"}}
    assert network["revision_number"] == 1
    kind = "RevisionNumberConstraintFailed"
    await cloud.refused(412, kind, "PUT", path, body, headers={"If-Match": "revision_number=7"})
    reply = await cloud.call("PUT", path, body, headers={"If-Match": "revision_number=1"})
    assert (reply.status_code, reply.json()["network"]["revision_number"]) == (200, 2)
    await cloud.refused(412, kind, "DELETE", path, headers={"If-Match": "revision_number=1"})
    await cloud.refused(400, "HTTPBadRequest", "DELETE", path, headers={"If-Match": "seven"})
    reply = await cloud.call("DELETE", path, headers={"If-Match": "revision_number=2"})
    assert reply.status_code == 204


async def test_bulk_creation_is_all_or_none(cloud: Cloud) -> None:
    made = await cloud.call("POST", "/networks", {"networks": [{"name": "a"}, {"name": "b"}]})
    assert made.status_code == 201
    a, b = made.json()["networks"]
    assert (a["name"], b["name"]) == ("a", "b")
    subnet = {"network_id": a["id"], "ip_version": 4}
    overlapping = {"subnets": [{**subnet, "cidr": "10.1.0.0/24"}, {**subnet, "cidr": "10.1.0.0/16"}]}
    await cloud.refused(400, "InvalidInput", "POST", "/subnets", overlapping)
    assert await cloud.find("subnet") == []
    overlapping["subnets"][1]["cidr"] = "10.2.0.0/16"
    assert (await cloud.call("POST", "/subnets", overlapping)).status_code == 201
    ports = {"ports": [{"network_id": a["id"], "admin_state_up": at != 1} for at in range(3)]}
    made = await cloud.call("POST", "/ports", ports)
    assert [port["admin_state_up"] for port in made.json()["ports"]] == [True, False, True]
    addresses = {port["fixed_ips"][0]["ip_address"] for port in made.json()["ports"]}
    assert len(addresses) == 3
    groups = await cloud.call("POST", "/security-groups", {"security_groups": [{"name": "x"}, {"name": "y"}]})
    x, y = groups.json()["security_groups"]
    rule = {"direction": "ingress", "protocol": "tcp", "port_range_min": 1, "port_range_max": 2}
    both = {"security_group_rules": [{**rule, "security_group_id": group["id"]} for group in (x, y)]}
    await cloud.refused(400, "SecurityGroupNotSingleGroupRules", "POST", "/security-group-rules", both)
    twice = {"security_group_rules": [{**rule, "security_group_id": x["id"]}] * 2}
    await cloud.refused(409, "SecurityGroupRuleExists", "POST", "/security-group-rules", twice)
    await cloud.refused(400, "HTTPBadRequest", "POST", "/networks", {"networks": []})
    await cloud.refused(400, "HTTPBadRequest", "POST", "/networks", {"networks": [{"name": 5}]})


async def test_projects_do_not_see_each_other(cloud: Cloud) -> None:
    network, (subnet,) = await cloud.network("10.1.0.0/24")
    port = await cloud.make("port", network_id=network["id"])
    group = await cloud.make("security_group", name="g")
    items = {"networks": network, "subnets": subnet, "ports": port, "security-groups": group}
    other = "p2.member"
    for path, item in items.items():
        name = path.replace("-", "_")
        kind = {"security_groups": "SecurityGroupNotFound"}.get(name, f"{name[:-1].capitalize()}NotFound")
        for method in ("GET", "DELETE"):
            await cloud.refused(404, kind, method, f"/{path}/{item['id']}", token=other)
        body = {name[:-1]: {"name": "mine"}}
        await cloud.refused(404, kind, "PUT", f"/{path}/{item['id']}", body, token=other)
        found = (await cloud.call("GET", f"/{path}", token=other)).json()[name]
        assert item["id"] not in {one["id"] for one in found}
        seen = (await cloud.call("GET", f"/{path}", token="p3.admin")).json()[name]
        assert item["id"] in {one["id"] for one in seen}
    on_it = {"port": {"network_id": network["id"]}}
    await cloud.refused(404, "NetworkNotFound", "POST", "/ports", on_it, token=other)
    in_it = {"port": {"network_id": network["id"], "security_groups": ["nobody"]}}
    await cloud.refused(404, "SecurityGroupNotFound", "POST", "/ports", in_it)


async def test_what_only_some_may_do(cloud: Cloud) -> None:
    denied = "PolicyNotAuthorized"
    network, _ = await cloud.network("10.1.0.0/24")
    for body in ({"shared": True}, {"router:external": True}, {"provider:network_type": "vxlan"}):
        await cloud.refused(403, denied, "POST", "/networks", {"network": body})
    await cloud.refused(403, denied, "POST", "/networks", {"network": {"name": "n"}}, token="p1.reader")
    await cloud.refused(403, denied, "DELETE", f"/networks/{network['id']}", token="p1.reader")
    for part in (
        {"binding:host_id": "node1"},
        {"binding:profile": {"a": 1}},
        {"device_owner": "network:dhcp"},
    ):
        await cloud.refused(403, denied, "POST", "/ports", {"port": {"network_id": network["id"], **part}})
    port = await cloud.make("port", network_id=network["id"])
    owner = {"port": {"device_owner": "network:dhcp"}}
    await cloud.refused(403, denied, "PUT", f"/ports/{port['id']}", owner)
    await cloud.refused(403, denied, "PUT", "/quotas/p1", {"quota": {"port": -1}})
    shown = await cloud.show("port", port["id"], token="p1.admin")
    assert (shown["binding:host_id"], shown["binding:vif_type"]) == ("", "unbound")
    assert "provider:network_type" not in await cloud.show("network", network["id"])
    assert (await cloud.show("network", network["id"], token="p1.admin"))["provider:network_type"] == "vxlan"


async def test_a_port_has_groups_of_one_kind(cloud: Cloud) -> None:
    network = await cloud.make("network")
    plain = await cloud.make("security_group", name="plain")
    stateless = await cloud.make("security_group", name="stateless", stateful=False)
    both = {"port": {"network_id": network["id"], "security_groups": [plain["id"], stateless["id"]]}}
    await cloud.refused(409, "SecurityGroupConflict", "POST", "/ports", both)
    port = await cloud.make("port", network_id=network["id"], security_groups=[stateless["id"]])
    await cloud.refused(
        409,
        "SecurityGroupConflict",
        "PUT",
        f"/ports/{port['id']}",
        {"port": {"security_groups": both["port"]["security_groups"]}},
    )


async def test_rules_of_default_groups_say_so(cloud: Cloud) -> None:
    await cloud.make("security_group", name="other")
    of_default = await cloud.find("security_group_rule", "belongs_to_default_sg=true")
    others = await cloud.find("security_group_rule", "belongs_to_default_sg=false")
    groups = {group["id"]: group["name"] for group in await cloud.find("security_group")}
    assert {groups[rule["security_group_id"]] for rule in of_default} == {"default"}
    assert {groups[rule["security_group_id"]] for rule in others} == {"other"}


async def test_a_port_without_a_mac_address_gets_another(cloud: Cloud) -> None:
    network, _ = await cloud.network("10.1.0.0/24")
    port = await cloud.make("port", network_id=network["id"])
    changed = await cloud.put("port", port["id"], mac_address=None, token="p1.admin")
    assert changed["mac_address"] not in (port["mac_address"], None)


async def test_a_dhcp_option_without_a_value_is_taken_away(cloud: Cloud) -> None:
    network, _ = await cloud.network("10.0.0.0/24")
    first, second = ({"opt_name": name, "opt_value": "x", "ip_version": 4} for name in ("one", "two"))
    port = await cloud.make("port", network_id=network["id"], extra_dhcp_opts=[first, second])
    third = {"opt_name": "three", "opt_value": "y", "ip_version": 4}
    changes = [first | {"opt_value": None}, second | {"opt_value": "z"}, third]
    changed = await cloud.put("port", port["id"], extra_dhcp_opts=changes)
    assert changed["extra_dhcp_opts"] == [second | {"opt_value": "z"}, third]


async def test_a_rule_shows_the_prefix_as_it_was_given(cloud: Cloud) -> None:
    wrapped = {"security_groups": [{"security_group": {"name": name}} for name in ("a", "b")]}
    groups = (await cloud.call("POST", "/security-groups", wrapped)).json()["security_groups"]
    assert [group["name"] for group in groups] == ["a", "b"]
    rule = {"security_group_id": groups[0]["id"], "direction": "ingress", "remote_ip_prefix": "10.0.0.34/24"}
    made = await cloud.make("security_group_rule", **rule)
    assert (made["remote_ip_prefix"], made["normalized_cidr"]) == ("10.0.0.34/24", "10.0.0.0/24")
    same = {"security_group_rule": rule | {"remote_ip_prefix": "10.0.0.0/24"}}
    await cloud.refused(409, "SecurityGroupRuleExists", "POST", "/security-group-rules", same)


async def test_what_does_not_go_together(cloud: Cloud) -> None:
    narrow = await cloud.make("network", name="n", mtu=67)
    subnet = {"network_id": narrow["id"], "ip_version": 4, "cidr": "10.9.0.0/24"}
    await cloud.refused(409, "NetworkMTUSubnetConflict", "POST", "/subnets", {"subnet": subnet})
    narrow = await cloud.make("network", name="n", mtu=1279)
    subnet = {"network_id": narrow["id"], "ip_version": 6, "cidr": "2001:db8::/64"}
    await cloud.refused(409, "NetworkMTUSubnetConflict", "POST", "/subnets", {"subnet": subnet})
    theirs = {"network": {"name": "n", "project_id": "p2"}}
    await cloud.refused(400, "HTTPBadRequest", "POST", "/networks", theirs)
    group = await cloud.make("security_group", name="g")
    twice = {"port": {"network_id": narrow["id"], "security_groups": [group["id"]] * 2}}
    await cloud.refused(400, "HTTPBadRequest", "POST", "/ports", twice)
    kind = "SecurityGroupEthertypeConflictWithProtocol"
    for protocol in ("ipv6-encap", 41, "ipv6-route"):
        rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": protocol}
        body = {"security_group_rule": rule}
        await cloud.refused(400, kind, "POST", "/security-group-rules", body)
