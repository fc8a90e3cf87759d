"""Trunks: their ports, what they refuse, and where they are."""

from typing import Any

from fabric.network.collection import PORTS, TRUNKS
from tests.functional.network.harness import Cloud, until


async def a_port(cloud: Cloud, **attributes: Any) -> dict[str, Any]:
    return await cloud.make("port", network_id=(await cloud.make("network"))["id"], **attributes)


def tagged(port: dict[str, Any], tag: int) -> dict[str, Any]:
    return {"port_id": port["id"], "segmentation_type": "vlan", "segmentation_id": tag}


async def test_ports_join_and_part(cloud: Cloud) -> None:
    parent, one, two = [await a_port(cloud) for _ in range(3)]
    trunk = await cloud.make("trunk", port_id=parent["id"], sub_ports=[tagged(one, 2)])
    assert (trunk["status"], trunk["admin_state_up"]) == ("DOWN", True)
    assert trunk["sub_ports"] == [tagged(one, 2)]
    shown = await cloud.show("port", parent["id"])
    details = [{**tagged(one, 2), "mac_address": one["mac_address"]}]
    assert shown["trunk_details"] == {"trunk_id": trunk["id"], "sub_ports": details}
    joined = await cloud.show("port", one["id"])
    assert (joined["device_owner"], joined["trunk_details"]) == ("trunk:subport", None)
    path = f"/trunks/{trunk['id']}"
    added = await cloud.call("PUT", f"{path}/add_subports", {"sub_ports": [tagged(two, 4)]})
    assert added.json()["sub_ports"] == [tagged(one, 2), tagged(two, 4)]
    removed = await cloud.call("PUT", f"{path}/remove_subports", {"sub_ports": [{"port_id": one["id"]}]})
    assert removed.json()["sub_ports"] == [tagged(two, 4)]
    assert (await cloud.call("GET", f"{path}/get_subports")).json() == {"sub_ports": [tagged(two, 4)]}
    assert (await cloud.show("port", one["id"]))["device_owner"] == ""
    await cloud.refused(409, "PortInUseAsTrunkParent", "DELETE", f"/ports/{parent['id']}")
    await cloud.refused(409, "PortInUseAsSubPort", "DELETE", f"/ports/{two['id']}")
    await cloud.delete("trunk", trunk["id"])
    await cloud.delete("port", parent["id"])
    await cloud.delete("port", two["id"])


async def test_what_trunks_refuse(cloud: Cloud) -> None:
    parent, one, two = [await a_port(cloud) for _ in range(3)]
    trunk = await cloud.make("trunk", port_id=parent["id"], sub_ports=[tagged(one, 2)])
    add, remove = f"/trunks/{trunk['id']}/add_subports", f"/trunks/{trunk['id']}/remove_subports"
    for status, kind, sub_ports in (
        (409, "DuplicateSubPort", [tagged(two, 2)]),
        (409, "PortInUse", [tagged(one, 3)]),
        (409, "PortInUse", [tagged(parent, 3)]),
        (404, "PortNotFound", [{**tagged(two, 3), "port_id": "7c1d5a6a-0c55-4f2e-9f0a-59e7b5f6a001"}]),
        (400, "InvalidInput", [{"port_id": two["id"], "segmentation_type": "vlan"}]),
        (400, "InvalidInput", [{"port_id": two["id"], "segmentation_id": 3}]),
        (400, "InvalidInput", [{"port_id": two["id"], "segmentation_type": "inherit"}]),
        (400, "InvalidInput", [tagged(two, 3), tagged(two, 4)]),
        (400, "HTTPBadRequest", [{"segmentation_type": "vlan", "segmentation_id": 3}]),
        (400, "HTTPBadRequest", tagged(two, 3)),
    ):
        await cloud.refused(status, kind, "PUT", add, {"sub_ports": sub_ports})
    await cloud.refused(404, "SubPortNotFound", "PUT", remove, {"sub_ports": [tagged(two, 2)]})
    again = {"trunk": {"port_id": parent["id"]}}
    await cloud.refused(409, "PortInUse", "POST", "/trunks", again)
    twice = {"trunk": {"port_id": "nobody", "sub_ports": [tagged(one, 2), tagged(two, 2)]}}
    await cloud.refused(400, "InvalidInput", "POST", "/trunks", twice)
    small = await cloud.make("network", mtu=1300)
    narrow = await cloud.make("port", network_id=small["id"])
    too_large = {"trunk": {"port_id": narrow["id"], "sub_ports": [tagged(two, 3)]}}
    await cloud.refused(409, "SubPortMtuGreaterThanTrunkPortMtu", "POST", "/trunks", too_large)
    await cloud.put("trunk", trunk["id"], admin_state_up=False)
    await cloud.refused(409, "TrunkDisabled", "PUT", add, {"sub_ports": [tagged(two, 3)]})
    await cloud.refused(409, "TrunkDisabled", "DELETE", f"/trunks/{trunk['id']}")
    await cloud.refused(404, "TrunkNotFound", "GET", f"/trunks/{trunk['id']}", token="p2.member")


async def test_all_of_a_trunk_is_where_its_parent_is(cloud: Cloud) -> None:
    parent, one = [await a_port(cloud) for _ in range(2)]
    trunk = await cloud.make("trunk", port_id=parent["id"], sub_ports=[tagged(one, 2)])

    def nodes() -> tuple[str, str, set[str]]:
        found, port = cloud.store.get(TRUNKS, trunk["id"]), cloud.store.get(PORTS, one["id"])
        return found.node, port.spec.node, set(cloud.store.wanted(TRUNKS, "n1").ids())

    await cloud.put("port", parent["id"], token="p1.admin", **{"binding:host_id": "n1"})
    await until(lambda: nodes() == ("n1", "n1", {trunk["id"]}))
    await cloud.put("port", parent["id"], token="p1.admin", **{"binding:host_id": ""})
    await until(lambda: nodes() == ("", "", set()))
