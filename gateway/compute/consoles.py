"""Compute API, section "Server consoles", and the page that shows the screen of one."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from fabric.compute.v1 import console_pb2 as pb
from fabric.compute.v1.console_pb2_grpc import ConsoleServiceStub
from gateway.compute import body, console_socket, servers
from gateway.compute.acting import Act, Known
from gateway.compute.reading import body_of
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

_PAGE = "/console/vnc.html"
_KINDS = {"novnc": pb.CONSOLE_KIND_VNC, "serial": pb.CONSOLE_KIND_SERIAL}
_PROTOCOLS = {
    "novnc": "vnc",
    "xvpvnc": "vnc",
    "spice-html5": "spice",
    "rdp-html5": "rdp",
    "serial": "serial",
    "webmks": "mks",
}
_REMOTE = body.Obj(
    {"protocol": body.word(*dict.fromkeys(_PROTOCOLS.values())), "type": body.word(*_PROTOCOLS)},
    required=["protocol", "type"],
)
_TYPE = body.Obj({"type": body.text()}, required=["type"])


async def _url(request: Request, kind: str) -> str:
    """Where the console is, for whoever has the URL. Raises Fault."""
    if kind not in _KINDS:
        await servers.find(request)
        raise Invalid(f"Unavailable console type {kind[:64]}.", reason="CONSOLE_TYPE_UNAVAILABLE")
    asked = pb.CreateConsoleRequest(server_id=request.params["server_id"], kind=_KINDS[kind])
    made = await request.call(request.stub(ConsoleServiceStub).CreateConsole, asked)
    socket = f"{request.api_url}{console_socket.PATH}?token={made.ticket}"
    if kind == "serial":
        return socket.replace("http", "ws", 1)
    path = socket.removeprefix(request.base_url).lstrip("/")  # as noVNC's own pages take it
    return f"{request.api_url}{_PAGE}?path={quote(path, safe='')}"


async def create(request: Request) -> Response:
    """POST .../remote-consoles."""
    given = body_of(request, "remote_console", _REMOTE)
    kind, protocol = given["type"], given["protocol"]
    if _PROTOCOLS[kind] != protocol:
        raise Invalid(f"Unavailable console type {kind} for the protocol {protocol}.", field="type")
    url = await _url(request, kind)
    return Response(200, {"remote_console": {"protocol": protocol, "type": kind, "url": url}})


def _get(*kinds: str) -> Act:
    async def act(request: Request, value: Any) -> Response:
        kind = value["type"]
        if kind not in kinds:
            raise body.refuse("type", kind, f"{kind[:64]!r} is not one of {list(kinds)}")
        return Response(200, {"console": {"type": kind, "url": await _url(request, kind)}})

    return act


async def page(request: Request) -> Response:
    """The page needs no token of its own: the socket that it opens wants the ticket."""
    content = files("gateway.compute").joinpath("vnc.html").read_bytes()
    return Response(200, content, {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"})


ACTIONS: Mapping[str, Known] = {
    "os-getRDPConsole": (_get("rdp-html5"), _TYPE, "", "2.5"),
    "os-getSPICEConsole": (_get("spice-html5"), _TYPE, "", "2.5"),
    "os-getSerialConsole": (_get("serial"), _TYPE, "", "2.5"),
    "os-getVNCConsole": (_get("novnc", "xvpvnc"), _TYPE, "", "2.5"),
}

routes = [Route("POST", "/v2.1/servers/{server_id}/remote-consoles", create, since="2.6")]
PAGE = Route("GET", _PAGE, page, public=True)
