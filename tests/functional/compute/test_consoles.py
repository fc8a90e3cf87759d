"""Consoles through the gateway: the guests of these nodes say what they are told."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, RejectConnection, Request

from tests.functional.compute.api import Compute


class Socket:
    """The client's end of a WebSocket."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), 20)
        self._ws = WSConnection(ConnectionType.CLIENT)
        target = f"{parts.path}?{parts.query}"
        self.say(Request(host=parts.netloc, target=target, subprotocols=["binary"]))
        self.answer = self.event()

    def say(self, event: Event) -> None:
        self._socket.sendall(self._ws.send(event))

    def event(self) -> Event:
        while True:
            for event in self._ws.events():
                return event
            self._ws.receive_data(self._socket.recv(4096) or None)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def opened(url: str) -> Iterator[Socket]:
    found = Socket(url)
    try:
        yield found
    finally:
        found.close()


def remote(demo: Compute, id_: str, kind: str, protocol: str) -> str:
    body = {"remote_console": {"type": kind, "protocol": protocol}}
    made = demo.call("POST", f"/servers/{id_}/remote-consoles", body, version="2.6")["remote_console"]
    assert (made["type"], made["protocol"]) == (kind, protocol)
    return str(made["url"])


def test_a_screen_is_shown_by_a_page_that_opens_a_socket(demo: Compute) -> None:
    page = urlsplit(remote(demo, demo.boot(), "novnc", "vnc"))
    status, _, html = demo.http.exchange("GET", page.path)
    assert (status, b"noVNC" in html) == (200, True)
    (path,) = parse_qs(page.query)["path"]
    with opened(f"ws://{page.netloc}/{path}") as console:
        assert isinstance(console.answer, AcceptConnection)
        assert console.answer.subprotocol == "binary"
        console.say(BytesMessage(data=b"RFB 003.008\n"))
        assert console.event() == BytesMessage(data=b"RFB 003.008\n")
        console.say(CloseConnection(code=1000))


def test_a_serial_port_is_a_socket(demo: Compute) -> None:
    id_ = demo.boot()
    old = demo.act(id_, "os-getSerialConsole", {"type": "serial"})["console"]["url"]
    for url in (old, remote(demo, id_, "serial", "serial")):
        with opened(url) as console:
            console.say(BytesMessage(data=b"root\r"))
            assert console.event() == BytesMessage(data=b"root\r")


def test_without_its_ticket_nobody_gets_in(demo: Compute) -> None:
    url = remote(demo, demo.boot(), "serial", "serial")
    for wrong in (
        url.replace("token=", "token=bad"),
        url.partition("?")[0] + "?",
        url.replace("/socket", "/x"),
    ):
        with opened(wrong) as console:
            assert isinstance(console.answer, RejectConnection)
            assert console.answer.status_code == 403


def test_what_has_no_console_says_so(demo: Compute) -> None:
    id_ = demo.boot()
    path = f"/servers/{id_}/remote-consoles"
    for kind, protocol, status in (("spice-html5", "spice", 400), ("serial", "vnc", 400), ("x", "vnc", 400)):
        body = {"remote_console": {"type": kind, "protocol": protocol}}
        assert demo.refused("POST", path, body, version="2.6")[0] == status
    demo.act(id_, "os-stop")
    demo.settle(id_, "SHUTOFF")
    body = {"remote_console": {"type": "novnc", "protocol": "vnc"}}
    assert demo.refused("POST", path, body, version="2.6")[0] == 409


def test_a_console_goes_with_its_server(demo: Compute) -> None:
    id_ = demo.boot()
    url = remote(demo, id_, "serial", "serial")
    demo.call("DELETE", f"/servers/{id_}")
    demo.gone(id_)
    with opened(url) as console:
        assert isinstance(console.answer, RejectConnection)
