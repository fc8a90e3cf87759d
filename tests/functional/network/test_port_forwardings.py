"""Port forwardings: several ports behind one address."""

from typing import Any

from fabric.network.collection import PORT_FORWARDINGS
from tests.functional.network.harness import Cloud
from tests.functional.network.outside import Outside, a_way_out

Forwarding = dict[str, Any]


async def _forward(cloud: Cloud, floating: Forwarding, **asked: Any) -> Forwarding:
    path = f"/floatingips/{floating['id']}/port_forwardings"
    reply = await cloud.call("POST", path, {"port_forwarding": {"protocol": "tcp"} | asked})
    assert reply.status_code == 201, reply.text
    made: Forwarding = reply.json()["port_forwarding"]
    return made


async def _inside(cloud: Cloud, out: Outside) -> Forwarding:
    port = await cloud.make("port", network_id=out.inner["id"])
    return {
        "internal_port_id": port["id"],
        "internal_ip_address": port["fixed_ips"][0]["ip_address"],
    }


async def test_a_port_forwarding_from_its_making_to_its_end(cloud: Cloud) -> None:
    out = await a_way_out(cloud)
    floating = await cloud.make("floatingip", floating_network_id=out.public["id"])
    inside = await _inside(cloud, out)
    path = f"/floatingips/{floating['id']}/port_forwardings"
    made = await _forward(cloud, floating, internal_port=22, external_port="2222", description="d", **inside)
    assert (made["internal_port"], made["external_port"], made["protocol"]) == (22, 2222, "tcp")
    assert (made["external_port_range"], made["description"]) == ("2222:2222", "d")
    assert (await cloud.call("GET", path)).json()["port_forwardings"] == [made]
    shown = await cloud.show("floatingip", floating["id"])
    assert shown["router_id"] == out.router["id"]
    (brief,) = shown["port_forwardings"]
    assert brief == {
        "id": made["id"],
        "protocol": "tcp",
        "external_port": 2222,
        "internal_port": 22,
        **inside,
    }
    several = await _forward(
        cloud, floating, internal_port_range="100:109", external_port_range="3000:3009", **inside
    )
    assert (several["external_port"], several["external_port_range"]) == (None, "3000:3009")
    item = f"{path}/{made['id']}"
    changed = await cloud.call("PUT", item, {"port_forwarding": {"internal_port": 23}})
    assert changed.json()["port_forwarding"] == made | {
        "internal_port": 23,
        "internal_port_range": "23:23",
    }
    await cloud.refused(409, "FipInUseByPortForwarding", "DELETE", f"/floatingips/{floating['id']}")
    for id_ in (made["id"], several["id"]):
        assert (await cloud.call("DELETE", f"{path}/{id_}")).status_code == 204
    await cloud.refused(404, "PortForwardingNotFound", "GET", item)
    assert (await cloud.show("floatingip", floating["id"]))["router_id"] is None
    await cloud.delete("floatingip", floating["id"])


async def test_what_cannot_be_forwarded(cloud: Cloud) -> None:
    out = await a_way_out(cloud)
    floating = await cloud.make("floatingip", floating_network_id=out.public["id"])
    inside, other = await _inside(cloud, out), await _inside(cloud, out)
    path = f"/floatingips/{floating['id']}/port_forwardings"
    await _forward(cloud, floating, internal_port=22, external_port=2222, **inside)

    async def refused(status: int, kind: str, **asked: Any) -> None:
        body = {"protocol": "tcp", "internal_port": 1, "external_port": 1} | inside | asked
        await cloud.refused(status, kind, "POST", path, {"port_forwarding": body})

    await refused(400, "BadRequest", external_port=2222, **other)
    await refused(400, "BadRequest", internal_port=22)
    await refused(400, "BadRequest", protocol="esp")
    await refused(400, "BadRequest", external_port=None, external_port_range="2000:3000", **other)
    await refused(400, "HTTPBadRequest", external_port=70000)
    await refused(400, "BadRequest", internal_ip_address="10.1.0.1")
    await refused(400, "HTTPBadRequest", external_port_range="1:2")
    used = await cloud.make(
        "floatingip", floating_network_id=out.public["id"], port_id=other["internal_port_id"]
    )
    await refused(409, "PortHasBindingFloatingIP", **other)
    body = {"port_forwarding": {"protocol": "udp", "internal_port": 1, "external_port": 1} | inside}
    await cloud.refused(
        409,
        "FloatingIPPortAlreadyAssociated",
        "POST",
        f"/floatingips/{used['id']}/port_forwardings",
        body,
    )
    lead = {"floatingip": {"port_id": inside["internal_port_id"]}}
    await cloud.refused(409, "PortHasPortForwarding", "PUT", f"/floatingips/{used['id']}", lead)
    await cloud.refused(404, "FloatingIPNotFound", "POST", path, body, token="p2.member")
    assert (await cloud.call("GET", path, token="p2.member")).json()["port_forwardings"] == []


async def test_a_port_that_goes_takes_its_forwardings(cloud: Cloud) -> None:
    out = await a_way_out(cloud)
    floating = await cloud.make("floatingip", floating_network_id=out.public["id"])
    inside, other = await _inside(cloud, out), await _inside(cloud, out)
    await _forward(cloud, floating, internal_port=22, external_port=2222, **inside)
    await _forward(cloud, floating, internal_port=22, external_port=2223, **other)
    await cloud.delete("port", inside["internal_port_id"])
    assert len(cloud.store.table(PORT_FORWARDINGS)) == 1
    assert (await cloud.show("floatingip", floating["id"]))["router_id"] == out.router["id"]
    await cloud.delete("port", other["internal_port_id"])
    assert (await cloud.show("floatingip", floating["id"]))["router_id"] is None
