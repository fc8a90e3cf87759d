"""Imports, stores, tasks, locations."""

import asyncio
import http.server
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.image.harness import Cloud

ADMIN = "p0.admin"
URL = "http://images.example/disk"


async def stage(cloud: Cloud, data: bytes, **body: Any) -> dict[str, Any]:
    image = await cloud.image(**body)
    headers = {"Content-Type": "application/octet-stream"}
    reply = await cloud.call("PUT", f"/v2/images/{image['id']}/stage", data=data, headers=headers)
    assert reply.status_code == 204, reply.text
    return await cloud.show(image["id"])


async def begin(
    cloud: Cloud, id_: str, name: str, *, token: str = "p1.member", method: Any = None, **more: Any
) -> Any:
    body = {"method": {"name": name, **(method or {})}, **more}
    return await cloud.call("POST", f"/v2/images/{id_}/import", json=body, token=token)


async def tasks(cloud: Cloud, id_: str, status: str, token: str = "p1.member") -> list[dict[str, Any]]:
    async with asyncio.timeout(30):
        while True:
            found = (await cloud.call("GET", f"/v2/images/{id_}/tasks", token=token)).json()["tasks"]
            if found and all(task["status"] == status for task in found):
                return list(found)
            await asyncio.sleep(0.02)


async def test_a_staged_image_becomes_active(cloud: Cloud) -> None:
    image = await stage(cloud, b"staged")
    assert image["status"] == "uploading"
    assert (await cloud.call("GET", f"/v2/images/{image['id']}/file")).status_code == 204
    reply = await begin(cloud, image["id"], "glance-direct", all_stores=True)
    assert reply.status_code == 202, reply.text
    await cloud.until(image["id"], "active")
    (task,) = await tasks(cloud, image["id"], "success")
    assert task["request_id"] == reply.headers["X-Openstack-Request-Id"]
    assert task["input"]["import_req"]["method"]["name"] == "glance-direct"
    shown = await cloud.show(image["id"])
    assert (shown["stores"], shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == (
        "fabric",
        "",
        "",
    )
    assert (await cloud.call("GET", f"/v2/images/{image['id']}/file")).content == b"staged"


async def test_staged_bytes_that_are_not_an_image_fail_their_import(cloud: Cloud) -> None:
    image = await stage(
        cloud, b"QFI\xfb" + (3).to_bytes(4) + (99).to_bytes(8) + bytes(1000), disk_format="qcow2"
    )
    assert (await begin(cloud, image["id"], "glance-direct")).status_code == 202
    (task,) = await tasks(cloud, image["id"], "failure")
    assert "backing file" in task["message"]
    assert (await cloud.show(image["id"]))["status"] == "queued"
    async with asyncio.timeout(30):
        while cloud.agent.files():
            await asyncio.sleep(0.02)


async def test_imports_that_cannot_be(cloud: Cloud) -> None:
    image = await cloud.image()
    assert (await begin(cloud, image["id"], "glance-direct")).status_code == 409
    assert (await begin(cloud, image["id"], "magic")).status_code == 400
    assert (await begin(cloud, image["id"], "web-download")).status_code == 400
    assert (await begin(cloud, str(uuid.uuid4()), "glance-direct")).status_code == 404
    for uri in (
        "ftp://x/y",
        "http://127.0.0.1/x",
        "http://localhost/x",
        "http://example.org:22/",
        "http://nowhere.invalid/x",
    ):
        reply = await begin(cloud, image["id"], "web-download", method={"uri": uri})
        assert reply.status_code == 400, (uri, reply.text)


async def test_an_image_is_made_of_another(cloud: Cloud) -> None:
    source = await cloud.image(
        data=b"source", hw_cpu_cores="5", os_distro="debian", speed="1", disk_format="raw"
    )
    image = await cloud.image(disk_format="iso", os_distro="other")
    method = {
        "glance_image_id": source["id"],
        "glance_region": "RegionOne",
        "glance_service_interface": "public",
    }
    assert (await begin(cloud, image["id"], "glance-download", method=method)).status_code == 202
    await tasks(cloud, image["id"], "success")
    made = await cloud.show(image["id"])
    assert (made["status"], made["disk_format"], made["hw_cpu_cores"], made["os_distro"]) == (
        "active",
        "raw",
        "5",
        "debian",
    )
    assert "speed" not in made
    assert made["checksum"] == source["checksum"]
    elsewhere = await cloud.image()
    method["glance_region"] = "nowhere"
    assert (await begin(cloud, elsewhere["id"], "glance-download", method=method)).status_code == 202
    await tasks(cloud, elsewhere["id"], "failure")
    assert (await cloud.show(elsewhere["id"]))["status"] == "queued"


async def test_a_copy_to_where_it_is_is_done_at_once(cloud: Cloud) -> None:
    image = await cloud.image(data=b"x")
    assert (await begin(cloud, image["id"], "copy-image", all_stores=True)).status_code == 403
    assert (await begin(cloud, image["id"], "copy-image", all_stores=True, token=ADMIN)).status_code == 202
    shown = await cloud.show(image["id"])
    assert (shown["os_glance_importing_to_stores"], shown["os_glance_failed_import"]) == ("", "")


async def test_stores_and_usage(cloud: Cloud) -> None:
    stores = (await cloud.call("GET", "/v2/info/stores")).json()["stores"]
    assert [store["id"] for store in stores if store.get("read-only") != "true"] == ["fabric"]
    assert (await cloud.call("GET", "/v2/info/stores/detail")).status_code == 403
    assert (await cloud.call("GET", "/v2/info/stores/detail", token=ADMIN)).status_code == 200
    assert "glance-direct" in (await cloud.call("GET", "/v2/info/import")).json()["import-methods"]["value"]
    image = await cloud.image(data=b"x" * 10)
    usage = (await cloud.call("GET", "/v2/info/usage")).json()["usage"]
    assert usage["image_count_total"] == {"limit": -1, "usage": 1}
    path = f"/v2/stores/fabric/{image['id']}"
    assert (await cloud.call("DELETE", path)).status_code == 403
    assert (await cloud.call("DELETE", path.replace("/fabric/", "/nowhere/"))).status_code == 404


async def test_locations(cloud: Cloud) -> None:
    image = await cloud.image()
    id_ = image["id"]

    async def add(url: str, **more: Any) -> Any:
        value = {"url": url, "metadata": {"foo": "bar"}, **more}
        return await cloud.patch(id_, {"op": "add", "path": "/locations/-", "value": value})

    assert (await add("gopher://info.cern.ch")).status_code == 400
    said = {"checksum": "1" * 32, "os_hash_value": "deadbeef" * 16, "os_hash_algo": "sha512"}
    reply = await add(URL, validation_data=said)
    assert reply.status_code == 200, reply.text
    shown = reply.json()
    assert (shown["status"], shown["checksum"], shown["os_hash_algo"]) == ("active", "1" * 32, "sha512")
    assert shown["locations"] == [{"url": URL, "metadata": {"foo": "bar"}}]
    assert (await add(f"{URL}#2", validation_data={**said, "checksum": "2" * 32})).status_code == 409
    assert (await add(URL)).status_code == 400
    assert (await add(f"{URL}#2", validation_data=said)).status_code == 200
    locations = (await cloud.show(id_))["locations"]

    async def replace(value: Any) -> Any:
        return await cloud.patch(id_, {"op": "replace", "path": "/locations", "value": value})

    locations[0]["metadata"]["date"] = "2015-10-15"
    assert (await replace(locations)).status_code == 200
    assert (await replace(locations[:1])).status_code == 400
    assert (await replace([locations[0], {**locations[1], "url": f"{URL}#3"}])).status_code == 400
    assert (await cloud.show(id_))["locations"] == locations
    remove = {"op": "remove", "path": "/locations/0"}
    assert (await cloud.patch(id_, remove)).status_code == 403
    assert (await cloud.patch(id_, remove, token=ADMIN)).status_code == 200
    assert (await cloud.show(id_))["locations"] == locations[1:]
    assert (await cloud.patch(id_, remove, token=ADMIN)).status_code == 403


@pytest.fixture
def web() -> Iterator[str]:
    """A web server with one file."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/disk"
            self.send_response(200 if found else 404)
            self.end_headers()
            if found:
                self.wfile.write(b"from the web")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_a_location_is_read_through_an_agent(cloud: Cloud, web: str) -> None:
    image = await cloud.image()
    value = {"url": f"{web}/disk", "metadata": {}}
    await cloud.patch(image["id"], {"op": "add", "path": "/locations/-", "value": value})
    reply = await cloud.call("GET", f"/v2/images/{image['id']}/file")
    assert (reply.status_code, reply.content) == (200, b"from the web")


async def test_a_download_becomes_an_image_or_leaves_it_queued(
    cloud: Cloud, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def allowed(url: str) -> None:
        """Tests stay on the loopback, where no caller may send a download."""

    monkeypatch.setattr("fabric.image.importing.check_public", allowed)
    image = await cloud.image()
    assert (await begin(cloud, image["id"], "web-download", method={"uri": f"{web}/disk"})).status_code == 202
    await cloud.until(image["id"], "active")
    await tasks(cloud, image["id"], "success")
    image = await cloud.image()
    assert (await begin(cloud, image["id"], "web-download", method={"uri": f"{web}/no"})).status_code == 202
    (task,) = await tasks(cloud, image["id"], "failure")
    assert "404" in task["message"]
    assert (await cloud.show(image["id"]))["status"] == "queued"
    assert (await cloud.show(image["id"]))["os_glance_failed_import"] == "fabric"
    assert len(cloud.agent.files()) == 1


async def test_tasks_are_for_administrators(cloud: Cloud) -> None:
    image = await stage(cloud, b"x")
    await begin(cloud, image["id"], "glance-direct")
    (task,) = await tasks(cloud, image["id"], "success")
    assert (await cloud.call("GET", "/v2/tasks")).status_code == 403
    listed = (await cloud.call("GET", "/v2/tasks", token=ADMIN)).json()
    assert [one["id"] for one in listed["tasks"]] == [task["id"]]
    shown = (await cloud.call("GET", f"/v2/tasks/{task['id']}", token=ADMIN)).json()
    assert shown["result"]["image_id"] == image["id"]
    body = {"type": "import", "input": {"import_from": "http://nowhere.invalid/x", "image_properties": {}}}
    assert (await cloud.call("POST", "/v2/tasks", json=body, token=ADMIN)).status_code == 400
