"""Compute API, section "Servers (servers)": list, show, update, delete."""

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.compute import body, server_list, server_security_group
from gateway.compute.reading import body_of, learn_roles, page
from gateway.compute.server_table import BASIC, SERVERS, plain_addresses, render
from gateway.core.codec import JsonValue
from gateway.core.http import Request, Response
from gateway.core.route import Route

_UPDATE = body.Obj(
    {
        "name": body.label(),
        "OS-DCF:diskConfig": body.word("AUTO", "MANUAL"),
        "accessIPv4": body.address(4, empty=True),
        "accessIPv6": body.address(6, empty=True),
        "description": (body.maybe(body.text()), "2.19", ""),
        "hostname": (body.text(63, 1, r"[a-zA-Z0-9]([a-zA-Z0-9\-]*[a-zA-Z0-9])?"), "2.90", ""),
    },
)
_PATHS = {
    "name": "meta.name",
    "OS-DCF:diskConfig": "spec.disk_config",
    "accessIPv4": "spec.access_ipv4",
    "accessIPv6": "spec.access_ipv6",
    "description": "meta.description",
    "hostname": "spec.hostname",
}


async def find(request: Request) -> pb.Server:
    """The server that the path names. Raises Fault 404."""
    asked = pb.GetServerRequest(id=request.params["server_id"])
    return await request.call(request.stub(ServerServiceStub).GetServer, asked)


async def write(request: Request, server: pb.Server, *paths: str) -> pb.Server:
    """Change these fields of it, if nobody else has changed it since it was read."""
    asked = pb.UpdateServerRequest(server=server, update_mask=FieldMask(paths=paths))
    return await request.call(request.stub(ServerServiceStub).UpdateServer, asked)


async def full(request: Request, server: pb.Server) -> dict[str, JsonValue]:
    """All that an answer about one server says."""
    shown = render([server], request, alone=True)
    await server_security_group.describe(request, [server], shown)
    return shown[0]


async def show(request: Request) -> Response:
    """One, with all details."""
    return Response(200, {"server": await full(request, await find(request))})


async def index(request: Request) -> Response:
    """Ids, names and links."""
    servers = await _list(request)
    shown = SERVERS.render_list(servers, request, detail=False)
    return Response(200, page(request, "servers", shown, [server.meta.id for server in servers]))


async def detail(request: Request) -> Response:
    """All that is known of each."""
    servers = await _list(request)
    shown = render(servers, request, alone=False)
    await server_security_group.describe(request, servers, shown)
    return Response(200, page(request, "servers", shown, [server.meta.id for server in servers]))


async def _list(request: Request) -> list[pb.Server]:
    if server_list.names_deleted(request):
        await learn_roles(request)
    try:
        asked = server_list.asked(request)
    except server_list.Empty:
        return []
    reply = await request.call(request.stub(ServerServiceStub).ListServers, asked)
    return list(reply.servers)


async def update(request: Request) -> Response:
    """Name, description, addresses, host name, disk configuration."""
    given = body_of(request, "server", _UPDATE)
    changed = pb.Server()
    changed.meta.id = request.params["server_id"]
    for name, value in given.items():
        holder, _, leaf = _PATHS[name].partition(".")
        setattr(getattr(changed, holder), leaf, value or "")
    paths = [_PATHS[name] for name in given]
    server = await write(request, changed, *paths) if paths else await find(request)
    return Response(200, {"server": of_change(request, await full(request, server))})


def of_change(request: Request, shown: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What answers to update and rebuild say of it."""
    if request.microversion >= (2, 75):
        return dict(shown)
    found = {name: value for name, value in shown.items() if name in BASIC}
    return found | {"addresses": plain_addresses(found["addresses"])}


async def delete(request: Request) -> Response:
    """It is gone when a GET says so."""
    asked = pb.DeleteServerRequest(id=request.params["server_id"])
    await request.call(request.stub(ServerServiceStub).DeleteServer, asked)
    return Response(204)


routes = [
    Route("GET", "/v2.1/servers", index),
    Route("GET", "/v2.1/servers/detail", detail),
    Route("GET", "/v2.1/servers/{server_id}", show),
    Route("PUT", "/v2.1/servers/{server_id}", update),
    Route("DELETE", "/v2.1/servers/{server_id}", delete),
]
