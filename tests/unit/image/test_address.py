"""Where callers may send a download."""

import pytest

from fabric.image.address import check_url, is_public
from fabric.runtime.errors import InvalidArgument


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("10.0.0.1", True),  # an operator's own network may have images
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) == public


@pytest.mark.parametrize(
    "url", ["", "x", "gopher://x", "file:///etc/passwd", "http://", "http://[", "http://x:99999"]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(InvalidArgument):
        check_url(url)
