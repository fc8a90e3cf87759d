"""Pages of a dashboard call the API; those of others are not let."""

from tests.functional.gateway.harness import Client, Settings

NETWORKS = "/network/v2.0/networks"
ALLOWED = {"origin": Settings.cors_origins[0]}
ASKING = {"access-control-request-method": "POST", "access-control-request-headers": "x-auth-token"}


async def test_a_browser_may_ask_what_it_may_send_without_a_token(client: Client) -> None:
    answer = await client("OPTIONS", NETWORKS, token="", headers=ALLOWED | ASKING)
    assert (answer.status, answer.raw) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == ALLOWED["origin"]
    assert "POST" in answer.headers["access-control-allow-methods"].split(", ")
    assert "X-Auth-Token" in answer.headers["access-control-allow-headers"].split(", ")


async def test_an_answer_and_a_refusal_name_the_origin(client: Client) -> None:
    for token, status in (("admin", 200), ("", 401)):
        answer = await client("GET", NETWORKS, token=token, headers=ALLOWED)
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ALLOWED["origin"]
        assert "X-Subject-Token" in answer.headers["access-control-expose-headers"].split(", ")


async def test_other_origins_are_told_nothing(client: Client) -> None:
    other = {"origin": "https://dashboard.example.org.evil.example"}
    for method, headers in (("GET", other), ("OPTIONS", other | ASKING), ("GET", {})):
        answer = await client(method, NETWORKS, headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]
