"""What a request knows of the gateway that it came to."""

from gateway.core.http import Request
from gateway.core.upstream import Upstream

CATALOG = b'{"url":"http://10.0.0.1:8780/identity","other":"http://10.0.0.1:87801/x"}'


def request(public_url: str, catalog_url: str) -> Request:
    scope = {"method": "GET", "raw_path": b"/", "headers": [(b"host", b"10.0.0.3:8780")]}
    return Request(scope, None, Upstream(), "req-1", public_url, catalog_url)


def test_catalog_names_the_gateway_that_the_caller_came_to() -> None:
    shown = request("http://10.0.0.2:8780", "http://10.0.0.1:8780").shown_here(CATALOG)
    assert shown == b'{"url":"http://10.0.0.2:8780/identity","other":"http://10.0.0.1:87801/x"}'
    assert (
        request("", "http://10.0.0.1:8780").shown_here(CATALOG).startswith(b'{"url":"http://10.0.0.3:8780/')
    )
    assert request("http://10.0.0.2:8780", "").shown_here(CATALOG) == CATALOG
