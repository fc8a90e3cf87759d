"""QoS policies: their rules, who may use them, and what nodes are told."""

import asyncio
from typing import Any

import pytest

from fabric.network.collection import QOS_POLICIES
from fabric.runtime.codec import Codec
from fabric.runtime.node import Life
from fabric.type.v1 import node_pb2
from tests.functional.network.harness import Cloud, until
from tests.functional.network.nodes import begin, told
from tests.functional.network.outside import a_way_out

POLICIES = "/qos/policies"


async def a_policy(cloud: Cloud, **attributes: Any) -> dict[str, Any]:
    reply = await cloud.call("POST", POLICIES, {"policy": {"name": "p", **attributes}}, token="p1.admin")
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()["policy"]
    return made


async def a_rule(cloud: Cloud, policy: dict[str, Any], kind: str, **attributes: Any) -> dict[str, Any]:
    path = f"{POLICIES}/{policy['id']}/{kind}_rules"
    reply = await cloud.call("POST", path, {f"{kind}_rule": attributes}, token="p1.admin")
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()[f"{kind}_rule"]
    return made


async def test_a_policy_and_its_rules(cloud: Cloud) -> None:
    policy = await a_policy(cloud, description="d")
    assert (policy["rules"], policy["shared"], policy["is_default"]) == ([], False, False)
    rule = await a_rule(cloud, policy, "bandwidth_limit", max_kbps="200", max_burst_kbps=1337)
    assert rule == {"id": rule["id"], "max_kbps": 200, "max_burst_kbps": 1337, "direction": "egress"}
    mark = await a_rule(cloud, policy, "dscp_marking", dscp_mark=26)
    shown = (await cloud.call("GET", f"{POLICIES}/{policy['id']}")).json()["policy"]
    assert shown["rules"] == [
        {**rule, "type": "bandwidth_limit", "qos_policy_id": policy["id"]},
        {**mark, "type": "dscp_marking", "qos_policy_id": policy["id"]},
    ]
    assert shown["revision_number"] > policy["revision_number"]
    below = f"{POLICIES}/{policy['id']}/bandwidth_limit_rules"
    assert (await cloud.call("GET", below)).json() == {"bandwidth_limit_rules": [rule]}
    assert (await cloud.call("GET", f"{below}?max_kbps=201")).json() == {"bandwidth_limit_rules": []}
    body = {"bandwidth_limit_rule": {"max_kbps": 300, "direction": "ingress"}}
    changed = await cloud.call("PUT", f"{below}/{rule['id']}", body, token="p1.admin")
    assert changed.json()["bandwidth_limit_rule"] == {**rule, "max_kbps": 300, "direction": "ingress"}
    alias = f"/qos/alias_bandwidth_limit_rules/{rule['id']}"
    body = {"alias_bandwidth_limit_rule": {"max_kbps": 400}}
    changed = await cloud.call("PUT", alias, body, token="p1.admin")
    assert changed.json()["alias_bandwidth_limit_rule"]["max_kbps"] == 400
    await cloud.refused(404, "QosRuleNotFound", "GET", f"/qos/alias_dscp_marking_rules/{rule['id']}")
    wrong_kind = f"{POLICIES}/{policy['id']}/dscp_marking_rules/{rule['id']}"
    await cloud.refused(404, "QosRuleNotFound", "DELETE", wrong_kind, token="p1.admin")
    assert (await cloud.call("DELETE", f"{below}/{rule['id']}", token="p1.admin")).status_code == 204
    await cloud.refused(404, "QosRuleNotFound", "GET", f"{below}/{rule['id']}")
    assert (await cloud.call("DELETE", f"{POLICIES}/{policy['id']}", token="p1.admin")).status_code == 204
    await cloud.refused(404, "QosPolicyNotFound", "GET", f"{POLICIES}/{policy['id']}")
    await cloud.refused(404, "QosRuleNotFound", "GET", f"/qos/alias_dscp_marking_rules/{mark['id']}")


async def test_one_rule_a_type_and_direction(cloud: Cloud) -> None:
    policy = await a_policy(cloud)
    rule = await a_rule(cloud, policy, "bandwidth_limit", max_kbps=200)
    other = await a_rule(cloud, policy, "bandwidth_limit", max_kbps=200, direction="ingress")
    below = f"{POLICIES}/{policy['id']}/bandwidth_limit_rules"
    again = {"bandwidth_limit_rule": {"max_kbps": 1}}
    message = await cloud.refused(409, "QoSRulesConflict", "POST", below, again, token="p1.admin")
    assert rule["id"] in message
    turned = {"bandwidth_limit_rule": {"direction": "egress"}}
    path = f"{below}/{other['id']}"
    await cloud.refused(409, "QoSRulesConflict", "PUT", path, turned, token="p1.admin")
    more = {"minimum_bandwidth_rule": {"min_kbps": 201}}
    path = f"{POLICIES}/{policy['id']}/minimum_bandwidth_rules"
    await cloud.refused(409, "QoSRuleParameterConflict", "POST", path, more, token="p1.admin")


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("bandwidth_limit", {}),
        ("bandwidth_limit", {"max_kbps": -1}),
        ("bandwidth_limit", {"max_kbps": 2**31}),
        ("bandwidth_limit", {"max_kbps": 1, "direction": "up"}),
        ("bandwidth_limit", {"max_kbps": 1, "dscp_mark": 8}),
        ("dscp_marking", {"dscp_mark": 58}),
        ("packet_rate_limit", {"max_kpps": "many"}),
    ],
)
async def test_rules_that_cannot_be(cloud: Cloud, kind: str, attributes: dict[str, Any]) -> None:
    path = f"{POLICIES}/{(await a_policy(cloud))['id']}/{kind}_rules"
    reply = await cloud.call("POST", path, {f"{kind}_rule": attributes}, token="p1.admin")
    assert reply.status_code == 400, reply.text


async def test_who_may_do_what(cloud: Cloud) -> None:
    await cloud.refused(403, "PolicyNotAuthorized", "POST", POLICIES, {"policy": {"name": "p"}})
    own = {"policy": {"name": "p"}}
    assert (await cloud.call("POST", POLICIES, own, token="p1.manager")).status_code == 201
    for_all = {"policy": {"name": "p", "shared": True}}
    await cloud.refused(403, "PolicyNotAuthorized", "POST", POLICIES, for_all, token="p1.manager")
    mine = await a_policy(cloud, project_id="p1")
    path = f"{POLICIES}/{mine['id']}"
    await cloud.refused(403, "PolicyNotAuthorized", "PUT", path, {"policy": {"name": "q"}})
    await cloud.refused(404, "QosPolicyNotFound", "PUT", path, {"policy": {"name": "q"}}, token="p2.member")
    rule = {"bandwidth_limit_rule": {"max_kbps": 1}}
    below = f"{path}/bandwidth_limit_rules"
    await cloud.refused(403, "PolicyNotAuthorized", "POST", below, rule, token="p2.member")
    none = f"{POLICIES}/none/bandwidth_limit_rules"
    await cloud.refused(404, "QosPolicyNotFound", "POST", none, rule, token="p1.admin")
    assert (await cloud.call("GET", POLICIES, token="p2.member")).json() == {"policies": []}
    shared = await a_policy(cloud, shared=True)
    await a_rule(cloud, shared, "bandwidth_limit", max_kbps=1)
    (listed,) = (await cloud.call("GET", POLICIES, token="p2.member")).json()["policies"]
    assert listed["id"] == shared["id"]
    await cloud.refused(403, "PolicyNotAuthorized", "DELETE", f"{POLICIES}/{shared['id']}", token="p2.member")


async def test_ports_and_networks_name_a_policy(cloud: Cloud) -> None:
    hidden, shared = await a_policy(cloud, project_id="p2"), await a_policy(cloud, shared=True)
    network = {"network": {"qos_policy_id": hidden["id"]}}
    await cloud.refused(404, "QosPolicyNotFound", "POST", "/networks", network)
    net = await cloud.make("network", qos_policy_id=shared["id"])
    assert net["qos_policy_id"] == shared["id"]
    port = await cloud.make("port", network_id=net["id"])
    assert (port["qos_policy_id"], port["qos_network_policy_id"]) == (None, shared["id"])
    message = await cloud.refused(
        409, "QosPolicyInUse", "DELETE", f"{POLICIES}/{shared['id']}", token="p1.admin"
    )
    assert f"network {net['id']}" in message
    await cloud.put("network", net["id"], token="p1.admin", qos_policy_id=hidden["id"])
    off = {"network": {"qos_policy_id": None}}
    await cloud.refused(403, "PolicyRemoveAuthorizationError", "PUT", f"/networks/{net['id']}", off)
    assert (await cloud.put("network", net["id"], token="p1.admin", **off["network"]))[
        "qos_policy_id"
    ] is None
    changed = await cloud.put("port", port["id"], qos_policy_id=shared["id"])
    assert (changed["qos_policy_id"], changed["qos_network_policy_id"]) == (shared["id"], None)
    assert [p["id"] for p in await cloud.find("port", f"qos_policy_id={shared['id']}")] == [port["id"]]
    impossible = {"minimum_bandwidth_rule": {"min_kbps": 1}}
    path = f"{POLICIES}/{shared['id']}/minimum_bandwidth_rules"
    await cloud.refused(409, "QosRuleNotSupported", "POST", path, impossible, token="p1.admin")
    promise = await a_policy(cloud, shared=True)
    await a_rule(cloud, promise, "minimum_bandwidth", min_kbps=1)
    body = {"port": {"qos_policy_id": promise["id"]}}
    await cloud.refused(409, "QosRuleNotSupported", "PUT", f"/ports/{port['id']}", body)


async def test_a_default_policy_is_that_of_new_networks(cloud: Cloud) -> None:
    before = await cloud.make("network")
    policy = await a_policy(cloud, is_default=True)
    again = {"policy": {"name": "q", "is_default": True}}
    await cloud.refused(409, "QoSPolicyDefaultAlreadyExists", "POST", POLICIES, again, token="p1.admin")
    assert (await cloud.make("network"))["qos_policy_id"] == policy["id"]
    assert (await cloud.make("network", qos_policy_id=None))["qos_policy_id"] is None
    assert (await cloud.make("network", token="p2.member"))["qos_policy_id"] is None
    assert (await cloud.show("network", before["id"]))["qos_policy_id"] is None


async def test_each_node_with_such_ports_is_told_once(cloud: Cloud) -> None:
    policy = await a_policy(cloud, shared=True)
    net = await cloud.make("network", qos_policy_id=policy["id"])
    own = await a_policy(cloud, shared=True)
    on = {"network_id": net["id"], "token": "p1.admin"}
    await cloud.make("port", **on, **{"binding:host_id": "n1"})
    await cloud.make("port", **on, **{"binding:host_id": "n2"}, qos_policy_id=own["id"])

    def told(node: str) -> dict[str, list[int]]:
        table = cloud.store.wanted(QOS_POLICIES, node)
        wants = [want for want in map(table.get, table.ids()) if want is not None]
        return {want.qos_policy.meta.id: [rule.spec.max_kbps for rule in want.rules] for want in wants}

    await until(lambda: told("n1") == {policy["id"]: []} and told("n2") == {own["id"]: []})
    await a_rule(cloud, policy, "bandwidth_limit", max_kbps=100)
    await until(lambda: told("n1") == {policy["id"]: [100]})
    await cloud.put("network", net["id"], qos_policy_id=None)
    await until(lambda: told("n1") == {} and told("n2") == {own["id"]: []})


async def test_types_are_what_living_nodes_can_do(cloud: Cloud) -> None:
    assert (await cloud.call("GET", "/qos/rule-types")).json() == {"rule_types": []}
    sign = node_pb2.Life(node="n1", agent="network")
    sign.detail["qos"] = ["bandwidth_limit", "dscp_marking", "minimum_bandwidth"]
    life = Life(cloud.store.etcd, Codec(), sign, ttl_s=5)
    alive = asyncio.create_task(life.hold(asyncio.Event()))
    try:
        await until(lambda: bool(cloud.store.lives()))
        listed = (await cloud.call("GET", "/qos/rule-types")).json()["rule_types"]
        assert listed == [{"type": "bandwidth_limit"}, {"type": "dscp_marking"}]
        supported = await cloud.call("GET", "/qos/rule-types?all_supported=true")
        assert supported.json()["rule_types"] == listed
        every = (await cloud.call("GET", "/qos/rule-types?all_rules=true")).json()["rule_types"]
        assert {"type": "minimum_bandwidth"} in every
        await cloud.refused(403, "PolicyNotAuthorized", "GET", "/qos/rule-types/bandwidth_limit")
        one = await cloud.call("GET", "/qos/rule-types/dscp_marking", token="p1.admin")
        (driver,) = one.json()["rule_type"]["drivers"]
        assert driver["supported_parameters"][0]["parameter_values"][:3] == [0, 8, 10]
        path = "/qos/rule-types/minimum_bandwidth"
        await cloud.refused(404, "QosRuleTypeNotFound", "GET", path, token="p1.admin")
    finally:
        alive.cancel()
        await asyncio.gather(alive, return_exceptions=True)


async def test_floating_ips_and_gateways_go_by_policies(cloud: Cloud) -> None:
    await begin(cloud, "n1")
    out = await a_way_out(cloud)
    policy = await a_policy(cloud, shared=True)
    rule = await a_rule(cloud, policy, "bandwidth_limit", max_kbps=1000)
    gateway = {"network_id": out.public["id"], "qos_policy_id": policy["id"]}
    router = await cloud.put("router", out.router["id"], external_gateway_info=gateway)
    assert router["external_gateway_info"]["qos_policy_id"] == policy["id"]
    port = await cloud.make("port", network_id=out.inner["id"])
    floating = await cloud.make(
        "floatingip", floating_network_id=out.public["id"], port_id=port["id"], qos_policy_id=policy["id"]
    )
    assert floating["qos_policy_id"] == policy["id"]

    def limits() -> list[int]:
        want = told(cloud, "n1", out.router["id"])
        return [rule.spec.max_kbps for known in want.qos_policies for rule in known.rules] if want else []

    await until(lambda: limits() == [1000])
    path = f"{POLICIES}/{policy['id']}"
    body = {"bandwidth_limit_rule": {"max_kbps": 2000}}
    await cloud.call("PUT", f"{path}/bandwidth_limit_rules/{rule['id']}", body, token="p1.admin")
    await until(lambda: limits() == [2000])
    await cloud.refused(409, "QosPolicyInUse", "DELETE", path, token="p1.admin")
    await cloud.put("router", out.router["id"], external_gateway_info={"network_id": out.public["id"]})
    await cloud.refused(409, "QosPolicyInUse", "DELETE", path, token="p1.admin")
    await cloud.put("floatingip", floating["id"], qos_policy_id=None)
    await until(lambda: limits() == [])
    await cloud.put("network", out.public["id"], qos_policy_id=policy["id"], token="p0.admin")
    await until(lambda: limits() == [2000])  # without its own it goes by its network's
    shown = await cloud.show("floatingip", floating["id"])
    assert (shown["qos_policy_id"], shown["qos_network_policy_id"]) == (None, policy["id"])
    await cloud.put("network", out.public["id"], qos_policy_id=None, token="p0.admin")
    await until(lambda: limits() == [])
    assert (await cloud.call("DELETE", path, token="p1.admin")).status_code == 204
