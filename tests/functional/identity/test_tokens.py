"""Tokens: how they are had, what they say, and when they end."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.http_client import Http, Refused, login
from tests.processes import DEMO_PASSWORD, PASSWORD, ProcessCloud

V3 = "/identity/v3"
SOON_S = 0.1  # within which a change holds everywhere (claim C10)


@dataclass
class Someone:
    """A user with the role member on a project of its own."""

    name: str
    password: str
    id: str
    project: str


@pytest.fixture
def someone(admin: Http) -> Someone:
    name = f"user-{uuid.uuid4().hex[:8]}"
    project = admin.call("POST", f"{V3}/projects", {"project": {"name": name}})["project"]["id"]
    body = {"user": {"name": name, "password": "first-Secret1", "default_project_id": project}}
    user = admin.call("POST", f"{V3}/users", body)["user"]["id"]
    grant(admin, user, project, "member")
    return Someone(name, "first-Secret1", user, project)


@pytest.fixture
def session(cloud: ProcessCloud, someone: Someone) -> Iterator[Http]:
    with Http(cloud.url) as http:
        http.login(someone.name, someone.password, someone.name)
        yield http


def role(admin: Http, name: str) -> str:
    found: str = admin.call("GET", f"{V3}/roles?name={name}")["roles"][0]["id"]
    return found


def grant(admin: Http, user: str, project: str, name: str, method: str = "PUT") -> None:
    admin.call(method, f"{V3}/projects/{project}/users/{user}/roles/{role(admin, name)}")


def issue(http: Http, body: Any) -> tuple[str, dict[str, Any]]:
    """The token and its document."""
    status, headers, data = http.exchange("POST", f"{V3}/auth/tokens", body)
    if status != 201:
        raise Refused(status, data)
    return headers["x-subject-token"], orjson.loads(data)["token"]


def refused(http: Http, path: str = f"{V3}/auth/projects") -> bool:
    """Whether the token is no longer accepted."""
    return http.exchange("GET", path)[0] == 401


def ends_soon(http: Http) -> None:
    started = time.monotonic()
    while not refused(http):
        assert time.monotonic() - started < SOON_S
    assert refused(http, "/network/v2.0/networks")
    assert refused(http, "/compute/v2.1/servers")


def test_a_token_says_who_where_and_what(cloud: ProcessCloud) -> None:
    with Http(cloud.url) as http:
        _, token = issue(http, login("demo", DEMO_PASSWORD, "demo"))
    assert token["user"]["name"] == "demo"
    assert token["project"]["domain"] == {"id": "default", "name": "Default"}
    assert {found["name"] for found in token["roles"]} == {"member", "reader"}
    types = {"identity", "image", "compute", "network", "placement"}
    assert {service["type"] for service in token["catalog"]} == types
    assert token["methods"] == ["password"]


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ({"domain": {"id": "default"}}, "domain"),
        ({"system": {"all": True}}, "system"),
        ("unscoped", ""),
    ],
)
def test_other_scopes(cloud: ProcessCloud, scope: Any, key: str) -> None:
    body = login("admin", PASSWORD, "admin")
    body["auth"]["scope"] = scope
    with Http(cloud.url) as http:
        _, token = issue(http, body)
    assert ("project" in token, key in token or not key) == (False, True)
    assert ("roles" in token) == bool(key)


def test_a_token_of_a_token_keeps_its_expiry_and_adds_its_method(cloud: ProcessCloud) -> None:
    with Http(cloud.url) as http:
        first, old = issue(http, login("demo", DEMO_PASSWORD, "demo"))
        body = {"auth": {"identity": {"methods": ["token"], "token": {"id": first}}, "scope": "unscoped"}}
        _, new = issue(http, body)
    assert new["expires_at"] == old["expires_at"]
    assert sorted(new["methods"]) == ["password", "token"]
    assert new["audit_ids"][1] == old["audit_ids"][0]


@pytest.mark.parametrize("password", ["", "wrong", "x" * 5000])
def test_a_wrong_password_is_401_and_tells_nothing(cloud: ProcessCloud, password: str) -> None:
    with Http(cloud.url) as http:
        answers = [
            http.exchange("POST", f"{V3}/auth/tokens", login(name, password, "admin"))
            for name in ("service-nobody", f"user-{uuid.uuid4().hex}")
        ]
    for status, headers, data in answers:
        assert status in (400, 401)
        assert "www-authenticate" in headers or status == 400
        assert orjson.loads(data)["error"]["code"] == status
    assert answers[0][2] == answers[1][2]


def test_a_locked_account_looks_like_none(cloud: ProcessCloud, someone: Someone) -> None:
    attempts = [(someone.name, "wrong")] * 3 + [(someone.name, someone.password), ("nobody", "wrong")]
    with Http(cloud.url) as http:
        answers = [
            http.exchange("POST", f"{V3}/auth/tokens", login(name, password, someone.name))
            for name, password in attempts
        ]
    assert {(status, data) for status, _, data in answers} == {(401, answers[-1][2])}


def test_a_revoked_token_is_refused_everywhere_at_once(session: Http) -> None:
    status, _, _ = session.exchange("DELETE", f"{V3}/auth/tokens", headers={"X-Subject-Token": session.token})
    assert status == 204
    ends_soon(session)


def test_a_disabled_user_is_out_at_once(admin: Http, session: Http, someone: Someone) -> None:
    admin.call("PATCH", f"{V3}/users/{someone.id}", {"user": {"enabled": False}})
    ends_soon(session)


def test_a_removed_role_is_gone_at_once(admin: Http, session: Http, someone: Someone) -> None:
    grant(admin, someone.id, someone.project, "member", "DELETE")
    ends_soon(session)


def test_a_disabled_project_is_closed_at_once(admin: Http, session: Http, someone: Someone) -> None:
    admin.call("PATCH", f"{V3}/projects/{someone.project}", {"project": {"enabled": False}})
    ends_soon(session)


def test_a_changed_password_ends_the_tokens_of_the_old_one(
    cloud: ProcessCloud, session: Http, someone: Someone
) -> None:
    body = {"user": {"original_password": someone.password, "password": "second-Secret2"}}
    assert session.exchange("POST", f"{V3}/users/{someone.id}/password", body)[0] == 204
    ends_soon(session)
    with Http(cloud.url) as again:
        again.login(someone.name, "second-Secret2", someone.name)


def test_an_application_credential_logs_in_with_no_more_than_its_roles(
    cloud: ProcessCloud, session: Http, someone: Someone
) -> None:
    body = {"application_credential": {"name": "robot", "roles": [{"name": "reader"}]}}
    made = session.call("POST", f"{V3}/users/{someone.id}/application_credentials", body)
    made = made["application_credential"]
    proof = {"id": made["id"], "secret": made["secret"]}
    auth = {"auth": {"identity": {"methods": ["application_credential"], "application_credential": proof}}}
    with Http(cloud.url) as http:
        token, document = issue(http, auth)
        assert [found["name"] for found in document["roles"]] == ["reader"]
        http.token = token
        assert http.call("GET", "/network/v2.0/networks") is not None
        network = {"network": {"name": "no"}}
        assert http.exchange("POST", "/network/v2.0/networks", network)[0] == 403
        session.call("DELETE", f"{V3}/users/{someone.id}/application_credentials/{made['id']}")
        ends_soon(http)


@pytest.mark.parametrize(("paths", "allowed"), [(["/v2.0/networks", "/v2.0/networks/*"], True), ([], False)])
def test_an_application_credential_is_good_for_what_its_access_rules_name(
    cloud: ProcessCloud, admin: Http, session: Http, someone: Someone, paths: list[str], allowed: bool
) -> None:
    rules = [{"service": "network", "method": "GET", "path": path} for path in paths]
    body = {"application_credential": {"name": "narrow", "access_rules": rules}}
    made = session.call("POST", f"{V3}/users/{someone.id}/application_credentials", body)
    proof = {name: made["application_credential"][name] for name in ("id", "secret")}
    auth = {"auth": {"identity": {"methods": ["application_credential"], "application_credential": proof}}}
    network = session.call("POST", "/network/v2.0/networks", {"network": {"name": "n"}})["network"]["id"]
    with Http(cloud.url) as http:
        http.token, document = issue(http, auth)
        assert len(document["application_credential"]["access_rules"]) == len(rules)
        for method, path, ruled in (
            ("GET", "/network/v2.0/networks", True),
            ("GET", "/network/v2.0/networks?limit=1", True),
            ("GET", f"/network/v2.0/networks/{network}", True),
            ("GET", "/network/v2.0/ports", False),
            ("GET", "/network/v2.0/network%73", False),
            ("DELETE", f"/network/v2.0/networks/{network}", False),
            ("GET", "/compute/v2.1/servers", False),
            ("GET", f"{V3}/auth/projects", False),
            ("GET", "/image/v2/images", False),
        ):
            assert http.exchange(method, path)[0] == (200 if ruled and allowed else 401), (method, path)
        subject = {"X-Subject-Token": http.token}
        asked = subject | {"OpenStack-Identity-Access-Rules": "1"}
        answers = [admin.exchange("GET", f"{V3}/auth/tokens", headers=h)[0] for h in (subject, asked)]
        assert answers == [404, 200]  # who does not know of rules would let it do anything


def test_an_inherited_role_reaches_the_projects_below(
    cloud: ProcessCloud, admin: Http, someone: Someone
) -> None:
    body = {"project": {"name": f"{someone.name}-child", "parent_id": someone.project}}
    child = admin.call("POST", f"{V3}/projects", body)["project"]
    with Http(cloud.url) as http:
        with pytest.raises(Refused):
            http.login(someone.name, someone.password, child["name"])
        path = f"{V3}/OS-INHERIT/projects/{someone.project}/users/{someone.id}/roles/{role(admin, 'reader')}"
        admin.call("PUT", f"{path}/inherited_to_projects")
        http.login(someone.name, someone.password, child["name"])
        _, token = issue(http, login(someone.name, someone.password, child["name"]))
    assert [found["name"] for found in token["roles"]] == ["reader"]


def test_a_group_gives_its_roles_to_its_members(cloud: ProcessCloud, admin: Http, someone: Someone) -> None:
    group = admin.call("POST", f"{V3}/groups", {"group": {"name": f"{someone.name}-group"}})["group"]["id"]
    admin.call("PUT", f"{V3}/projects/{someone.project}/groups/{group}/roles/{role(admin, 'manager')}")
    with Http(cloud.url) as http:
        body = login(someone.name, someone.password, someone.name)
        assert "manager" not in {found["name"] for found in issue(http, body)[1]["roles"]}
        admin.call("PUT", f"{V3}/groups/{group}/users/{someone.id}")
        assert "manager" in {found["name"] for found in issue(http, body)[1]["roles"]}


def test_a_user_sees_and_changes_only_what_is_theirs(session: Http, admin: Http, someone: Someone) -> None:
    other = admin.user_id
    for method, path, body in (
        ("GET", f"/users/{other}", None),
        ("PATCH", f"/users/{other}", {"user": {"name": "x"}}),
        ("GET", "/users", None),
        ("POST", "/projects", {"project": {"name": "x"}}),
        ("GET", f"/users/{other}/application_credentials", None),
        ("DELETE", f"/projects/{admin.project_id}", None),
    ):
        status, _, data = session.exchange(method, V3 + path, body)
        assert status == 403, (method, path, data)
        assert orjson.loads(data)["error"]["title"] == "Forbidden"
    assert session.call("GET", f"{V3}/users/{someone.id}")["user"]["name"] == someone.name


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/projects", {"project": {"name": ""}}, 400),
        ("POST", "/projects", {"project": {"name": "x" * 65}}, 400),
        ("POST", "/projects", {"project": {"name": 5}}, 400),
        ("POST", "/users", {"user": {}}, 400),
        ("POST", "/users", {"user": {"name": "x", "enabled": "perhaps"}}, 400),
        ("POST", "/roles", {"role": {"name": "admin"}}, 409),
        ("GET", "/projects/nothing", None, 404),
        ("GET", "/nothing", None, 404),
        ("PUT", "/auth/tokens", {}, 405),
        ("POST", "/auth/tokens", {"auth": {}}, 400),
        ("POST", "/auth/tokens", {"auth": {"identity": {"methods": ["magic"]}}}, 401),
    ],
)
def test_what_is_wrong_is_refused_in_keystones_form(
    admin: Http, method: str, path: str, body: Any, status: int
) -> None:
    got, _, data = admin.exchange(method, V3 + path, body)
    error = orjson.loads(data)["error"]
    assert (got, error["code"]) == (status, status), data
    assert error["message"]


def test_a_token_that_does_not_hold_is_no_proof_and_is_not_found(cloud: ProcessCloud) -> None:
    body = {"auth": {"identity": {"methods": ["token"], "token": {"id": "gAAAAA-nothing"}}}}
    with Http(cloud.url) as http:
        assert http.exchange("POST", f"{V3}/auth/tokens", body)[0] == 404
