"""The Networks table from HTTP to gRPC and back."""

import re

from tests.functional.gateway.harness import Client, Networks


async def test_a_network_lives_through_create_show_update_list_delete(
    client: Client, networks: Networks
) -> None:
    answer = await client("POST", "/network/v2.0/networks", {"network": {"name": "n", "mtu": "1400"}})
    assert answer.status == 201
    network = answer.json["network"]
    assert network["mtu"] == 1400
    assert network["admin_state_up"] is True
    assert network["tenant_id"] == network["project_id"] == ""
    assert re.fullmatch(r"....-..-..T..:..:..Z", network["created_at"])
    path = f"/network/v2.0/networks/{network['id']}"
    assert (await client("GET", path)).json["network"] == network
    updated = await client("PUT", path, {"network": {"name": "m", "provider:segmentation_id": None}})
    assert updated.json["network"] == network | {"name": "m"}
    listed = await client("GET", "/network/v2.0/networks?name=m&fields=id&fields=name")
    assert listed.json == {"networks": [{"id": network["id"], "name": "m"}]}
    deleted = await client("DELETE", path)
    assert (deleted.status, deleted.raw) == (204, b"")
    gone = await client("GET", path)
    assert gone.status == 404
    assert gone.json["NeutronError"]["type"] == "NetworkNotFound"


async def test_pages_link_to_the_next(client: Client) -> None:
    bodies = [{"name": f"n{index}"} for index in range(5)]
    made = await client("POST", "/network/v2.0/networks", {"networks": bodies})
    assert [network["name"] for network in made.json["networks"]] == [f"n{index}" for index in range(5)]
    names, path = [], "/network/v2.0/networks?limit=2"
    while path:
        page = (await client("GET", path)).json
        names += [network["name"] for network in page["networks"]]
        links = {link["rel"]: link["href"] for link in page.get("networks_links", [])}
        path = links.get("next", "").removeprefix("http://cloud:8080")
    assert names == [f"n{index}" for index in range(5)]


async def test_provider_attributes_are_for_administrators(client: Client) -> None:
    await client("POST", "/network/v2.0/networks", {"network": {"name": "n"}})
    for_admin = (await client("GET", "/network/v2.0/networks")).json["networks"][0]
    for_member = (await client("GET", "/network/v2.0/networks", token="member,reader")).json["networks"][0]
    assert for_admin.keys() - for_member.keys() == {
        "provider:network_type",
        "provider:physical_network",
        "provider:segmentation_id",
    }


async def test_one_wrong_of_many_is_refused_before_any_is_made(client: Client, networks: Networks) -> None:
    body = {"networks": [{"name": "a"}, {"name": 3}]}
    assert (await client("POST", "/network/v2.0/networks", body)).status == 400
    assert networks.networks == {}


async def test_over_quota_is_a_conflict(client: Client) -> None:
    answer = await client("POST", "/network/v2.0/networks", {"network": {"name": "over"}})
    assert answer.status == 409
    assert answer.json["NeutronError"]["type"] == "OverQuota"


async def test_an_update_of_nothing_changes_nothing(client: Client, networks: Networks) -> None:
    made = (await client("POST", "/network/v2.0/networks", {"network": {"name": "n"}})).json["network"]
    answer = await client("PUT", f"/network/v2.0/networks/{made['id']}", {"network": {}})
    assert answer.json["network"] == made


async def test_the_highest_revision_seen_is_sent(client: Client, networks: Networks) -> None:
    await client("POST", "/network/v2.0/networks", {"network": {}})
    await client("GET", "/network/v2.0/networks")
    assert networks.metadata["fabric-revision"] == "1"
    assert networks.metadata["x-request-id"].startswith("req-")
