"""Access rules."""

import pytest

from fabric.runtime.access import Rule, allows


@pytest.mark.parametrize(
    ("pattern", "path", "allowed"),
    [
        ("/v2.1/servers", "/v2.1/servers", True),
        ("/v2.1/servers", "/v2.1/servers/x", False),
        ("/v2.1/servers", "/v2x1/servers", False),
        ("/v2.1/servers/*", "/v2.1/servers/x", True),
        ("/v2.1/servers/*", "/v2.1/servers/", False),
        ("/v2.1/servers/*", "/v2.1/servers/x/action", False),
        ("/v2.1/servers/{id}/action", "/v2.1/servers/x/action", True),
        ("/v2.1/**", "/v2.1/servers/x/action", True),
        ("/v2.1/**", "/v2.2/servers", False),
        ("/compute/v2.1/servers", "/v2.1/servers", True),
        ("/v2.1/serve{r", "/v2.1/servers", False),
        ("**a" * 40, "/" + "a" * 39 + "b" * 2000, False),
    ],
)
def test_paths(pattern: str, path: str, allowed: bool) -> None:
    rules = [Rule("compute", "POST", pattern), Rule("compute", "GET", pattern)]
    assert allows(rules, f"compute GET /compute /compute{path}") == allowed
    assert not allows(rules, f"compute PUT /compute /compute{path}")
    assert not allows(rules, f"network GET /network /network{path}")


@pytest.mark.parametrize("asked", ["", "compute GET", "compute GET  / x"])
def test_who_does_not_say_what_is_asked_is_not_allowed(asked: str) -> None:
    assert not allows([Rule("compute", "GET", "**")], asked)
