"""Metadata definitions."""

from typing import Any

from tests.functional.image.harness import Cloud

ADMIN = "p0.admin"
ALL = "/v2/metadefs/namespaces"


async def namespace(cloud: Cloud, name: str = "ns", **body: Any) -> dict[str, Any]:
    body = {"namespace": name, "visibility": "public", "display_name": name, **body}
    reply = await cloud.call("POST", ALL, json=body, token=ADMIN)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def test_namespaces(cloud: Cloud) -> None:
    made = await namespace(cloud, protected=True, resource_type_associations=[{"name": "OS::Nova::Flavor"}])
    assert made["resource_type_associations"][0]["name"] == "OS::Nova::Flavor"
    assert (await cloud.call("POST", ALL, json={"namespace": "ns"}, token=ADMIN)).status_code == 409
    assert (await cloud.call("POST", ALL, json={"namespace": "x"})).status_code == 403
    listed = (await cloud.call("GET", ALL)).json()["namespaces"]
    assert [one["namespace"] for one in listed] == ["ns"]
    assert (await cloud.call("GET", f"{ALL}?resource_types=OS::Nova::Server")).json()["namespaces"] == []
    assert (await cloud.call("DELETE", f"{ALL}/ns", token=ADMIN)).status_code == 403
    body = {"namespace": "ns2", "visibility": "private", "protected": False, "description": "d"}
    changed = await cloud.call("PUT", f"{ALL}/ns", json=body, token=ADMIN)
    assert changed.status_code == 200, changed.text
    assert (changed.json()["namespace"], changed.json()["visibility"]) == ("ns2", "private")
    assert (await cloud.call("GET", f"{ALL}/ns2")).status_code == 404
    assert (await cloud.call("DELETE", f"{ALL}/ns2", token=ADMIN)).status_code == 204


async def test_definitions(cloud: Cloud) -> None:
    await namespace(cloud)
    for plural, body, changed in (
        ("objects", {"name": "a", "properties": {"p": {"title": "P", "type": "string"}}}, {"name": "b"}),
        (
            "properties",
            {"name": "a", "title": "A", "type": "string"},
            {"name": "b", "title": "B", "type": "string"},
        ),
        ("resource_types", {"name": "a", "prefix": "x_"}, None),
    ):
        path = f"{ALL}/ns/{plural}"
        made = await cloud.call("POST", path, json=body, token=ADMIN)
        assert made.status_code == 201, made.text
        assert made.json().items() >= body.items()
        assert (await cloud.call("POST", path, json=body, token=ADMIN)).status_code == 409
        assert (await cloud.call("POST", path, json=body)).status_code == 403
        name = "a"
        if changed is not None:
            assert (await cloud.call("GET", f"{path}/a")).json().items() >= body.items()
            reply = await cloud.call("PUT", f"{path}/a", json=changed, token=ADMIN)
            assert reply.json().items() >= changed.items()
            name = "b"
        assert (await cloud.call("DELETE", f"{path}/{name}", token=ADMIN)).status_code == 204
        assert (await cloud.call("DELETE", f"{path}/{name}", token=ADMIN)).status_code == 404
    wrong = {"name": "a", "title": "A", "type": "thing"}
    assert (await cloud.call("POST", f"{ALL}/ns/properties", json=wrong, token=ADMIN)).status_code == 400
    assert (await cloud.call("GET", f"{ALL}/ns/things")).status_code == 404


async def test_tags(cloud: Cloud) -> None:
    await namespace(cloud)
    path = f"{ALL}/ns/tags"

    async def names() -> list[str]:
        return [tag["name"] for tag in (await cloud.call("GET", path)).json()["tags"]]

    made = await cloud.call("POST", path, json={"tags": [{"name": "a"}, {"name": "b"}]}, token=ADMIN)
    assert made.status_code == 201
    assert await names() == ["a", "b"]
    assert (await cloud.call("POST", f"{path}/c", token=ADMIN)).status_code == 201
    assert (await cloud.call("PUT", f"{path}/c", json={"name": "d"}, token=ADMIN)).json()["name"] == "d"
    assert (await cloud.call("DELETE", f"{path}/d", token=ADMIN)).status_code == 204
    await cloud.call("POST", path, json={"tags": [{"name": "e"}]}, token=ADMIN)
    assert await names() == ["e"]
    assert (await cloud.call("DELETE", path, token=ADMIN)).status_code == 204
    assert await names() == []


async def test_resource_types_and_schemas(cloud: Cloud) -> None:
    types = (await cloud.call("GET", "/v2/metadefs/resource_types")).json()["resource_types"]
    assert "OS::Glance::Image" in [one["name"] for one in types]
    for name in ("namespace", "namespaces", "object", "objects", "property", "properties", "tag", "tags"):
        assert (await cloud.call("GET", f"/v2/schemas/metadefs/{name}")).json()["name"] == name
