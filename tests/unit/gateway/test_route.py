"""The router: fixed segments first, then parameters, then the rest."""

import pytest

from gateway.core.dialect import Api
from gateway.core.http import Request, Response
from gateway.core.route import Route, Router


async def handler(request: Request) -> Response:
    return Response()


PATHS = [
    "/v2",
    "/v2/servers",
    "/v2/servers/detail",
    "/v2/servers/{id}",
    "/v2/servers/{id}/action",
    "/v2/{project}/servers/{server}",
    "/v2/servers/detail/{x}/deep",
    "/o/{container}/{object...}",
]


@pytest.fixture(scope="module")
def router() -> Router:
    router = Router()
    router.mount(Api("a", [Route("GET", path, handler) for path in PATHS]), "/a")
    router.mount(Api("nested", [Route("GET", "/x", handler)]), "/a/nested")
    return router


@pytest.mark.parametrize(
    ("path", "route", "params"),
    [
        ("/a/v2", "/v2", {}),
        ("/a/v2/servers", "/v2/servers", {}),
        ("/a/v2/servers/detail", "/v2/servers/detail", {}),
        ("/a/v2/servers/7", "/v2/servers/{id}", {"id": "7"}),
        ("/a/v2/servers/detail/action", "/v2/servers/{id}/action", {"id": "detail"}),
        ("/a/v2/p/servers/s", "/v2/{project}/servers/{server}", {"project": "p", "server": "s"}),
        (
            "/a/o/c/some/deep/object",
            "/o/{container}/{object...}",
            {"container": "c", "object": "some/deep/object"},
        ),
    ],
)
def test_paths_that_are_known(router: Router, path: str, route: str, params: dict[str, str]) -> None:
    match = router.find(path.split("/")[1:])
    assert match is not None
    found = match.route("GET", (0, 0))
    assert found is not None
    assert (found[0].path, found[1]) == (route, params)


@pytest.mark.parametrize("path", ["/", "/a", "/a/v3", "/a/v2/servers/", "/a/v2/servers/7/nothing", "/b/v2"])
def test_paths_that_are_not(router: Router, path: str) -> None:
    assert router.find(path.split("/")[1:]) is None


def test_the_longest_mount_wins(router: Router) -> None:
    found = [router.api(path.split("/")) for path in ("a", "a/v9", "a/nested/y", "b")]
    assert [api and api.name for api in found] == ["a", "a", "nested", None]


def test_a_route_may_change_with_the_microversion() -> None:
    router = Router()
    old, new = Route("GET", "/x", handler, until="2.35"), Route("GET", "/x", handler, since="2.36")
    router.mount(Api("a", [old, new, Route("POST", "/x", handler, since="2.40")]), "")
    match = router.find(["x"])
    assert match is not None
    assert match.methods == ["GET", "HEAD", "POST"]
    assert match.route("GET", (2, 35)) == (old, {})
    assert match.route("HEAD", (2, 36)) == (new, {})
    assert match.route("POST", (2, 39)) is None
