"""RBAC policies: who sees and uses what belongs to somebody else, and until when."""

import asyncio
from typing import Any

from tests.functional.network.harness import Cloud
from tests.functional.network.outside import a_public_network

OWNER, GUEST, OTHER, ADMIN = "p1.member", "p2.member", "p3.member", "p9.admin"


async def share(
    cloud: Cloud,
    object_type: str,
    owned: dict[str, Any],
    target: str,
    *,
    token: str = OWNER,
    action: str = "access_as_shared",
) -> dict[str, Any]:
    body = {
        "object_type": object_type,
        "object_id": owned["id"],
        "action": action,
        "target_tenant": target,
    }
    reply = await cloud.call("POST", "/rbac-policies", {"rbac_policy": body}, token=token)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()["rbac_policy"]
    assert made == body | {
        "id": made["id"],
        "project_id": made["project_id"],
        "tenant_id": made["project_id"],
    }
    return made


async def policies(cloud: Cloud, token: str, query: str = "") -> list[dict[str, Any]]:
    reply = await cloud.call("GET", f"/rbac-policies?{query}", token=token)
    assert reply.status_code == 200, reply.text
    return list(reply.json()["rbac_policies"])


async def test_a_network_is_seen_and_used_by_those_it_is_shared_with(cloud: Cloud) -> None:
    network, (subnet,) = await cloud.network("10.1.0.0/24")
    path = f"/networks/{network['id']}"
    await cloud.refused(404, "NetworkNotFound", "GET", path, token=GUEST)
    policy = await share(cloud, "network", network, "p2")
    seen = await cloud.show("network", network["id"], token=GUEST)
    assert seen["shared"] is True
    assert seen["revision_number"] > network["revision_number"]
    assert (await cloud.show("network", network["id"]))["shared"] is False
    assert (await cloud.show("subnet", subnet["id"], token=GUEST))["shared"] is True
    for noun, id_ in (("network", network["id"]), ("subnet", subnet["id"])):
        assert id_ in {found["id"] for found in await cloud.find(noun, token=GUEST)}
        assert [found["id"] for found in await cloud.find(noun, "shared=true", token=GUEST)] == [id_]
        assert await cloud.find(noun, token=OTHER) == []
    await cloud.refused(404, "NetworkNotFound", "GET", path, token=OTHER)
    await cloud.refused(403, "PolicyNotAuthorized", "DELETE", path, token=GUEST)
    port = await cloud.make("port", network_id=network["id"], token=GUEST)
    pairs = {"port": {"network_id": network["id"], "allowed_address_pairs": [{"ip_address": "1.1.1.1"}]}}
    await cloud.refused(403, "PolicyNotAuthorized", "POST", "/ports", pairs, token=GUEST)
    on_it = {"port": {"network_id": network["id"]}}
    await cloud.refused(404, "NetworkNotFound", "POST", "/ports", on_it, token=OTHER)
    await cloud.refused(409, "RbacPolicyInUse", "DELETE", f"/rbac-policies/{policy['id']}")
    moved = {"rbac_policy": {"target_tenant": "p3"}}
    await cloud.refused(409, "RbacPolicyInUse", "PUT", f"/rbac-policies/{policy['id']}", moved)
    await cloud.delete("port", port["id"])  # by the network's owner
    assert (await cloud.call("DELETE", f"/rbac-policies/{policy['id']}")).status_code == 204
    await cloud.refused(404, "NetworkNotFound", "GET", path, token=GUEST)


async def test_what_is_shared_with_all_has_a_policy_that_says_so(cloud: Cloud) -> None:
    network = await cloud.make("network", name="n", shared=True, token=ADMIN)
    (policy,) = await policies(cloud, ADMIN)
    assert (policy["object_id"], policy["target_tenant"]) == (network["id"], "*")
    assert (policy["action"], policy["project_id"]) == ("access_as_shared", "p9")
    assert (await cloud.show("network", network["id"], token=GUEST))["shared"] is True
    assert (await cloud.call("DELETE", f"/rbac-policies/{policy['id']}", token=ADMIN)).status_code == 204
    assert (await cloud.show("network", network["id"], token=ADMIN))["shared"] is False
    await cloud.refused(404, "NetworkNotFound", "GET", f"/networks/{network['id']}", token=GUEST)
    await share(cloud, "network", network, "*", token=ADMIN)
    assert (await cloud.show("network", network["id"], token=ADMIN))["shared"] is True
    await cloud.put("network", network["id"], shared=False, token=ADMIN)
    assert await policies(cloud, ADMIN) == []
    await cloud.put("network", network["id"], shared=True, token=ADMIN)
    assert len(await policies(cloud, ADMIN)) == 1
    port = await cloud.make("port", network_id=network["id"], token=GUEST)
    unshared = {"network": {"shared": False}}
    path = f"/networks/{network['id']}"
    await cloud.refused(409, "InvalidSharedSetting", "PUT", path, unshared, token=ADMIN)
    await share(cloud, "network", network, "p2", token=ADMIN)
    await cloud.put("network", network["id"], shared=False, token=ADMIN)
    await cloud.delete("port", port["id"], token=GUEST)
    await cloud.delete("network", network["id"], token=ADMIN)
    assert await policies(cloud, ADMIN) == []


async def test_external_networks_are_seen_by_those_they_are_for(cloud: Cloud) -> None:
    network = await cloud.make("network", name="n", token=ADMIN)
    await share(cloud, "network", network, "p2", token=ADMIN, action="access_as_external")
    seen = await cloud.show("network", network["id"], token=GUEST)
    assert (seen["router:external"], seen["shared"]) == (True, False)
    await cloud.refused(404, "NetworkNotFound", "GET", f"/networks/{network['id']}", token=OTHER)
    assert await cloud.find("network", token=OTHER) == []
    whole = await cloud.make("network", name="m", token=ADMIN, **{"router:external": True})
    assert [found["id"] for found in await cloud.find("network", token=OTHER)] == [whole["id"]]
    await cloud.put("network", network["id"], token=ADMIN, **{"router:external": False})
    await cloud.refused(404, "NetworkNotFound", "GET", f"/networks/{network['id']}", token=GUEST)
    own = await cloud.make("network", name="o")
    made = [
        await share(cloud, "network", own, target, action="access_as_external") for target in ("p2", "p3")
    ]
    for external, policy in (
        (True, made[0]),
        (False, made[1]),
    ):  # it is external as long as it is for somebody
        assert (await cloud.call("DELETE", f"/rbac-policies/{policy['id']}")).status_code == 204
        assert (await cloud.show("network", own["id"]))["router:external"] is external
    await cloud.put("network", whole["id"], is_default=True, token=ADMIN)
    (policy,) = await policies(cloud, ADMIN, f"object_id={whole['id']}")
    path = f"/rbac-policies/{policy['id']}"
    await cloud.refused(409, "RbacPolicyInUse", "DELETE", path, token=ADMIN)


async def test_what_leads_out_holds_the_policy_that_lets_it(cloud: Cloud) -> None:
    network = await cloud.make("network", name="n", token=ADMIN)
    subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "10.1.0.0/24", "enable_dhcp": False}
    await cloud.make("subnet", **subnet, token=ADMIN)
    whole = await share(cloud, "network", network, "*", token=ADMIN, action="access_as_external")
    gateway = {"external_gateway_info": {"network_id": network["id"]}}
    router = await cloud.make("router", name="r", **gateway, token=GUEST)
    floating = await cloud.make("floatingip", floating_network_id=network["id"], token=OTHER)
    moved = {"rbac_policy": {"target_tenant": "p2"}}
    path = f"/rbac-policies/{whole['id']}"
    await cloud.refused(409, "RbacPolicyInUse", "PUT", path, moved, token=ADMIN)
    await cloud.delete("floatingip", floating["id"], token=OTHER)
    assert (await cloud.call("PUT", path, moved, token=ADMIN)).status_code == 200
    await cloud.refused(409, "RbacPolicyInUse", "DELETE", path, token=ADMIN)
    theirs = {"floatingip": {"floating_network_id": network["id"]}}
    await cloud.refused(404, "NetworkNotFound", "POST", "/floatingips", theirs, token=OTHER)
    await cloud.delete("router", router["id"], token=GUEST)
    assert (await cloud.call("DELETE", path, token=ADMIN)).status_code == 204


async def test_policies_that_cannot_be(cloud: Cloud) -> None:
    network = await cloud.make("network", name="n")
    good = {
        "object_type": "network",
        "object_id": network["id"],
        "action": "access_as_shared",
        "target_tenant": "p2",
    }
    path = "/rbac-policies"
    for status, kind, change in (
        (400, "HTTPBadRequest", {"target_tenant": None}),
        (400, "HTTPBadRequest", {"target_tenant": "1234" * 100}),
        (400, "InvalidInput", {"object_type": "router"}),
        (400, "InvalidInput", {"action": "access_as_owner"}),
        (403, "PolicyNotAuthorized", {"target_tenant": "*"}),
        (404, "NetworkNotFound", {"object_id": "nobody"}),
    ):
        await cloud.refused(status, kind, "POST", path, {"rbac_policy": good | change})
    policy = await share(cloud, "network", network, "p2")
    await cloud.refused(409, "DuplicateRbacPolicy", "POST", path, {"rbac_policy": good})
    item = f"{path}/{policy['id']}"
    all_of_them = {"rbac_policy": {"target_tenant": "*"}}
    await cloud.refused(403, "PolicyNotAuthorized", "PUT", item, all_of_them)
    await cloud.refused(404, "RbacPolicyNotFound", "GET", item, token=GUEST)
    assert await policies(cloud, GUEST) == []
    theirs = {"rbac_policy": good | {"target_tenant": "p3"}}
    await cloud.refused(400, "InvalidInput", "POST", path, theirs, token=GUEST)
    moved = await cloud.call("PUT", item, {"rbac_policy": {"target_tenant": "p3"}})
    assert moved.json()["rbac_policy"] == policy | {"target_tenant": "p3"}
    assert await policies(cloud, OWNER, f"id={policy['id']}&fields=id") == [{"id": policy["id"]}]
    opened = await cloud.call("PUT", item, all_of_them, token=ADMIN)
    assert opened.status_code == 200
    assert (await cloud.show("network", network["id"]))["shared"] is True
    for at in range(10):
        await share(cloud, "network", network, f"t{at}")
    eleventh = {"rbac_policy": good | {"target_tenant": "t10"}}
    await cloud.refused(409, "OverQuota", "POST", path, eleventh)


async def test_pools_scopes_and_groups_are_shared_as_well(cloud: Cloud) -> None:
    scope = await cloud.make("address_scope", name="s", ip_version=4)
    pool = await cloud.make("subnetpool", name="p", prefixes=["10.0.0.0/16"], address_scope_id=scope["id"])
    group = await cloud.make("security_group", name="g")
    wanted = {
        "object_type": "subnetpool",
        "object_id": pool["id"],
        "action": "access_as_shared",
        "target_tenant": "p2",
    }
    await cloud.refused(400, "InvalidInput", "POST", "/rbac-policies", {"rbac_policy": wanted})
    made = [
        await share(cloud, kind, owned, "p2")
        for kind, owned in (("address_scope", scope), ("subnetpool", pool), ("security_group", group))
    ]
    for noun, owned in (("address_scope", scope), ("subnetpool", pool), ("security_group", group)):
        assert (await cloud.show(noun, owned["id"], token=GUEST))["shared"] is True
        path = f"/{noun.replace('_', '-')}s/{owned['id']}"
        kind = {"subnetpool": "SubnetPoolNotFound", "address_scope": "AddressScopeNotFound"}
        await cloud.refused(404, kind.get(noun, "SecurityGroupNotFound"), "GET", path, token=OTHER)
    network = await cloud.make("network", name="n", token=GUEST)
    subnet = {"network_id": network["id"], "ip_version": 4, "subnetpool_id": pool["id"]}
    await cloud.make("subnet", **subnet, prefixlen=24, token=GUEST)
    theirs = {"name": "p", "prefixes": ["10.1.0.0/16"], "address_scope_id": scope["id"]}
    await cloud.make("subnetpool", **theirs, token=GUEST)
    port = await cloud.make("port", network_id=network["id"], security_groups=[group["id"]], token=GUEST)
    assert port["security_groups"] == [group["id"]]
    for policy in made:
        await cloud.refused(409, "RbacPolicyInUse", "DELETE", f"/rbac-policies/{policy['id']}")
    await cloud.delete("port", port["id"], token=GUEST)
    assert (await cloud.call("DELETE", f"/rbac-policies/{made[2]['id']}")).status_code == 204
    own = {"port": {"network_id": network["id"], "security_groups": [group["id"]]}}
    await cloud.refused(404, "SecurityGroupNotFound", "POST", "/ports", own, token=GUEST)


async def test_a_policy_does_not_go_under_the_port_that_needs_it(cloud: Cloud) -> None:
    network, _ = await cloud.network("10.1.0.0/24")
    body = {"port": {"network_id": network["id"]}}
    for _ in range(8):
        policy = await share(cloud, "network", network, "p2")
        made, removed = await asyncio.gather(
            cloud.call("POST", "/ports", body, token=GUEST),
            cloud.call("DELETE", f"/rbac-policies/{policy['id']}"),
        )
        assert (made.status_code, removed.status_code) in ((201, 409), (404, 204)), made.text + removed.text
        if made.status_code == 201:
            await cloud.delete("port", made.json()["port"]["id"], token=GUEST)
            assert (await cloud.call("DELETE", f"/rbac-policies/{policy['id']}")).status_code == 204


async def test_everybody_sees_the_subnets_of_what_is_external(cloud: Cloud) -> None:
    public = await a_public_network(cloud, "198.18.7.0/24")
    (subnet,) = await cloud.find("subnet", f"network_id={public['id']}", token=GUEST)
    assert (await cloud.show("subnet", subnet["id"], token=GUEST))["router:external"] is True


async def test_a_qos_policy_for_all_stays_while_anything_goes_by_it(cloud: Cloud) -> None:
    asked = {"policy": {"name": "p", "shared": True}}
    policy = (await cloud.call("POST", "/qos/policies", asked, token=ADMIN)).json()["policy"]
    theirs = await cloud.make("network", name="n", qos_policy_id=policy["id"], token=GUEST)
    found = (await cloud.call("GET", f"/rbac-policies?object_id={policy['id']}", token=ADMIN)).json()
    path = f"/rbac-policies/{found['rbac_policies'][0]['id']}"
    await cloud.refused(409, "RbacPolicyInUse", "DELETE", path, token=ADMIN)
    moved = {"rbac_policy": {"target_tenant": "p2"}}
    await cloud.refused(409, "RbacPolicyInUse", "PUT", path, moved, token=ADMIN)
    own = await cloud.make("network", name="n", qos_policy_id=policy["id"], token=ADMIN)
    await cloud.delete("network", theirs["id"], token=GUEST)
    closed = {"policy": {"shared": False}}
    await cloud.refused(409, "RbacPolicyInUse", "PUT", f"/qos/policies/{policy['id']}", closed, token=ADMIN)
    await cloud.delete("network", own["id"], token=ADMIN)
    assert (await cloud.call("PUT", f"/qos/policies/{policy['id']}", closed, token=ADMIN)).status_code == 200
