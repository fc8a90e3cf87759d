"""What callers get wrong is a clean 4xx in the API's shape, and no controller hears of it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.functional.gateway.harness import Client, Networks, serving

NETWORKS = "/network/v2.0/networks"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"network"', 400),
        (b'{"network": []}', 400),
        (b'{"network": null}', 400),
        (b'{"other": {}}', 400),
        (b'{"network": {"name": 3}}', 400),
        (b'{"network": {"name": null}}', 400),
        (b'{"network": {"name": NaN}}', 400),
        (b'{"network": {"mtu": 1e400}}', 400),
        (b'{"network": {"mtu": 99999999999999999999999}}', 400),
        (b'{"network": {"mtu": 1.5}}', 400),
        (b'{"network": {"mtu": true}}', 400),
        (b'{"network": {"name": "a\\u0000b"}}', 400),
        (b'{"network": {"name": "\\ud800"}}', 400),
        (b'{"network": {"name": "\xff"}}', 400),
        (b'{"network": {"status": "ACTIVE"}}', 400),
        (b'{"network": {"nonsense": 1}}', 400),
        (b'{"network": {"name": "' + b"x" * 256 + b'"}}', 400),
        (b'{"network": {"availability_zone_hints": [[1]]}}', 400),
        (b'{"network": {"availability_zone_hints": {"a": 1}}}', 400),
        (b"[" * 100_000, 400),
        (b'{"network": {"name": "' + b"x" * 2**20 + b'"}}', 413),
    ],
)
async def test_bad_bodies(client: Client, networks: Networks, raw: bytes, status: int) -> None:
    answer = await client("POST", NETWORKS, raw=raw)
    assert answer.status == status
    assert answer.json["NeutronError"]["message"]
    assert networks.metadata == {}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/network", 200),
        ("/network/", 200),
        ("/network//", 404),
        ("/network/v2.0/", 200),
        ("/network/v2.0//networks", 404),
        ("/network/v2.0/networks/", 200),
        ("/network/v2.0/networks//", 404),
        ("/network/v2.0/nonsense", 404),
        ("/network/v3", 404),
        ("/nonsense", 404),
        ("/network/v2.0/networks/%zz", 400),
        ("/network/v2.0/networks/%", 400),
        ("/network/v2.0/networks/%00", 400),
        ("/network/v2.0/networks/%ff", 400),
        ("/network/v2.0/networks/" + "x" * 9000, 400),
        (NETWORKS + "?limit=x", 400),
        (NETWORKS + "?limit=-1", 400),
        (NETWORKS + "?limit=%D9%A3", 400),
        (NETWORKS + "?sort_key=nonsense", 400),
        (NETWORKS + "?sort_key=name&sort_dir=up", 400),
        (NETWORKS + "?nonsense=1", 400),
        (NETWORKS + "?admin_state_up=maybe", 400),
        (NETWORKS + "?mtu=many", 400),
        (NETWORKS + "?name=%ff", 400),
        (NETWORKS + "?name=%00", 400),
        (NETWORKS + "?name=%", 400),
        (NETWORKS + "?name=" + "x" * 40_000, 414),
        (NETWORKS + "?" + "name=a&" * 2000, 400),
    ],
)
async def test_bad_paths_and_queries(client: Client, networks: Networks, path: str, status: int) -> None:
    answer = await client("GET", path)
    assert answer.status == status
    assert isinstance(answer.json, dict)
    if status != 200:
        assert networks.metadata == {}
        assert ("NeutronError" in answer.json) == path.startswith("/network")


async def test_the_wrong_method_names_the_right_ones(client: Client) -> None:
    answer = await client("PATCH", NETWORKS)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")


async def test_head_is_get_without_the_body(client: Client) -> None:
    got, head = await client("GET", "/network"), await client("HEAD", "/network")
    assert (head.status, head.raw, head.headers["content-length"]) == (200, b"", str(len(got.raw)))


@pytest.mark.parametrize("token", ["", "a b", "\xe9", "x" * 7000])
async def test_no_usable_token_is_401_without_a_call(client: Client, networks: Networks, token: str) -> None:
    answer = await client("GET", NETWORKS, token=token)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Keystone uri="http://cloud:8080/identity"'
    assert networks.metadata == {}


@pytest.mark.parametrize(("kind", "status"), [("text/plain", 415), ("application/json; charset=utf-8", 201)])
async def test_content_types(client: Client, kind: str, status: int) -> None:
    answer = await client("POST", NETWORKS, {"network": {}}, headers={"content-type": kind})
    assert answer.status == status


async def test_huge_headers_are_431(client: Client, networks: Networks) -> None:
    assert (await client("GET", NETWORKS, headers={"x-much": "x" * 70_000})).status == 431
    assert networks.metadata == {}


async def test_request_ids_are_on_every_answer_and_given_ones_are_kept(client: Client) -> None:
    given_id = "req-01234567-89ab-cdef-0123-456789abcdef"
    answer = await client("GET", "/nowhere", headers={"X-Openstack-Request-Id": given_id})
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    assert answer.headers["x-openstack-request-id"] != given_id


async def test_a_bug_upstream_is_500_and_tells_nothing(client: Client) -> None:
    answer = await client("POST", NETWORKS, {"network": {"name": "bug"}})
    assert answer.status == 500
    assert "secret" not in answer.raw.decode()


async def test_urls_follow_the_proxy_and_distrust_odd_hosts(client: Client) -> None:
    async def href(**headers: str) -> Any:
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        return (await client("GET", "/network", headers=given)).json["versions"][0]["links"][0]["href"]

    assert await href() == "http://cloud:8080/network/v2.0/"
    assert (
        await href(x_forwarded_proto="https", x_forwarded_host="c.example")
        == "https://c.example/network/v2.0/"
    )
    assert await href(host='evil"/><script>') == "http://127.0.0.1:8080/network/v2.0/"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    body=JSON,
    field=st.sampled_from(["name", "mtu", "shared", "availability_zone_hints", "provider:segmentation_id"]),
    wrap=st.sampled_from([0, 1, 2]),
)
def test_any_json_is_201_or_4xx(body: Any, field: str, wrap: int) -> None:
    async def post() -> int:
        async with serving(Networks()) as client:
            sent = [body, {"network": body}, {"network": {field: body}}][wrap]
            try:
                return (await client("POST", NETWORKS, sent)).status
            except TypeError:  # what orjson cannot even write
                return 400

    import asyncio

    assert asyncio.run(post()) in (201, 400)
