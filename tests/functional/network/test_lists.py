"""Lists: filters, pages both ways, sorting, fields, tags."""

import pytest

from tests.functional.network.harness import Cloud


async def test_pages_have_links_both_ways(cloud: Cloud) -> None:
    ids = [(await cloud.make("network", name=f"n{at}"))["id"] for at in range(3)]
    seen, path = [], "/networks?sort_key=name&limit=1"
    while path:
        body = (await cloud.call("GET", path)).json()
        seen += [network["id"] for network in body["networks"]]
        links = {link["rel"]: link["href"] for link in body.get("networks_links", [])}
        path = links.get("next", "")
    assert seen == ids
    assert set(links) == {"previous"}  # the page after the last one is empty, and one can walk back from it
    last = (await cloud.call("GET", links["previous"])).json()["networks"]
    assert [network["id"] for network in last] == ids[2:]
    back, path = [], "/networks?sort_key=name&limit=2&page_reverse=True"
    while path:
        body = (await cloud.call("GET", path)).json()
        back.append([network["id"] for network in body["networks"]])
        links = {link["rel"]: link["href"] for link in body.get("networks_links", [])}
        path = links.get("previous", "")
    assert back == [ids[1:], ids[:1]]
    assert set(links) == {"next"}


async def test_a_marker_that_is_not_there(cloud: Cloud) -> None:
    reply = await cloud.call("GET", "/networks?limit=1&marker=nobody")
    assert reply.status_code in (400, 404)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=a&name=c", ["a", "c"]),
        ("name=a&admin_state_up=False", []),
        ("tags=red", ["a", "b"]),
        ("tags=red,round", ["a"]),
        ("tags-any=round,blue", ["a", "c"]),
        ("not-tags=red", ["c"]),
        ("not-tags=red,round", ["b", "c"]),
        ("not-tags-any=round,blue", ["b"]),
        ("mtu=1450&description=second", ["b"]),
        ("shared=True", []),
        ("status=ACTIVE&name=b", ["b"]),
        ("status=DOWN", []),
        ("changed_since=2020-01-01T00:00:00", ["a", "b", "c"]),
        ("changed_since=2120-01-01T00:00:00Z", []),
        ("description=", ["a", "c"]),
    ],
)
async def test_filters_of_networks(cloud: Cloud, query: str, names: list[str]) -> None:
    await cloud.make("network", name="a", tags=["red", "round"])
    await cloud.make("network", name="b", tags=["red"], description="second")
    await cloud.make("network", name="c", tags=["blue"])
    assert [network["name"] for network in await cloud.find("network", f"{query}&sort_key=name")] == names


async def test_ports_are_found_by_their_addresses(cloud: Cloud) -> None:
    network, (subnet,) = await cloud.network("10.1.0.0/24")
    for last in (10, 11, 12):
        fixed = [{"subnet_id": subnet["id"], "ip_address": f"10.1.0.{last}"}]
        await cloud.make("port", network_id=network["id"], name=f"p{last}", fixed_ips=fixed)

    async def names(query: str) -> list[str]:
        return [port["name"] for port in await cloud.find("port", f"{query}&sort_key=name")]

    assert await names("fixed_ips=ip_address=10.1.0.11") == ["p11"]
    assert await names("fixed_ips=ip_address=10.1.0.11&fixed_ips=ip_address=10.1.0.12") == ["p11", "p12"]
    assert await names(f"fixed_ips=subnet_id={subnet['id']}&fixed_ips=ip_address_substr=.0.1") == [
        "p10",
        "p11",
        "p12",
    ]
    await cloud.refused(400, "HTTPBadRequest", "GET", "/ports?fixed_ips=nonsense")
    ports = await cloud.find("port", "fields=id&fields=name&name=p10")
    assert set(ports[0]) == {"id", "name"}


async def test_a_projects_ports_are_paged_with_those_that_others_have_on_its_networks(cloud: Cloud) -> None:
    network, _ = await cloud.network("10.1.0.0/24")

    async def pages() -> list[list[str]]:
        found, path = [], "/ports?limit=2&fields=name&fields=id&device_owner="
        while path:
            body = (await cloud.call("GET", path)).json()
            found.append([port["name"] for port in body["ports"]])
            path = next((x["href"] for x in body.get("ports_links", []) if x["rel"] == "next"), "")
        return [page for page in found if page]

    for at in range(3):
        await cloud.make("port", network_id=network["id"], name=f"p{at}")
    elsewhere, _ = await cloud.network("10.2.0.0/24", token="p2.member")
    await cloud.make("port", network_id=elsewhere["id"], token="p2.member", name="unseen")
    assert await pages() == [["p0", "p1"], ["p2"]]
    await cloud.make("port", network_id=network["id"], token="p2.admin", project_id="p2", name="p3")
    assert await pages() == [["p0", "p1"], ["p2", "p3"]]


@pytest.mark.parametrize(
    "query",
    [
        "colour=red",
        "sort_key=colour",
        "sort_key=name&sort_dir=up",
        "sort_dir=asc",
        "limit=-1",
        "mtu=x",
        "shared=x",
    ],
)
async def test_lists_that_cannot_be(cloud: Cloud, query: str) -> None:
    reply = await cloud.call("GET", f"/networks?{query}")
    assert reply.status_code == 400, reply.text
    assert reply.json()["NeutronError"]["type"] in ("HTTPBadRequest", "InvalidInput")


async def test_subnets_know_whether_their_network_is_shared(cloud: Cloud) -> None:
    shared = await cloud.make("network", name="shared", shared=True, token="p1.admin")
    own = await cloud.make("network", name="own")
    for network, cidr in ((shared, "10.1.0.0/24"), (own, "10.2.0.0/24")):
        await cloud.make("subnet", network_id=network["id"], ip_version=4, cidr=cidr)
    assert [s["cidr"] for s in await cloud.find("subnet", "shared=True")] == ["10.1.0.0/24"]
    assert [s["cidr"] for s in await cloud.find("subnet", "shared=False")] == ["10.2.0.0/24"]
    assert [s["cidr"] for s in await cloud.find("subnet", token="p2.member")] == ["10.1.0.0/24"]
