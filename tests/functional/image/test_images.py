"""Images as records: create, show, list, change, delete, share."""

import uuid
from typing import Any

import pytest

from tests.functional.image.harness import RAW, Cloud

ADMIN = "p0.admin"


async def test_a_new_image_has_all_attributes(cloud: Cloud) -> None:
    reply = await cloud.call(
        "POST", "/v2/images", json={**RAW, "name": "i", "tags": ["a"], "hw_disk_bus": "scsi"}
    )
    assert reply.status_code == 201
    image = reply.json()
    id_ = image["id"]
    assert reply.headers["Location"].endswith(f"/image/v2/images/{id_}")
    assert "glance-direct" in reply.headers["OpenStack-image-import-methods"].split(",")
    assert {key: image[key] for key in image if key not in ("id", "created_at", "updated_at")} == {
        "name": "i",
        "status": "queued",
        "visibility": "shared",
        "protected": False,
        "os_hidden": False,
        "disk_format": "raw",
        "container_format": "bare",
        "min_disk": 0,
        "min_ram": 0,
        "owner": "p1",
        "tags": ["a"],
        "size": None,
        "virtual_size": None,
        "checksum": None,
        "os_hash_algo": None,
        "os_hash_value": None,
        "locations": [],
        "hw_disk_bus": "scsi",
        "self": f"/v2/images/{id_}",
        "file": f"/v2/images/{id_}/file",
        "schema": "/v2/schemas/image",
    }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"disk_format": "wrong"}, 400),
        ({"container_format": "wrong"}, 400),
        ({"disk_format": "raw", "container_format": "ami"}, 400),
        ({"name": "x" * 256}, 400),
        ({"name": 7}, 400),
        ({"min_disk": -1}, 400),
        ({"visibility": "secret"}, 400),
        ({"id": "x"}, 400),
        ({"hw_cpu_cores": 4}, 400),
        ({"tags": ["x" * 256]}, 400),
        ({"tags": "x"}, 400),
        ({"os_glance_foo": "x"}, 403),
        ({"status": "active"}, 403),
        ({"size": 1}, 403),
        ({"owner": "p2"}, 403),
        ({"visibility": "public"}, 403),
        ({f"p{n}": "x" for n in range(200)}, 413),
        ([], 400),
    ],
)
async def test_what_no_new_image_may_be(cloud: Cloud, body: Any, status: int) -> None:
    reply = await cloud.call("POST", "/v2/images", json=body)
    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"message", "code", "title"}
    assert (await cloud.call("GET", "/v2/images")).json()["images"] == []


async def test_an_id_is_taken_once(cloud: Cloud) -> None:
    body = {"id": str(uuid.uuid4())}
    assert (await cloud.call("POST", "/v2/images", json=body)).status_code == 201
    assert (await cloud.call("POST", "/v2/images", json=body)).status_code == 409


async def test_readers_do_not_write(cloud: Cloud) -> None:
    assert (await cloud.call("POST", "/v2/images", json={}, token="p1.reader")).status_code == 403
    image = await cloud.image()
    assert (await cloud.show(image["id"], token="p1.reader"))["id"] == image["id"]
    assert (await cloud.call("DELETE", f"/v2/images/{image['id']}", token="p1.reader")).status_code == 403


async def test_patches(cloud: Cloud) -> None:
    image = await cloud.image(name="old", a="1", b="2")
    reply = await cloud.patch(
        image["id"],
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "add", "path": "/c~1d", "value": "3"},
        {"op": "replace", "path": "/a", "value": "4"},
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/tags", "value": ["t"]},
        {"op": "add", "path": "/min_ram", "value": 64},
    )
    assert reply.status_code == 200, reply.text
    changed = reply.json()
    assert (changed["name"], changed["c/d"], changed["a"], changed["tags"], changed["min_ram"]) == (
        "new",
        "3",
        "4",
        ["t"],
        64,
    )
    assert "b" not in changed
    old = {"Content-Type": "application/openstack-images-v2.0-json-patch"}
    path = f"/v2/images/{image['id']}"
    reply = await cloud.call("PATCH", path, json=[{"replace": "/name", "value": "newer"}], headers=old)
    assert reply.json()["name"] == "newer"
    reply = await cloud.call("PATCH", path, json=[])
    assert reply.status_code == 415


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "replace", "path": "/nothing", "value": "x"}, 409),
        ({"op": "remove", "path": "/nothing"}, 409),
        ({"op": "remove", "path": "/name"}, 403),
        ({"op": "replace", "path": "/id", "value": str(uuid.uuid4())}, 403),
        ({"op": "replace", "path": "/status", "value": "active"}, 403),
        ({"op": "add", "path": "/os_glance_x", "value": "x"}, 403),
        ({"op": "add", "path": "/location", "value": "x"}, 403),
        ({"op": "replace", "path": "/owner", "value": "p2"}, 403),
        ({"op": "replace", "path": "/visibility", "value": "public"}, 403),
        ({"op": "replace", "path": "/visibility", "value": "x"}, 400),
        ({"op": "replace", "path": "/min_disk", "value": "x"}, 400),
        ({"op": "add", "path": "/x/y", "value": "x"}, 400),
        ({"op": "add", "path": "x", "value": "x"}, 400),
        ({"op": "add", "path": "/x"}, 400),
        ({"op": "add", "path": "/x", "value": 1}, 400),
        ({"op": "move", "path": "/x", "from": "/y"}, 400),
        ("x", 400),
    ],
)
async def test_what_no_patch_may_do(cloud: Cloud, operation: Any, status: int) -> None:
    image = await cloud.image(name="same")
    reply = await cloud.patch(image["id"], operation)
    assert reply.status_code == status, reply.text
    assert await cloud.show(image["id"]) == image


async def test_lists_filter_sort_and_page(cloud: Cloud) -> None:
    for n in range(5):
        await cloud.image(name=f"i{n}", data=b"x" * (10 * n + 1), tags=["all", f"t{n}"], speed=str(n % 2))
    await cloud.image(name="hidden", os_hidden=True)
    await cloud.image(token="p2.member", name="others", visibility="private")

    async def names(query: str, token: str = "p1.member") -> list[str]:
        reply = await cloud.call("GET", f"/v2/images?{query}", token=token)
        assert reply.status_code == 200, reply.text
        return [image["name"] for image in reply.json()["images"]]

    assert await names("") == ["i4", "i3", "i2", "i1", "i0"]
    assert await names("sort=name:asc") == ["i0", "i1", "i2", "i3", "i4"]
    assert await names("sort_key=size&sort_dir=desc&limit=2") == ["i4", "i3"]
    assert await names("name=i3") == ["i3"]
    assert await names("name=in:i3,i1&sort=name:asc") == ["i1", "i3"]
    assert await names("tag=all&tag=t2") == ["i2"]
    assert await names("speed=1&sort=name:asc") == ["i1", "i3"]
    assert await names("size_min=11&size_max=21&sort=size:asc") == ["i1", "i2"]
    assert await names("size=31") == ["i3"]
    assert await names("os_hidden=true") == ["hidden"]
    assert await names("status=queued") == []
    assert await names("visibility=private") == []
    assert await names("created_at=gt:2100-01-01T00:00:00Z") == []
    assert len(await names("created_at=lt:2100-01-01T00:00:00Z")) == 5
    assert await names("owner=p1&protected=false&limit=1") == ["i4"]
    assert "others" in await names("", token=ADMIN)

    found, path = [], "/v2/images?limit=2&sort=name:asc"
    while path:
        page = (await cloud.call("GET", path)).json()
        assert page["first"].startswith("/v2/images")
        found += [image["name"] for image in page["images"]]
        path = page.get("next", "")
    assert found == ["i0", "i1", "i2", "i3", "i4"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=x",
        "marker=nothing",
        "sort=nothing",
        "sort=name:up",
        "sort=name&sort_key=name",
        "sort_key=name&sort_dir=asc&sort_dir=desc",
        "visibility=x",
        "member_status=x",
        "size_min=x",
        "created_at=yesterday",
        "protected=perhaps",
        "name=in:%22x",
    ],
)
async def test_lists_that_cannot_be(cloud: Cloud, query: str) -> None:
    reply = await cloud.call("GET", f"/v2/images?{query}")
    assert reply.status_code == 400, reply.text


async def test_tags(cloud: Cloud) -> None:
    image = await cloud.image()
    path = f"/v2/images/{image['id']}/tags"
    assert (await cloud.call("PUT", f"{path}/a%20b")).status_code == 204
    assert (await cloud.call("PUT", f"{path}/a%20b")).status_code == 204
    assert (await cloud.show(image["id"]))["tags"] == ["a b"]
    assert (await cloud.call("DELETE", f"{path}/a%20b")).status_code == 204
    assert (await cloud.call("DELETE", f"{path}/a%20b")).status_code == 404
    assert (await cloud.call("PUT", f"{path}/{'x' * 256}")).status_code == 400


async def test_protected_images_stay(cloud: Cloud) -> None:
    image = await cloud.image(protected=True)
    assert (await cloud.call("DELETE", f"/v2/images/{image['id']}")).status_code == 403
    await cloud.patch(image["id"], {"op": "replace", "path": "/protected", "value": False})
    assert (await cloud.call("DELETE", f"/v2/images/{image['id']}")).status_code == 204


async def test_projects_do_not_see_each_other(cloud: Cloud) -> None:
    image = await cloud.image(visibility="private", data=b"secret")
    path, other = f"/v2/images/{image['id']}", "p2.member"
    for method, suffix, arguments in (
        ("GET", "", {}),
        ("DELETE", "", {}),
        ("GET", "/file", {}),
        ("PUT", "/tags/x", {}),
        ("DELETE", "/tags/x", {}),
        ("POST", "/actions/deactivate", {}),
        ("GET", "/members", {}),
        ("POST", "/members", {"json": {"member": "p2"}}),
        ("GET", "/tasks", {}),
        ("POST", "/import", {"json": {"method": {"name": "glance-direct"}}}),
        ("PUT", "/file", {"data": b"x"}),
    ):
        reply = await cloud.call(method, path + suffix, token=other, **arguments)
        assert reply.status_code == 404, (method, suffix, reply.text)
    assert (await cloud.patch(image["id"], {"op": "remove", "path": "/x"}, token=other)).status_code == 404


async def test_sharing(cloud: Cloud) -> None:
    image = await cloud.image(name="shared", data=b"data")
    members, other = f"/v2/images/{image['id']}/members", "p2.member"
    made = await cloud.call("POST", members, json={"member": "p2"})
    assert made.status_code == 200
    assert (made.json()["member_id"], made.json()["status"]) == ("p2", "pending")
    assert (await cloud.call("POST", members, json={"member": "p2"})).status_code == 409

    async def listed(query: str = "") -> list[str]:
        reply = await cloud.call("GET", f"/v2/images{query}", token=other)
        return [image["name"] for image in reply.json()["images"]]

    assert await listed() == []
    assert await listed("?member_status=pending&visibility=shared") == ["shared"]
    assert (await cloud.show(image["id"], token=other))["name"] == "shared"
    assert (await cloud.call("PUT", f"{members}/p2", json={"status": "accepted"})).status_code == 403
    wrong = await cloud.call("PUT", f"{members}/p2", json={"status": "x"}, token=other)
    assert wrong.status_code == 400
    accepted = await cloud.call("PUT", f"{members}/p2", json={"status": "accepted"}, token=other)
    assert accepted.json()["status"] == "accepted"
    assert await listed() == ["shared"]
    assert (await cloud.call("GET", f"/v2/images/{image['id']}/file", token=other)).content == b"data"
    assert len((await cloud.call("GET", members)).json()["members"]) == 1
    assert (await cloud.call("DELETE", f"{members}/p2", token=other)).status_code == 403
    assert (await cloud.call("DELETE", f"{members}/p2")).status_code == 204
    assert (await cloud.call("DELETE", f"{members}/p2")).status_code == 404
    assert await listed() == []
    private = await cloud.image(visibility="private")
    refused = await cloud.call("POST", f"/v2/images/{private['id']}/members", json={"member": "p2"})
    assert refused.status_code == 403


async def test_public_and_community_images(cloud: Cloud) -> None:
    public = await cloud.image(token=ADMIN, name="public", visibility="public")
    await cloud.image(name="community", visibility="community")

    async def listed(query: str = "") -> list[str]:
        reply = await cloud.call("GET", f"/v2/images{query}", token="p2.member")
        return sorted(image["name"] for image in reply.json()["images"])

    assert await listed() == ["public"]
    assert await listed("?visibility=community") == ["community"]
    assert await listed("?visibility=all") == ["community", "public"]
    changed = await cloud.patch(
        public["id"], {"op": "replace", "path": "/name", "value": "x"}, token="p2.member"
    )
    assert changed.status_code == 403


async def test_locations_are_for_the_owner(cloud: Cloud) -> None:
    image = await cloud.image(visibility="community", data=b"x")
    assert len(image["locations"]) == 1
    assert (await cloud.show(image["id"], token="p2.member"))["locations"] == []
    assert len((await cloud.show(image["id"], token=ADMIN))["locations"]) == 1
    reply = await cloud.call("GET", f"/v2/images/{image['id']}/locations", token="p2.member")
    assert reply.json() == []


async def test_errors_are_web_pages_for_those_who_do_not_ask_for_json(cloud: Cloud) -> None:
    reply = await cloud.call("GET", f"/v2/images/{uuid.uuid4()}", headers={"Accept": "*/*"})
    assert reply.status_code == 404
    assert reply.headers["Content-Type"].startswith("text/html")
    assert "<h1>404 Not Found</h1>" in reply.text


async def test_versions_and_schemas(cloud: Cloud) -> None:
    choices = await cloud.call("GET", "/")
    assert choices.status_code == 300
    versions = choices.json()["versions"]
    assert versions[0]["status"] == "CURRENT"
    assert versions[0]["links"][0]["href"] == f"{cloud.url}/v2/"
    assert (await cloud.call("GET", "/versions")).json()["versions"] == versions
    for name in ("image", "images", "member", "members", "task", "tasks"):
        assert (await cloud.call("GET", f"/v2/schemas/{name}")).json()["name"] == name
