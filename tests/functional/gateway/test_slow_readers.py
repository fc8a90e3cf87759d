"""Who takes the bytes of an image slowly holds neither memory nor others up."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.http_client import Http
from tests.processes import PASSWORD, ProcessCloud

MIB = 1 << 20
SIZE = 48 * MIB
READERS = 10
IMAGES = "/image/v2/images"


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ProcessCloud]:
    with ProcessCloud(tmp_path) as made:
        yield made


def begun(url: str, path: str, token: str) -> socket.socket:
    """A connection of which nothing more is read than that the answer has begun."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = socket.create_connection((parts.hostname, parts.port or 80), timeout=60)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nX-Auth-Token: {token}\r\n\r\n".encode()
    )
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def test_readers_that_stand_still_hold_a_small_part_of_what_they_asked_for(cloud: ProcessCloud) -> None:
    with ExitStack() as readers, Http(cloud.url) as client:
        client.login("admin", PASSWORD, "admin")
        image = {"name": "large", "disk_format": "raw", "container_format": "bare"}
        path = f"{IMAGES}/{client.call('POST', IMAGES, image)['id']}/file"
        client.call("PUT", path, os.urandom(SIZE), {"Content-Type": "application/octet-stream"})
        before = cloud.rss_bytes()
        for _ in range(READERS):
            readers.enter_context(begun(cloud.url, path, client.token))
        status, _, body = client.exchange("GET", path)  # meanwhile they would have got all they can
        after = cloud.rss_bytes()
    assert (status, len(body)) == (200, SIZE)
    for name in ("gateway", "agent"):
        assert after[name] - before[name] < READERS * SIZE / 4, name
