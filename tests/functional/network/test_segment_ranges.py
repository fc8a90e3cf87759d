"""VNIs that are set aside for a project."""

from typing import Any

from tests.functional.network.harness import Cloud

ADMIN = "p9.admin"
VXLAN = {"network_type": "vxlan", "physical_network": ""}


async def a_range(cloud: Cloud, minimum: int, maximum: int, **attributes: Any) -> dict[str, Any]:
    asked = {"name": "r", "minimum": minimum, "maximum": maximum, **VXLAN, **attributes}
    return await cloud.make("network_segment_range", token=ADMIN, **asked)


async def test_a_projects_networks_take_of_its_range_first(cloud: Cloud) -> None:
    made = await a_range(cloud, 1100, 1102, shared=False, project_id="p1")
    assert (made["default"], made["shared"], made["project_id"]) == (False, False, "p1")
    assert (made["used"], made["available"]) == ({}, [1100, 1101, 1102])
    networks = [await cloud.make("network", name="n", token="p1.admin") for _ in range(3)]
    vnis = {network["provider:segmentation_id"] for network in networks}
    assert vnis == {1100, 1101, 1102}
    fourth = await cloud.make("network", name="n", token="p1.admin")
    assert not 1100 <= fourth["provider:segmentation_id"] <= 1102
    shown = await cloud.show("network_segment_range", made["id"], token=ADMIN)
    assert (shown["used"], shown["available"]) == ({str(vni): "p1" for vni in sorted(vnis)}, [])
    path, kind = f"/network-segment-ranges/{made['id']}", "NetworkSegmentRangeReferencedByProject"
    await cloud.refused(409, kind, "DELETE", path, token=ADMIN)
    smaller = {"network_segment_range": {"minimum": 1101}}
    await cloud.refused(409, kind, "PUT", path, smaller, token=ADMIN)
    wider = await cloud.put("network_segment_range", made["id"], minimum=1050, name="s", token=ADMIN)
    assert (wider["minimum"], wider["maximum"], wider["name"]) == (1050, 1102, "s")
    for network in networks:
        await cloud.delete("network", network["id"], token="p1.admin")
    await cloud.delete("network_segment_range", made["id"], token=ADMIN)
    assert await cloud.find("network_segment_range", token=ADMIN) == []


async def test_ranges_that_cannot_be(cloud: Cloud) -> None:
    await a_range(cloud, 100, 200)
    path = "/network-segment-ranges"
    good = {"name": "r", "shared": True, "minimum": 300, "maximum": 400, **VXLAN}
    for status, kind, change in (
        (409, "NetworkSegmentRangeOverlaps", {"minimum": 150}),
        (400, "BadRequest", {"minimum": 500}),
        (400, "InvalidInput", {"network_type": "vlan"}),
        (400, "InvalidInput", {"project_id": "p1"}),
        (400, "InvalidInput", {"physical_network": "lan"}),
    ):
        body = {"network_segment_range": good | change}
        await cloud.refused(status, kind, "POST", path, body, token=ADMIN)
    await cloud.refused(403, "PolicyNotAuthorized", "POST", path, {"network_segment_range": good})
    for spelled in (path, "/network_segment_ranges"):
        assert (await cloud.call("GET", spelled)).json() == {"network_segment_ranges": []}
        assert len((await cloud.call("GET", spelled, token=ADMIN)).json()["network_segment_ranges"]) == 1
