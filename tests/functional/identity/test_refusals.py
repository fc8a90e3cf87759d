"""Who is told what of things that are not there, not theirs, or not for their kind of token."""

import uuid
from typing import Any

import pytest

from tests.functional.identity.test_catalog import V3, made
from tests.http_client import Http
from tests.processes import DEMO_PASSWORD, ProcessCloud

NOTHING = uuid.uuid4().hex


def token_of(cloud: ProcessCloud, user: dict[str, Any], scope: dict[str, Any]) -> Http:
    """A client with a token for what has no project."""
    http = Http(cloud.url)
    password = {"user": {"id": user["id"], "password": "Secret-1"}}
    identity = {"methods": ["password"], "password": password}
    status, headers, _ = http.exchange(
        "POST", f"{V3}/auth/tokens", {"auth": {"identity": identity, "scope": scope}}
    )
    assert status == 201
    http.token, http.user_id = headers["x-subject-token"], user["id"]
    return http


def role(admin: Http, name: str) -> str:
    (found,) = admin.call("GET", f"{V3}/roles?name={name}")["roles"]
    return str(found["id"])


@pytest.mark.parametrize("blob", ["", "x", "[]", "{}", '{"access": ""}', '{"access": 5}'])
def test_an_access_key_stays_one(admin: Http, blob: str) -> None:
    own = f"{V3}/users/{admin.user_id}/credentials/OS-EC2"
    key = admin.call("POST", own, {"tenant_id": admin.project_id})["credential"]
    (found,) = [
        each["id"]
        for each in admin.call("GET", f"{V3}/credentials?user_id={admin.user_id}&type=ec2")["credentials"]
        if key["access"] in each["blob"]
    ]
    assert admin.exchange("PATCH", f"{V3}/credentials/{found}", {"credential": {"blob": blob}})[0] == 400
    assert admin.call("GET", own)["credentials"] == [key]
    admin.call("DELETE", f"{own}/{key['access']}")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"domains/{NOTHING}", 403),
        ("PATCH", f"domains/{NOTHING}", 404),
        ("DELETE", f"domains/{NOTHING}", 404),
        ("PATCH", f"users/{NOTHING}", 403),
        ("PATCH", f"groups/{NOTHING}", 403),
        ("DELETE", f"groups/{NOTHING}", 404),
        ("GET", f"roles/{NOTHING}", 404),
        ("PATCH", f"roles/{NOTHING}", 404),
        ("DELETE", f"roles/{NOTHING}", 404),
        ("DELETE", f"projects/{NOTHING}", 403),
        ("DELETE", f"credentials/{NOTHING}", 403),
        ("GET", "users/{me}/credentials/OS-EC2/" + NOTHING, 404),
        ("DELETE", f"users/{NOTHING}/credentials/OS-EC2/{NOTHING}", 404),
        ("GET", "users/{me}/application_credentials/" + NOTHING, 404),
        ("GET", f"users/{NOTHING}/application_credentials/{NOTHING}", 403),
    ],
)
def test_a_member_is_told_of_what_does_not_exist(
    cloud: ProcessCloud, method: str, path: str, status: int
) -> None:
    with Http(cloud.url) as demo:
        demo.login("demo", DEMO_PASSWORD, "demo")
        noun = path.split("/")[0].removesuffix("s")
        body = {noun: {"description": "d"}} if method == "PATCH" else None
        assert demo.exchange(method, f"{V3}/{path.format(me=demo.user_id)}", body)[0] == status


def test_who_may_only_read_is_not_told_that_there_is_nothing_to_change(
    cloud: ProcessCloud, admin: Http
) -> None:
    user = made(admin, "users", "user", name=f"auditor-{NOTHING}", password="Secret-1")
    admin.call("PUT", f"{V3}/system/users/{user['id']}/roles/{role(admin, 'reader')}")
    with token_of(cloud, user, {"system": {"all": True}}) as auditor:
        credential = f"{V3}/credentials/{NOTHING}"
        assert auditor.exchange("GET", credential)[0] == 404
        assert auditor.exchange("PATCH", credential, {"credential": {"blob": "b"}})[0] == 403
        assert auditor.exchange("DELETE", credential)[0] == 403
        program = {"application_credential": {"name": "program"}}
        path = f"{V3}/users/{user['id']}/application_credentials"
        assert auditor.exchange("POST", path, program)[0] == 403
    admin.call("DELETE", f"{V3}/users/{user['id']}")


def test_secrets_for_programs_are_their_own_users_whatever_the_path_says(
    cloud: ProcessCloud, admin: Http
) -> None:
    own = f"{V3}/users/{admin.user_id}"
    program = admin.call(
        "POST", f"{own}/application_credentials", {"application_credential": {"name": "program"}}
    )["application_credential"]
    key = admin.call("POST", f"{own}/credentials/OS-EC2", {"tenant_id": admin.project_id})["credential"]
    with Http(cloud.url) as demo:
        demo.login("demo", DEMO_PASSWORD, "demo")
        for thing in (f"application_credentials/{program['id']}", f"credentials/OS-EC2/{key['access']}"):
            for user_id in (demo.user_id, admin.user_id):
                for method in ("GET", "DELETE"):
                    assert demo.exchange(method, f"{V3}/users/{user_id}/{thing}")[0] == 403
    admin.call("DELETE", f"{own}/credentials/OS-EC2/{key['access']}")
    admin.call("DELETE", f"{own}/application_credentials/{program['id']}")


def test_a_token_of_a_domain_and_a_reader_make_no_keys(cloud: ProcessCloud, admin: Http) -> None:
    user = made(admin, "users", "user", name=f"reader-{NOTHING}", password="Secret-1")
    domain = f"{V3}/domains/default/users/{user['id']}/roles/{role(admin, 'admin')}"
    project = f"{V3}/projects/{admin.project_id}/users/{user['id']}/roles/{role(admin, 'reader')}"
    admin.call("PUT", domain)
    admin.call("PUT", project)
    own = f"{V3}/users/{user['id']}"
    with token_of(cloud, user, {"domain": {"id": "default"}}) as of_domain:
        for path in ("credentials/OS-EC2", "application_credentials", "access_rules"):
            assert of_domain.exchange("GET", f"{own}/{path}")[0] == 403
        trusts = f"{V3}/OS-TRUST/trusts?trustor_user_id={user['id']}"
        assert of_domain.exchange("GET", trusts)[0] == 403
    with token_of(cloud, user, {"project": {"id": admin.project_id}}) as reader:
        body = {"tenant_id": admin.project_id}
        assert reader.exchange("POST", f"{own}/credentials/OS-EC2", body)[0] == 403
        assert reader.call("GET", f"{own}/credentials/OS-EC2")["credentials"] == []
    admin.call("DELETE", own)


def test_a_restricted_application_credential_makes_no_keys(cloud: ProcessCloud, admin: Http) -> None:
    own = f"{V3}/users/{admin.user_id}"
    program = admin.call(
        "POST", f"{own}/application_credentials", {"application_credential": {"name": "restricted"}}
    )["application_credential"]
    secret = {"id": program["id"], "secret": program["secret"]}
    identity = {"methods": ["application_credential"], "application_credential": secret}
    with Http(cloud.url) as http:
        _, headers, _ = http.exchange("POST", f"{V3}/auth/tokens", {"auth": {"identity": identity}})
        http.token = headers["x-subject-token"]
        status, _, _ = http.exchange(
            "POST", f"{own}/credentials/OS-EC2", {"tenant_id": program["project_id"]}
        )
        assert status == 403
    admin.call("DELETE", f"{own}/application_credentials/{program['id']}")


def test_a_role_of_another_domain_is_given_on_domains_and_on_no_project(admin: Http) -> None:
    domain = made(admin, "domains", "domain", name=f"domain-{NOTHING}")["id"]
    foreign = made(admin, "roles", "role", name="foreign", domain_id=domain)["id"]
    grant = f"users/{admin.user_id}/roles/{foreign}"
    assert admin.exchange("PUT", f"{V3}/projects/{admin.project_id}/{grant}")[0] == 403
    admin.call("PUT", f"{V3}/domains/default/{grant}")
    admin.call("DELETE", f"{V3}/domains/default/{grant}")
    admin.call("PATCH", f"{V3}/domains/{domain}", {"domain": {"enabled": False}})
    admin.call("DELETE", f"{V3}/domains/{domain}")


def test_a_manager_of_a_domain_sees_the_roles_that_it_may_give(cloud: ProcessCloud, admin: Http) -> None:
    user = made(admin, "users", "user", name=f"manager-{NOTHING}", password="Secret-1")
    admin.call("PUT", f"{V3}/domains/default/users/{user['id']}/roles/{role(admin, 'manager')}")
    own = made(admin, "roles", "role", name="of-the-domain", domain_id="default")["id"]
    with token_of(cloud, user, {"domain": {"id": "default"}}) as manager:
        assert manager.call("GET", f"{V3}/roles")["roles"]
        assert manager.call("GET", f"{V3}/roles/{role(admin, 'member')}")["role"]["name"] == "member"
        assert manager.exchange("GET", f"{V3}/roles/{role(admin, 'admin')}")[0] == 403
        assert manager.exchange("GET", f"{V3}/roles/{own}")[0] == 403
        assert manager.exchange("GET", f"{V3}/roles?domain_id=default")[0] == 403
    admin.call("DELETE", f"{V3}/roles/{own}")
    admin.call("DELETE", f"{V3}/users/{user['id']}")


def test_ids_are_chosen_for_domains_and_never_changed(admin: Http) -> None:
    body = {"domain": {"name": "chosen", "explicit_domain_id": "a b", "enabled": False}}
    assert admin.exchange("POST", f"{V3}/domains", body)[0] == 400
    body["domain"]["explicit_domain_id"] = chosen = uuid.uuid4().hex
    assert admin.call("POST", f"{V3}/domains", body)["domain"]["id"] == chosen
    assert admin.exchange("POST", f"{V3}/domains", body)[0] == 409
    path = f"{V3}/domains/{chosen}"
    assert admin.exchange("PATCH", path, {"domain": {"id": NOTHING}})[0] == 400
    renamed = admin.call("PATCH", path, {"domain": {"id": chosen, "name": "renamed"}})["domain"]
    assert (renamed["id"], renamed["name"]) == (chosen, "renamed")
    admin.call("DELETE", path)
