"""The segment that each network has."""

from typing import Any

from tests.functional.network.harness import Cloud

ADMIN = "p9.admin"


async def segments(cloud: Cloud, query: str = "", token: str = ADMIN) -> list[dict[str, Any]]:
    return await cloud.find("segment", query, token=token)


async def test_a_network_shows_its_segment(cloud: Cloud) -> None:
    network, other = [await cloud.make("network", name="n", token=ADMIN) for _ in range(2)]
    (found,) = await segments(cloud, f"network_id={network['id']}")
    assert found == {
        "id": found["id"],
        "name": None,
        "network_id": network["id"],
        "network_type": "vxlan",
        "physical_network": None,
        "segmentation_id": network["provider:segmentation_id"],
        "description": "",
        "revision_number": network["revision_number"],
        "created_at": network["created_at"],
        "updated_at": network["updated_at"],
    }
    assert await cloud.show("segment", found["id"], token=ADMIN) == found
    assert {s["network_id"] for s in await segments(cloud)} == {network["id"], other["id"]}
    assert len(await segments(cloud, f"segmentation_id={found['segmentation_id']}")) == 1
    assert await segments(cloud, "network_type=vlan") == []
    page = await segments(cloud, f"limit=1&marker={min(s['id'] for s in await segments(cloud))}&sort_key=id")
    assert [s["id"] for s in page] == [max(s["id"] for s in await segments(cloud))]
    await cloud.delete("network", network["id"], token=ADMIN)
    await cloud.refused(404, "SegmentNotFound", "GET", f"/segments/{found['id']}", token=ADMIN)
    assert [s["network_id"] for s in await segments(cloud)] == [other["id"]]


async def test_a_segment_has_a_name_and_a_description(cloud: Cloud) -> None:
    network = await cloud.make("network", name="n", description="net", token=ADMIN)
    (found,) = await segments(cloud)
    named = await cloud.put("segment", found["id"], name="rack 1", description="left", token=ADMIN)
    assert (named["name"], named["description"]) == ("rack 1", "left")
    assert named["revision_number"] > found["revision_number"]
    assert await segments(cloud, "name=rack 1") == [named]
    kept = await cloud.show("network", network["id"], token=ADMIN)
    assert (kept["name"], kept["description"]) == ("n", "net")
    cleared = await cloud.put("segment", found["id"], name=None, token=ADMIN)
    assert (cleared["name"], cleared["description"]) == (None, "left")
    path, body = f"/segments/{found['id']}", {"segment": {"segmentation_id": 7}}
    await cloud.refused(400, "HTTPBadRequest", "PUT", path, body, token=ADMIN)
    stale = {"If-Match": f"revision_number={found['revision_number']}"}
    renamed = {"segment": {"name": "x"}}
    await cloud.refused(
        412, "RevisionNumberConstraintFailed", "PUT", path, renamed, token=ADMIN, headers=stale
    )


async def test_a_network_has_no_more_and_no_less_than_one(cloud: Cloud) -> None:
    network = await cloud.make("network", name="n")
    (found,) = await segments(cloud)
    body = {"segment": {"network_id": network["id"], "network_type": "vlan", "segmentation_id": 7}}
    await cloud.refused(409, "NetworkHasSegment", "POST", "/segments", body, token=ADMIN)
    await cloud.refused(409, "SegmentInUse", "DELETE", f"/segments/{found['id']}", token=ADMIN)
    body["segment"]["network_id"] = found["id"]
    await cloud.refused(404, "NetworkNotFound", "POST", "/segments", body, token=ADMIN)
    await cloud.refused(403, "PolicyNotAuthorized", "POST", "/segments", body)
    await cloud.refused(404, "SegmentNotFound", "GET", f"/segments/{found['id']}")
    assert await segments(cloud, token="p1.member") == []


async def test_a_subnet_names_the_segment_of_its_network(cloud: Cloud) -> None:
    network, other = [await cloud.make("network", name="n", token=ADMIN) for _ in range(2)]
    (own,) = await segments(cloud, f"network_id={network['id']}")
    asked = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24", "segment_id": own["id"]}
    subnet = await cloud.make("subnet", token=ADMIN, **asked)
    assert subnet["segment_id"] == own["id"]
    assert [s["id"] for s in await cloud.find("subnet", f"segment_id={own['id']}")] == []
    assert len(await cloud.find("subnet", f"segment_id={own['id']}", token=ADMIN)) == 1
    path = f"/subnets/{subnet['id']}"
    cleared = {"subnet": {"segment_id": None}}
    await cloud.refused(400, "HTTPBadRequest", "PUT", path, cleared, token=ADMIN)
    elsewhere = {"subnet": asked | {"network_id": other["id"]}}
    await cloud.refused(400, "NetworkIdsDontMatch", "POST", "/subnets", elsewhere, token=ADMIN)
    unknown = {"subnet": asked | {"cidr": "10.0.1.0/24", "segment_id": network["id"]}}
    await cloud.refused(404, "SegmentNotFound", "POST", "/subnets", unknown, token=ADMIN)


async def test_a_network_is_made_of_a_list_of_one_segment(cloud: Cloud) -> None:
    vlan = {"provider:network_type": "vlan", "provider:physical_network": "lan"}
    tagged = vlan | {"provider:segmentation_id": 7}
    network = await cloud.make("network", name="n", segments=[tagged], token=ADMIN)
    assert network.items() >= tagged.items()
    plain = await cloud.make("network", name="n", segments=[], token=ADMIN)
    assert plain["provider:network_type"] == "vxlan"
    for kind, wrong in (
        ("HTTPBadRequest", {"segments": [tagged, tagged | {"provider:segmentation_id": 8}]}),
        ("HTTPBadRequest", {"segments": [{"name": "x"}]}),
        ("HTTPBadRequest", {"segments": "x"}),
        ("SegmentsSetInConjunctionWithProviders", {"segments": [tagged]} | vlan),
    ):
        await cloud.refused(400, kind, "POST", "/networks", {"network": {"name": "n"} | wrong}, token=ADMIN)
    mine = {"network": {"name": "n", "segments": [tagged]}}
    await cloud.refused(403, "PolicyNotAuthorized", "POST", "/networks", mine)
