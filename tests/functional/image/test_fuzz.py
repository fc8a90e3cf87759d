"""Whatever is sent to the Image API, the answer is one that the API knows, and never a 500."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.image.images import IMAGES
from gateway.image.patch import MEDIA_TYPES
from tests.functional.etcd import EtcdProcess
from tests.functional.image.harness import Cloud, a_cloud

NAMES = st.sampled_from([*sorted(IMAGES.shape.by_name), "hw_x", "os_glance_x", "a/b", "", "visibility"])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["raw", "bare", "public", "shared", "ami", "x" * 300, "\u0000", "\U0001f600"]),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
)
BODIES = st.one_of(st.dictionaries(NAMES, VALUES, max_size=5), VALUES)
PATHS = st.one_of(
    NAMES.map(lambda name: f"/{name}"), st.sampled_from(["/locations/-", "/locations/0", "/tags/0", "x"])
)
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "replace", "remove", "move", "x"]), "path": PATHS | VALUES},
    optional={"value": VALUES | st.fixed_dictionaries({"url": VALUES, "metadata": VALUES})},
)
QUERIES = st.dictionaries(
    NAMES
    | st.sampled_from(
        ["limit", "marker", "sort", "sort_key", "sort_dir", "tag", "size_min", "member_status"]
    ),
    st.text(max_size=20)
    | st.sampled_from(["in:", 'in:"a', "gt:2026-01-01T00:00:00Z", "-1", "name:asc,size", "all"]),
    max_size=3,
)
TARGETS = st.sampled_from(
    [
        ("POST", "/v2/images"),
        ("PATCH", "/v2/images/{id}"),
        ("GET", "/v2/images"),
        ("POST", "/v2/images/{id}/import"),
        ("POST", "/v2/images/{id}/members"),
        ("PUT", "/v2/images/{id}/members/p2"),
        ("POST", "/v2/images/{id}/locations"),
        ("POST", "/v2/tasks"),
        ("GET", "/v2/tasks"),
        ("POST", "/v2/metadefs/namespaces"),
        ("PUT", "/v2/metadefs/namespaces/ns"),
        ("POST", "/v2/metadefs/namespaces/ns/objects"),
        ("POST", "/v2/metadefs/namespaces/ns/properties"),
        ("POST", "/v2/metadefs/namespaces/ns/tags"),
        ("GET", "/v2/metadefs/namespaces"),
    ]
)
METHODS = st.sampled_from(["glance-direct", "glance-download", "copy-image", "x"])
IMPORTS = st.fixed_dictionaries(
    {
        "method": st.fixed_dictionaries(
            {"name": METHODS | VALUES}, optional={"glance_image_id": VALUES, "uri": VALUES}
        )
    },
    optional={"stores": VALUES, "all_stores": VALUES},
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def cloud(
    loop: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory, etcd_process: EtcdProcess
) -> Iterator[Cloud]:
    stack = AsyncExitStack()
    directory: Path = tmp_path_factory.mktemp("fuzz")
    yield loop.run(stack.enter_async_context(a_cloud(etcd_process.endpoint, directory)))
    loop.run(stack.aclose())


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_is_a_500(loop: asyncio.Runner, cloud: Cloud, data: st.DataObject) -> None:
    method, path = data.draw(TARGETS)
    token = data.draw(st.sampled_from(["p1.member", "p0.admin", "p2.reader"]))
    arguments: dict[str, Any] = {"token": token}
    if "{id}" in path:
        path = path.format(id=loop.run(cloud.image())["id"])
    if method == "PATCH":
        media = data.draw(st.sampled_from(list(MEDIA_TYPES)))
        arguments |= {"json": data.draw(st.lists(OPERATIONS, max_size=4)), "headers": {"Content-Type": media}}
    elif method == "GET":
        arguments["params"] = data.draw(QUERIES)
    elif path.endswith("/import"):
        arguments["json"] = data.draw(IMPORTS)
    else:
        wrapped = data.draw(
            st.sampled_from(["namespace", "name", "tags", "properties", "input", "member", "url"])
        )
        arguments["json"] = data.draw(BODIES | st.fixed_dictionaries({wrapped: VALUES | BODIES}))
    reply = loop.run(cloud.call(method, path, **arguments))
    assert reply.status_code < 500, (method, path, arguments, reply.text)
    listed = loop.run(cloud.call("GET", "/v2/images?limit=1", token="p0.admin"))
    assert listed.status_code == 200, listed.text
