"""Who has begun is served, who begins when the gateway leaves is not left in doubt."""

import socket

import pytest

from gateway.core.listener import begin_no_more


def test_what_has_begun_is_accepted_and_nothing_begins() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        with socket.create_connection(address) as early:
            early.sendall(b"request")
            begin_no_more(listening)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.3)
            accepted, _ = listening.accept()
            with accepted:
                assert accepted.recv(7) == b"request"
