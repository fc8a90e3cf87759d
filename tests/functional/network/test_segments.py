"""The segments that networks have."""

from typing import Any

from fabric.network.collection import NETWORKS
from tests.functional.network.harness import Cloud, until
from tests.functional.network.nodes import begin

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


async def test_a_segment_comes_and_goes(cloud: Cloud) -> None:
    network, other = [await cloud.make("network", name="n", token=ADMIN) for _ in range(2)]
    (first,) = await segments(cloud, f"network_id={network['id']}")
    asked = {"network_id": network["id"], "network_type": "vlan", "physical_network": "lan"}
    added = await cloud.make(
        "segment", name="rack", description="left", token=ADMIN, segmentation_id=7, **asked
    )
    assert added.items() >= (asked | {"name": "rack", "description": "left", "segmentation_id": 7}).items()
    assert await cloud.show("segment", added["id"], token=ADMIN) == added
    kept = await cloud.put("segment", first["id"], name="first", token=ADMIN)
    assert kept["created_at"] == first["created_at"]
    known = await segments(cloud, f"network_id={network['id']}")
    assert {s["id"] for s in known} == {first["id"], added["id"]}
    for status, kind, wrong in (
        (409, "VlanIdInUse", {"segmentation_id": 7}),
        (409, "VlanIdInUse", {"segmentation_id": 7, "network_id": other["id"]}),
        (400, "InvalidInput", {"segmentation_id": 4095}),
        (400, "InvalidInput", {"network_type": "geneve", "segmentation_id": 8}),
        (400, "InvalidInput", {"network_type": "flat", "physical_network": None}),
        (404, "NetworkNotFound", {"network_id": first["id"]}),
    ):
        await cloud.refused(status, kind, "POST", "/segments", {"segment": asked | wrong}, token=ADMIN)
    await cloud.refused(403, "PolicyNotAuthorized", "POST", "/segments", {"segment": asked})
    await cloud.refused(404, "SegmentNotFound", "GET", f"/segments/{first['id']}")
    assert await segments(cloud, token="p1.member") == []
    await cloud.delete("segment", first["id"], token=ADMIN)
    shown = await cloud.show("network", network["id"], token=ADMIN)
    assert shown["provider:network_type"] == "vlan"
    assert shown["provider:segmentation_id"] == 7
    await cloud.refused(409, "SegmentInUse", "DELETE", f"/segments/{added['id']}", token=ADMIN)
    vni = {"network_type": "vxlan", "segmentation_id": first["segmentation_id"]}
    await cloud.make("segment", token=ADMIN, network_id=other["id"], **vni)
    await cloud.delete("network", network["id"], token=ADMIN)
    await cloud.make("segment", token=ADMIN, segmentation_id=7, **asked | {"network_id": other["id"]})


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


async def test_a_network_is_made_of_a_list_of_segments(cloud: Cloud) -> None:
    vlan = {"provider:network_type": "vlan", "provider:physical_network": "lan"}
    tagged = vlan | {"provider:segmentation_id": 7}
    network = await cloud.make("network", name="n", segments=[tagged], token=ADMIN)
    assert network.items() >= tagged.items()
    assert "segments" not in network
    plain = await cloud.make("network", name="n", segments=[], token=ADMIN)
    assert plain["provider:network_type"] == "vxlan"
    flat = {"provider:network_type": "flat", "provider:physical_network": "other"}
    vxlan = {"provider:network_type": "vxlan"}
    several = await cloud.make("network", name="n", segments=[flat, vxlan, vxlan], token=ADMIN)
    assert not {name for name in several if name.startswith("provider:")}
    assert [s["provider:network_type"] for s in several["segments"]] == ["flat", "vxlan", "vxlan"]
    assert len({s["provider:segmentation_id"] for s in several["segments"]}) == 3
    assert several["mtu"] == 1450
    assert "segments" not in await cloud.show("network", (await cloud.make("network", name="m"))["id"])
    known = await segments(cloud, f"network_id={several['id']}")
    assert sorted(s["network_type"] for s in known) == ["flat", "vxlan", "vxlan"]
    for status, kind, wrong in (
        (400, "SegmentsContainDuplicateEntry", {"segments": [flat, flat]}),
        (400, "HTTPBadRequest", {"segments": [{"name": "x"}]}),
        (400, "HTTPBadRequest", {"segments": "x"}),
        (400, "InvalidInput", {"segments": [vxlan, {}]}),
        (400, "SegmentsSetInConjunctionWithProviders", {"segments": [tagged]} | vlan),
        (409, "FlatNetworkInUse", {"segments": [vxlan, flat]}),
        (409, "VlanIdInUse", tagged),
    ):
        body = {"network": {"name": "n"} | wrong}
        await cloud.refused(status, kind, "POST", "/networks", body, token=ADMIN)
    mine = {"network": {"name": "n", "segments": [tagged]}}
    await cloud.refused(403, "PolicyNotAuthorized", "POST", "/networks", mine)


RACKS = [
    {"provider:network_type": "flat", "provider:physical_network": "rack1"},
    {"provider:network_type": "vlan", "provider:physical_network": "rack2", "provider:segmentation_id": 9},
]


async def racks(cloud: Cloud) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """A network with a segment and a subnet for each rack; the subnets by rack."""
    network = await cloud.make("network", name="routed", segments=RACKS, mtu=1450, shared=True, token=ADMIN)
    found = {}
    for number, known in enumerate(await segments(cloud, f"network_id={network['id']}"), 1):
        asked = {"network_id": network["id"], "ip_version": 4, "cidr": f"10.0.{number}.0/24"}
        subnet = await cloud.make("subnet", token=ADMIN, segment_id=known["id"], **asked)
        found[known["physical_network"]] = subnet
    return network, found


async def bound(cloud: Cloud, network: dict[str, Any], node: str) -> dict[str, Any]:
    return await cloud.make("port", network_id=network["id"], token=ADMIN, **{"binding:host_id": node})


async def test_a_node_is_told_the_segment_that_it_reaches(cloud: Cloud) -> None:
    await begin(cloud, "n1", physical=("rack1",))
    await begin(cloud, "n2", physical=("rack2", "other"))
    network, subnets = await racks(cloud)
    for node in ("n1", "n2"):
        await bound(cloud, network, node)

    def told(node: str) -> tuple[str, int, list[str], list[str]] | None:
        want = cloud.store.wanted(NETWORKS, node).get(network["id"])
        if want is None:
            return None
        spec, dhcp = want.network.spec, want.dhcp_port.spec
        known = [subnet.meta.id for subnet in want.subnets]
        return spec.physical_network, spec.segmentation_id, known, [ip.subnet_id for ip in dhcp.fixed_ips]

    one, two = [subnets[rack]["id"] for rack in ("rack1", "rack2")]
    await until(lambda: told("n1") == ("rack1", 0, [one], [one]))
    await until(lambda: told("n2") == ("rack2", 9, [two], [two]))
    await begin(cloud, "n2", physical=())
    third = await cloud.make("segment", network_id=network["id"], network_type="vxlan", token=ADMIN)
    await until(lambda: told("n2") == ("", third["segmentation_id"], [], []))
    for known in await segments(cloud, f"network_id={network['id']}"):  # of ports, or of subnets
        await cloud.refused(409, "SegmentInUse", "DELETE", f"/segments/{known['id']}", token=ADMIN)


async def test_addresses_are_of_the_segment_that_the_node_uses(cloud: Cloud) -> None:
    await begin(cloud, "n1", physical=("rack1",))
    await begin(cloud, "n2", physical=("rack2",))
    await begin(cloud, "n3", physical=())
    network, subnets = await racks(cloud)
    assert (await cloud.show("network", network["id"]))["l2_adjacency"] is False

    def subnet_of(port: dict[str, Any]) -> list[str]:
        return [fixed["subnet_id"] for fixed in port["fixed_ips"]]

    there = await bound(cloud, network, "n2")
    assert (subnet_of(there), there["ip_allocation"]) == ([subnets["rack2"]["id"]], "immediate")
    port = await cloud.make("port", network_id=network["id"])
    assert (port["fixed_ips"], port["ip_allocation"]) == ([], "deferred")
    path, on_third = f"/ports/{port['id']}", {"port": {"binding:host_id": "n3"}}
    await cloud.refused(409, "HostNotConnectedToAnySegment", "PUT", path, on_third, token=ADMIN)
    taken = await cloud.put("port", port["id"], token=ADMIN, **{"binding:host_id": "n1"})
    assert (subnet_of(taken), taken["ip_allocation"]) == ([subnets["rack1"]["id"]], "immediate")
    freed = await cloud.put("port", port["id"], token=ADMIN, **{"binding:host_id": ""})
    assert freed["fixed_ips"] == taken["fixed_ips"]
    on_second = {"port": {"binding:host_id": "n2"}}
    await cloud.refused(409, "HostNotCompatibleWithFixedIps", "PUT", path, on_second, token=ADMIN)
    none = await cloud.make("port", network_id=network["id"], fixed_ips=[], token=ADMIN)
    assert none["ip_allocation"] == "none"
    named = [{"subnet_id": subnets["rack1"]["id"]}]
    chosen = await cloud.make("port", network_id=network["id"], fixed_ips=named, token=ADMIN)
    assert (subnet_of(chosen), chosen["ip_allocation"]) == ([subnets["rack1"]["id"]], "immediate")
    wrong = {"port": {"network_id": network["id"], "fixed_ips": named, "binding:host_id": "n2"}}
    await cloud.refused(409, "HostNotCompatibleWithFixedIps", "POST", "/ports", wrong, token=ADMIN)
    beside = {"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.9.0/24"}}
    kind = "SubnetsNotAllAssociatedWithSegments"
    await cloud.refused(400, kind, "POST", "/subnets", beside, token=ADMIN)
