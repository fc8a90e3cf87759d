"""Flavors of network services and their profiles."""

from typing import Any

from tests.functional.network.harness import Cloud

ADMIN: dict[str, Any] = {"token": "p1.admin"}
PROFILES = "/service_profiles"


async def a_profile(cloud: Cloud, **attributes: Any) -> dict[str, Any]:
    body = {"service_profile": {"metainfo": '{"data": "value"}', **attributes}}
    reply = await cloud.call("POST", PROFILES, body, **ADMIN)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()["service_profile"]
    return made


async def test_a_flavor_offers_profiles(cloud: Cloud) -> None:
    profile = await a_profile(cloud, driver="", description="d")
    assert (profile["enabled"], profile["driver"], profile["description"]) == (True, "", "d")
    flavor = await cloud.make("flavor", name="f", service_type="L3_ROUTER_NAT", **ADMIN)
    assert (flavor["enabled"], flavor["service_profiles"]) == (True, [])
    below = f"/flavors/{flavor['id']}/service_profiles"
    body = {"service_profile": {"id": profile["id"]}}
    reply = await cloud.call("POST", below, body, **ADMIN)
    assert (reply.status_code, reply.json()) == (201, body)
    await cloud.refused(409, "FlavorServiceProfileBindingExists", "POST", below, body, **ADMIN)
    assert (await cloud.find("flavor", f"id={flavor['id']}"))[0]["service_profiles"] == [profile["id"]]
    path = f"{PROFILES}/{profile['id']}"
    await cloud.refused(409, "ServiceProfileInUse", "DELETE", path, **ADMIN)
    assert (await cloud.call("DELETE", f"{below}/{profile['id']}", **ADMIN)).status_code == 204
    gone = f"{below}/{profile['id']}"
    await cloud.refused(404, "FlavorServiceProfileBindingNotFound", "DELETE", gone, **ADMIN)
    changed = await cloud.put("flavor", flavor["id"], enabled=False, description=None, **ADMIN)
    assert (changed["enabled"], changed["description"]) == (False, None)
    await cloud.delete("flavor", flavor["id"], **ADMIN)
    assert (await cloud.call("DELETE", path, **ADMIN)).status_code == 204


async def test_what_flavors_cannot_be(cloud: Cloud) -> None:
    flavor = {"flavor": {"name": "f", "service_type": "L3_ROUTER_NAT"}}
    await cloud.refused(403, "PolicyNotAuthorized", "POST", "/flavors", flavor)
    wrong = {"flavor": {"name": "f", "service_type": "COLOUR"}}
    await cloud.refused(400, "InvalidInput", "POST", "/flavors", wrong, **ADMIN)
    empty = {"service_profile": {"description": "d"}}
    await cloud.refused(400, "ServiceProfileEmpty", "POST", PROFILES, empty, **ADMIN)
    unknown = {"service_profile": {"driver": "neutron.services.l3_router.DvrDriver"}}
    await cloud.refused(404, "ServiceProfileDriverNotFound", "POST", PROFILES, unknown, **ADMIN)
    assert (await a_profile(cloud, driver="fabric"))["driver"] == "fabric"
    assert (await cloud.call("GET", PROFILES)).json() == {"service_profiles": []}


async def test_a_router_is_of_a_flavor(cloud: Cloud) -> None:
    flavor = await cloud.make("flavor", name="f", service_type="L3_ROUTER_NAT", **ADMIN)
    router = {"router": {"flavor_id": flavor["id"]}}
    await cloud.refused(503, "ServiceProfileDisabled", "POST", "/routers", router)
    profile = {"service_profile": {"id": (await a_profile(cloud, driver="fabric"))["id"]}}
    await cloud.call("POST", f"/flavors/{flavor['id']}/service_profiles", profile, **ADMIN)
    made = await cloud.make("router", flavor_id=flavor["id"])
    assert made["flavor_id"] == flavor["id"]
    assert (await cloud.make("router"))["flavor_id"] is None
    path = f"/flavors/{flavor['id']}"
    await cloud.refused(409, "FlavorInUse", "DELETE", path, **ADMIN)
    await cloud.put("flavor", flavor["id"], enabled=False, **ADMIN)
    await cloud.refused(503, "FlavorDisabled", "POST", "/routers", router)
    both = {"router": {"flavor_id": flavor["id"], "distributed": True}}
    assert (await cloud.call("POST", "/routers", both, **ADMIN)).status_code == 400
    await cloud.delete("router", made["id"])
    await cloud.delete("flavor", flavor["id"], **ADMIN)
    await cloud.refused(404, "FlavorNotFound", "POST", "/routers", router)
