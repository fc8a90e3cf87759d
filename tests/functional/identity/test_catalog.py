"""What the cloud offers: services, regions, and what names them."""

import uuid
from typing import Any

import orjson

from tests.http_client import Http
from tests.processes import DEMO_PASSWORD, ProcessCloud

V3 = "/identity/v3"


def made(admin: Http, plural: str, noun: str, **attributes: Any) -> dict[str, Any]:
    found: dict[str, Any] = admin.call("POST", f"{V3}/{plural}", {noun: attributes})[noun]
    return found


def refusal(http: Http, method: str, path: str, body: Any = None) -> tuple[int, str]:
    status, _, data = http.exchange(method, path, body)
    return status, orjson.loads(data)["error"]["message"]


def test_what_registered_limits_name_may_go_before_them(admin: Http) -> None:
    service = made(admin, "services", "service", name="s", type="limited")["id"]
    region = made(admin, "regions", "region", id=f"r-{uuid.uuid4().hex[:8]}")["id"]
    limit = {"service_id": service, "region_id": region, "resource_name": "things", "default_limit": 5}
    answer = admin.call("POST", f"{V3}/registered_limits", {"registered_limits": [limit]})
    (registered,) = answer["registered_limits"]
    admin.call("DELETE", f"{V3}/services/{service}")
    admin.call("DELETE", f"{V3}/regions/{region}")
    path = f"{V3}/registered_limits/{registered['id']}"
    assert admin.call("GET", path)["registered_limit"]["service_id"] == service
    admin.call("DELETE", path)


def test_a_second_limit_of_the_same_thing_is_refused_in_the_words_of_this_api(admin: Http) -> None:
    service = made(admin, "services", "service", name="s", type="limited")["id"]
    body = {"registered_limits": [{"service_id": service, "resource_name": "things", "default_limit": 5}]}
    (registered,) = admin.call("POST", f"{V3}/registered_limits", body)["registered_limits"]
    words = "Conflict occurred attempting to store registered_limit - Duplicate entry."
    assert refusal(admin, "POST", f"{V3}/registered_limits", body) == (409, words)
    admin.call("DELETE", f"{V3}/registered_limits/{registered['id']}")
    admin.call("DELETE", f"{V3}/services/{service}")


def test_an_endpoint_has_a_url(admin: Http) -> None:
    service = made(admin, "services", "service", name="s", type="located")["id"]
    for url in ("nowhere", "//host/", ""):
        body = {"endpoint": {"service_id": service, "interface": "public", "url": url}}
        assert refusal(admin, "POST", f"{V3}/endpoints", body)[0] == 400
    url = "https://host:1234/%(project_id)s"
    made(admin, "endpoints", "endpoint", service_id=service, interface="public", url=url)
    admin.call("DELETE", f"{V3}/services/{service}")


def test_an_endpoint_group_without_a_description_says_null(admin: Http) -> None:
    body = {"endpoint_group": {"name": "g", "filters": {"interface": "public"}}}
    group = admin.call("POST", f"{V3}/OS-EP-FILTER/endpoint_groups", body)["endpoint_group"]
    assert group["description"] is None
    admin.call("DELETE", f"{V3}/OS-EP-FILTER/endpoint_groups/{group['id']}")


def test_refusals_have_the_words_of_this_api(cloud: ProcessCloud, admin: Http) -> None:
    project = made(admin, "projects", "project", name="once/twice")
    status, message = refusal(admin, "POST", f"{V3}/projects", {"project": {"name": "once/twice"}})
    words = "Conflict occurred attempting to store project - Duplicate entry found with name once/twice."
    assert (status, message) == (409, words)
    admin.call("DELETE", f"{V3}/projects/{project['id']}")
    with Http(cloud.url) as demo:
        demo.login("demo", DEMO_PASSWORD, "demo")
        words = "You are not authorized to perform the requested action: identity:list_users."
        assert refusal(demo, "GET", f"{V3}/users") == (403, words)
