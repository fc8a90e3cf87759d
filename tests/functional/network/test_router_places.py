"""Where routers live: chosen, told, moved, let go."""

import asyncio
import time
from collections.abc import Callable

from fabric.network.absence import PATIENCE
from fabric.network.collection import NETWORKS, PORTS, ROUTERS, agent_id
from fabric.network.v1 import router_pb2
from tests.functional.network.harness import Cloud
from tests.functional.network.nodes import begin, end, report, told
from tests.functional.network.outside import ADMIN, a_public_network, a_way_out, interface

State = router_pb2.RouterStatus


async def until(true: Callable[[], object], wait_s: float = 30.0) -> None:
    async with asyncio.timeout(wait_s):
        while not true():
            await asyncio.sleep(0.02)


def _node(cloud: Cloud, router_id: str) -> str:
    found = cloud.store.find(ROUTERS, router_id)
    return found.node if found is not None else ""


async def test_a_router_is_told_to_the_least_loaded_node(cloud: Cloud) -> None:
    await begin(cloud, "n1", "n2")
    routers = [await cloud.make("router", name=f"r{n}") for n in range(2)]
    await until(lambda: all(_node(cloud, router["id"]) for router in routers))
    out = await a_way_out(cloud)
    node = ""

    def complete() -> bool:
        nonlocal node
        node = _node(cloud, out.router["id"])
        want = told(cloud, node, out.router["id"]) if node else None
        return want is not None and len(want.ports) == 2

    await until(complete)
    want = told(cloud, node, out.router["id"])
    assert want is not None
    assert sorted((port.gateway, port.snat) for port in want.ports) == [(False, False), (True, True)]
    assert {port.port.spec.node for port in want.ports} == {node}
    assert {s.spec.cidr for port in want.ports for s in port.subnets} == {"10.1.0.0/24", "172.24.4.0/24"}
    await until(lambda: cloud.store.wanted(NETWORKS, node).get(out.inner["id"]) is not None)
    port = await cloud.make("port", network_id=out.inner["id"])
    floating = await cloud.make("floatingip", floating_network_id=out.public["id"], port_id=port["id"])

    def translated() -> list[str]:
        want = told(cloud, node, out.router["id"])
        return [ip.spec.floating_ip_address for ip in want.floating_ips] if want else []

    await until(lambda: translated() == [floating["floating_ip_address"]])
    assert (await cloud.show("router", out.router["id"]))["status"] == "ACTIVE"
    assert (await cloud.show("floatingip", floating["id"]))["status"] == "DOWN"
    await report(cloud, node, out.router["id"], state=State.STATE_ACTIVE)
    assert (await cloud.show("router", out.router["id"]))["status"] == "ACTIVE"
    assert (await cloud.show("floatingip", floating["id"]))["status"] == "ACTIVE"
    await report(cloud, node, out.router["id"], state=State.STATE_DOWN)
    assert (await cloud.show("router", out.router["id"]))["status"] == "ACTIVE"
    await cloud.delete("port", port["id"])
    await until(lambda: translated() == [])


async def test_a_router_leaves_a_dead_node_and_stays_on_one_that_comes_back_at_once(cloud: Cloud) -> None:
    await begin(cloud, "n1")
    out = await a_way_out(cloud)
    await until(lambda: (want := told(cloud, "n1", out.router["id"])) and len(want.ports) == 2)
    await begin(cloud, "n2")
    since = time.monotonic()
    await end(cloud, "n1")
    await begin(cloud, "n1")
    router, away_s = cloud.store.get(ROUTERS, out.router["id"]), time.monotonic() - since
    await end(cloud, "n1")
    await until(lambda: told(cloud, "n2", out.router["id"]))
    assert told(cloud, "n1", out.router["id"]) is None
    assert router.node == "n1" or away_s > PATIENCE.total_seconds()  # the machine stood still
    ports = cloud.store.table(PORTS).by("device", out.router["id"])
    assert {port.spec.node for port in ports} == {"n2"}
    assert not [id_ for id_ in cloud.store.wanted(PORTS, "n1").ids() if id_ in {p.meta.id for p in ports}]


async def test_a_router_that_is_not_highly_available_waits_for_its_node(cloud: Cloud) -> None:
    await begin(cloud, "n1")
    waits, moves = [await cloud.make("router", token=ADMIN, ha=ha) for ha in (False, True)]
    await until(lambda: told(cloud, "n1", waits["id"]) and told(cloud, "n1", moves["id"]))
    await begin(cloud, "n2")
    await end(cloud, "n1")
    await until(lambda: told(cloud, "n2", moves["id"]))
    assert (_node(cloud, waits["id"]), told(cloud, "n2", waits["id"])) == ("n1", None)
    await cloud.put("router", waits["id"], token=ADMIN, ha=True)
    await until(lambda: told(cloud, "n2", waits["id"]))


async def test_a_router_needs_a_node_with_its_physical_network(cloud: Cloud) -> None:
    await begin(cloud, "n1", physical=())
    await begin(cloud, "n2", "n3", physical=("public",))
    public = await a_public_network(cloud)
    shown = await cloud.show("network", public["id"], token=ADMIN)
    assert (shown["provider:network_type"], shown["provider:physical_network"]) == ("flat", "public")
    assert shown["mtu"] == 1500
    second = await cloud.make("network", token=ADMIN, name="second", **{"router:external": True})
    assert second["provider:network_type"] == "vxlan"
    plain = await cloud.make("router")
    await until(lambda: _node(cloud, plain["id"]) == "n1")
    await cloud.put("router", plain["id"], external_gateway_info={"network_id": public["id"]})
    await until(lambda: _node(cloud, plain["id"]) in ("n2", "n3"))
    await end(cloud, "n2", "n3")
    waiting = await cloud.make("router", external_gateway_info={"network_id": public["id"]})
    assert _node(cloud, waiting["id"]) == ""
    await begin(cloud, "n2", physical=("public",))
    await until(lambda: {_node(cloud, router["id"]) for router in (plain, waiting)} == {"n2"})


async def test_zones_and_what_administrators_say(cloud: Cloud) -> None:
    await begin(cloud, "n1", zone="east")
    await begin(cloud, "n2", zone="west")
    await cloud.refused(
        404, "AvailabilityZoneNotFound", "POST", "/routers", {"router": {"availability_zone_hints": ["up"]}}
    )
    router = await cloud.make("router", availability_zone_hints=["west"])
    await until(lambda: _node(cloud, router["id"]) == "n2")
    agents = {agent_id(node, "l3"): node for node in ("n1", "n2")}

    async def hosts() -> list[str]:
        reply = await cloud.call("GET", f"/routers/{router['id']}/l3-agents", token=ADMIN)
        return [agents[agent["id"]] for agent in reply.json()["agents"]]

    async with asyncio.timeout(30):
        while await hosts() != ["n2"]:
            await asyncio.sleep(0.02)
    assert (await cloud.show("router", router["id"]))["availability_zones"] == ["west"]
    path = f"/agents/{agent_id('n1')}/l3-routers"
    body = {"router_id": router["id"]}
    await cloud.refused(404, "AgentNotFound", "POST", path, body)
    assert (await cloud.call("POST", path, body, token=ADMIN)).status_code == 201
    assert await hosts() == ["n1"]
    listed = (await cloud.call("GET", path, token=ADMIN)).json()["routers"]
    assert [found["id"] for found in listed] == [router["id"]]
    assert (await cloud.call("DELETE", f"{path}/{router['id']}", token=ADMIN)).status_code == 204
    await begin(cloud, "n3", zone="west")
    assert (await hosts(), told(cloud, "n1", router["id"])) == ([], None)
    assert (await cloud.call("POST", path, body, token=ADMIN)).status_code == 201
    assert await hosts() == ["n1"]
    path = f"/agents/{agent_id('n2')}/l3-routers"
    await cloud.refused(409, "RouterNotHostedByL3Agent", "DELETE", f"{path}/{router['id']}", token=ADMIN)


async def test_a_router_goes_when_its_node_is_rid_of_it_or_dead(cloud: Cloud) -> None:
    await begin(cloud, "n1")
    one, two = [await cloud.make("router", name=f"r{n}") for n in range(2)]
    await until(lambda: told(cloud, "n1", one["id"]) and told(cloud, "n1", two["id"]))
    for router in (one, two):
        await cloud.delete("router", router["id"])
        await cloud.refused(404, "RouterNotFound", "GET", f"/routers/{router['id']}")
    await until(lambda: (want := told(cloud, "n1", one["id"])) and want.router.meta.HasField("delete_time"))
    await report(cloud, "n1", one["id"], released=True)
    await until(lambda: cloud.store.find(ROUTERS, one["id"]) is None)
    assert told(cloud, "n1", one["id"]) is None
    assert cloud.store.find(ROUTERS, two["id"]) is not None
    await end(cloud, "n1")
    await until(lambda: cloud.store.find(ROUTERS, two["id"]) is None)
    assert told(cloud, "n1", two["id"]) is None


async def test_an_interface_that_is_added_during_a_move_moves_too(cloud: Cloud) -> None:
    await begin(cloud, "n1", "n2")
    router = await cloud.make("router")
    await until(lambda: _node(cloud, router["id"]))
    subnets = [(await cloud.network(f"10.{n}.0.0/24"))[1][0] for n in range(1, 6)]
    path = f"/agents/{agent_id('n1')}/l3-routers"
    await cloud.call("POST", path, {"router_id": router["id"]}, token=ADMIN)
    await asyncio.gather(
        *(interface(cloud, router, token=f"p{n}.admin", subnet_id=s["id"]) for n, s in enumerate(subnets)),
        cloud.call(
            "POST", f"/agents/{agent_id('n2')}/l3-routers", {"router_id": router["id"]}, token="p9.admin"
        ),
    )
    ports = cloud.store.table(PORTS).by("device", router["id"])
    assert {port.spec.node for port in ports} == {_node(cloud, router["id"])}
    assert len(ports) == 5
