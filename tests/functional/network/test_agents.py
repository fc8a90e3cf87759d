"""Agents in their roles, and which of them serve a network."""

import asyncio
from typing import Any

from fabric.network.collection import AGENTS, NETWORKS
from fabric.network.v1 import network_pb2
from tests.functional.network.harness import Cloud, until
from tests.functional.network.nodes import begin, end

ADMIN = "p9.admin"


async def agents(cloud: Cloud, query: str = "") -> list[dict[str, Any]]:
    return (await cloud.call("GET", f"/agents?{query}", token=ADMIN)).json()["agents"]  # type: ignore[no-any-return]


async def recorded(cloud: Cloud, *nodes: str) -> None:
    await begin(cloud, *nodes)
    await until(lambda: {agent.spec.node for agent in cloud.store.table(AGENTS)} == set(nodes))


async def test_a_node_has_an_agent_for_each_role(cloud: Cloud) -> None:
    await recorded(cloud, "n1")
    found = await agents(cloud)
    assert {agent["agent_type"] for agent in found} == {"Fabric agent", "DHCP agent", "L3 agent"}
    assert {agent["host"] for agent in found} == {"n1"}
    assert len({agent["id"] for agent in found}) == 3
    (dhcp,) = await agents(cloud, "agent_type=DHCP Agent")  # as Tempest asks
    assert (await cloud.show("agent", dhcp["id"], token=ADMIN))["agent_type"] == "DHCP agent"
    assert await agents(cloud, "agent_type=Open vSwitch agent") == []
    changed = await cloud.put("agent", dhcp["id"], description="d", token=ADMIN)
    assert (changed["id"], changed["description"]) == (dhcp["id"], "d")
    await cloud.refused(404, "AgentNotFound", "GET", "/agents/nobody", token=ADMIN)
    await cloud.refused(404, "AgentNotFound", "GET", f"/agents/{dhcp['id']}")
    await cloud.refused(409, "AgentInUse", "DELETE", f"/agents/{dhcp['id']}", token=ADMIN)
    async with asyncio.timeout(30):
        while (await agents(cloud))[0]["heartbeat_timestamp"] == found[0]["heartbeat_timestamp"]:
            await asyncio.sleep(0.1)
    await end(cloud, "n1")
    await cloud.delete("agent", dhcp["id"], token=ADMIN)
    assert await agents(cloud) == []


async def test_a_node_with_ports_serves_their_network_unless_it_is_taken_off(cloud: Cloud) -> None:
    await recorded(cloud, "n1", "n2")
    network, _ = await cloud.network("10.1.0.0/24")
    bound = {"network_id": network["id"], "binding:host_id": "n1"}
    await cloud.make("port", **bound, token=ADMIN)

    def served() -> bool | None:
        want: network_pb2.NetworkWant | None = cloud.store.wanted(NETWORKS, "n1").get(network["id"])
        return None if want is None else want.HasField("dhcp_port")

    await until(lambda: served() is True)
    by_host = {agent["host"]: agent for agent in await agents(cloud, "agent_type=DHCP agent")}
    path, placed = f"/networks/{network['id']}/dhcp-agents", f"/agents/{by_host['n1']['id']}/dhcp-networks"

    async def hosts() -> set[str]:
        return {a["host"] for a in (await cloud.call("GET", path, token=ADMIN)).json()["agents"]}

    assert await hosts() == {"n1"}
    body = {"network_id": network["id"]}
    await cloud.refused(409, "NetworkHostedByDHCPAgent", "POST", placed, body, token=ADMIN)
    gone = f"{placed}/{network['id']}"
    assert (await cloud.call("DELETE", gone, token=ADMIN)).status_code == 204
    await until(lambda: served() is False)
    assert await hosts() == {"n2"}
    assert (await cloud.call("GET", placed, token=ADMIN)).json() == {"networks": []}
    await cloud.refused(409, "NetworkNotHostedByDhcpAgent", "DELETE", gone, token=ADMIN)
    assert (await cloud.call("POST", placed, body, token=ADMIN)).status_code == 201
    await until(lambda: served() is True)
    listed = (await cloud.call("GET", placed, token=ADMIN)).json()["networks"]
    assert [found["id"] for found in listed] == [network["id"]]
    await cloud.refused(404, "AgentNotFound", "DELETE", gone)
