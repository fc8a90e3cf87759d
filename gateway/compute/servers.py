"""Compute API, section "Servers (servers)"."""

import hashlib

from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.compute.links import bookmark, links
from gateway.core.codec import Base64, Bool, Integer, JsonValue, Map, Text, Timestamp
from gateway.core.crud import crud
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table


def addresses(server: pb.Server, request: Request) -> JsonValue:
    """By network name: address, version, MAC and kind."""
    found: dict[str, list[JsonValue]] = {}
    for nic in server.nics:
        entries = found.setdefault(nic.network_name, [])
        for fixed in nic.fixed_ips:
            entries.append(
                {
                    "version": fixed.ip_version,
                    "addr": fixed.ip_address,
                    "OS-EXT-IPS:type": "fixed",
                    "OS-EXT-IPS-MAC:mac_addr": nic.mac_address,
                }
            )
    return found  # type: ignore[return-value]


def _image(server: pb.Server, request: Request) -> JsonValue:
    image = server.spec.image
    return {"id": image.id, "links": [bookmark(request, "images", image.id)]} if image.id else ""


def _flavor_link(server: pb.Server, request: Request) -> JsonValue:
    id_ = server.spec.flavor.id
    return {"id": id_, "links": [bookmark(request, "flavors", id_)]}


def _flavor_copy(server: pb.Server, request: Request) -> JsonValue:
    flavor = server.spec.flavor
    return {
        "original_name": flavor.name,
        "vcpus": flavor.vcpus,
        "ram": flavor.ram_mib,
        "disk": flavor.root_gb,
        "ephemeral": flavor.ephemeral_gb,
        "swap": flavor.swap_mib,
        "extra_specs": dict(flavor.extra_specs),
    }


def _host_id(server: pb.Server, request: Request) -> JsonValue:
    if not server.node:
        return ""
    return hashlib.sha224((server.meta.project_id + server.node).encode()).hexdigest()


def _fault(server: pb.Server) -> dict[str, JsonValue] | None:
    if server.view.status != "ERROR":
        return None
    if server.status.state == pb.ServerStatus.STATE_ERROR:
        message, time = server.status.message or server.status.reason, server.status.observe_time
    else:
        message, time = server.fault.message, server.fault.time
    return {"code": 500, "created": Timestamp("iso_z").to_json(time), "message": message}


_ADMIN = "admin"

SERVERS = Table(
    singular="server",
    plural="servers",
    message=pb.Server,
    service=ServerServiceStub,
    fields=[
        Field("id", "meta.id", sort=True),
        Field("name", "meta.name", write="create update", required=True, codec=Text(255, min=1), sort=True),
        Field("links", compute=lambda server, request: links(request, "servers", server.meta.id)),
        Field("status", "view.status", detail_only=True),
        Field("tenant_id", "meta.project_id", detail_only=True),
        Field("user_id", "spec.user_id", detail_only=True),
        Field("metadata", "spec.metadata", write="create", codec=Map(), detail_only=True),
        Field("hostId", compute=_host_id, detail_only=True),
        Field("image", compute=_image, detail_only=True),
        Field("flavor", compute=_flavor_link, until="2.46", detail_only=True),
        Field("flavor", compute=_flavor_copy, since="2.47", detail_only=True),
        Field("created", "meta.create_time", codec=Timestamp("iso_z"), detail_only=True),
        Field("updated", "meta.update_time", codec=Timestamp("iso_z"), detail_only=True),
        Field("addresses", compute=addresses, detail_only=True),
        Field("accessIPv4", "spec.access_ipv4", write="create update", detail_only=True),
        Field("accessIPv6", "spec.access_ipv6", write="create update", detail_only=True),
        Field(
            "OS-DCF:diskConfig", "spec.disk_config", write="create update", default="MANUAL", detail_only=True
        ),
        Field("progress", "view.progress", codec=Integer(), detail_only=True),
        Field(
            "OS-EXT-AZ:availability_zone",
            detail_only=True,
            compute=lambda server, _: server.spec.availability_zone or ("nova" if server.node else ""),
        ),
        Field(
            "config_drive",
            "spec.config_drive",
            write="create",
            read=False,
            codec=Bool(lenient=True, nullable=True),
        ),
        Field(
            "config_drive",
            detail_only=True,
            compute=lambda server, _: "True" if server.spec.config_drive else "",
        ),
        Field("key_name", "spec.key_name", write="create", codec=Text(255, nullable=True), detail_only=True),
        Field(
            "OS-SRV-USG:launched_at", "status.launch_time", codec=Timestamp("nova"), detail_only=True
        ),
        Field("OS-SRV-USG:terminated_at", const=None, detail_only=True),
        Field("security_groups", detail_only=True, compute=lambda server, _: [{"name": "default"}]),
        Field("os-extended-volumes:volumes_attached", const=[], detail_only=True),
        Field("OS-EXT-STS:task_state", "view.task_state", codec=Text(nullable=True), detail_only=True),
        Field("OS-EXT-STS:vm_state", "view.vm_state", detail_only=True),
        Field("OS-EXT-STS:power_state", "view.power_state", codec=Integer(), detail_only=True),
        Field(
            "OS-EXT-SRV-ATTR:host",
            "node",
            codec=Text(nullable=True),
            visible_to=_ADMIN,
            filter=True,
            aliases=(),
            detail_only=True,
        ),
        Field(
            "OS-EXT-SRV-ATTR:hypervisor_hostname",
            "node",
            codec=Text(nullable=True),
            visible_to=_ADMIN,
            detail_only=True,
        ),
        Field(
            "OS-EXT-SRV-ATTR:instance_name",
            visible_to=_ADMIN,
            detail_only=True,
            compute=lambda server, _: server.status.domain_name or f"instance-{server.meta.id[:8]}",
        ),
        Field("user_data", "spec.user_data", write="create", read=False, codec=Base64(65535)),
        Field("locked", "spec.locked", codec=Bool, since="2.9", detail_only=True),
        Field(
            "description",
            "meta.description",
            write="create update",
            codec=Text(255, nullable=True),
            since="2.19",
            detail_only=True,
        ),
        Field("tags", "meta.tags", since="2.26", detail_only=True),
    ],
)


async def create(request: Request) -> Response:
    """Answers when the server is recorded; its status tells the rest."""
    body = dict(request.api.dialect.unwrap(SERVERS, request.json(), request))
    image, flavor = body.pop("imageRef", ""), body.pop("flavorRef", None)
    if not isinstance(flavor, (str, int)) or isinstance(flavor, bool):
        raise Invalid("'flavorRef' is a required property", field="flavorRef")
    networks = body.pop("networks", None)
    groups = body.pop("security_groups", [])
    lowest, most = body.pop("min_count", 1), body.pop("max_count", 1)
    zone = body.pop("availability_zone", "")
    message = SERVERS.parse_create(body, request)
    _networks(message, networks)
    for group in groups:
        message.spec.security_groups.append(group["name"])
    message.spec.availability_zone, _, message.spec.forced_node = str(zone or "").partition(":")
    asked = pb.CreateServerRequest(
        server=message,
        flavor_id=str(flavor).rpartition("/")[2],
        image_id=str(image).rpartition("/")[2],
        min_count=int(lowest),
        max_count=int(most),
    )
    reply = await request.call(request.stub(ServerServiceStub).CreateServer, asked)
    server = reply.servers[0]
    shown = {
        "id": server.meta.id,
        "links": links(request, "servers", server.meta.id),
        "OS-DCF:diskConfig": server.spec.disk_config,
        "security_groups": [{"name": "default"}],
    }
    location = f"{request.api_url}/v2.1/servers/{server.meta.id}"
    return Response(202, {"server": shown}, {"location": location})


def _networks(message: pb.Server, networks: JsonValue) -> None:
    if networks == "auto":
        message.spec.auto_networks = True
    elif networks == "none":
        message.spec.no_networks = True
    elif isinstance(networks, list):
        for entry in networks:
            if not isinstance(entry, dict):
                raise Invalid("'networks' must be a list of objects.", field="networks")
            message.spec.networks.add(
                network_id=str(entry.get("uuid") or ""),
                port_id=str(entry.get("port") or ""),
                fixed_ip=str(entry.get("fixed_ip") or ""),
                tag=str(entry.get("tag") or ""),
            )


async def show(request: Request) -> Response:
    """With the fault of a failed server."""
    reply = await request.call(
        request.stub(ServerServiceStub).GetServer, pb.GetServerRequest(id=request.params["server_id"])
    )
    shown = SERVERS.render(reply, request)
    if fault := _fault(reply):
        shown["fault"] = fault
    return Response(200, {"server": shown})


async def act(request: Request) -> Response:
    """POST .../action: one key names the action."""
    body = request.json()
    if len(body) != 1:
        raise Invalid("The body must name one action.")
    name, value = next(iter(body.items()))
    id_ = request.params["server_id"]
    stub = request.stub(ServerServiceStub)
    if name == "os-getConsoleOutput":
        length = value.get("length") if isinstance(value, dict) else None
        asked = pb.GetConsoleOutputRequest(id=id_, lines=int(length) if length else 0)
        reply = await request.call(stub.GetConsoleOutput, asked)
        return Response(200, {"output": reply.output.decode(errors="replace")})
    action = _ACTIONS.get(name)
    if action is None:
        raise Invalid(f"There is no such action: {name[:64]}", field=name[:64])
    message = pb.ActOnServerRequest(id=id_)
    chosen = getattr(message, action)
    chosen.SetInParent()
    if action == "reboot":
        kind = value.get("type") if isinstance(value, dict) else None
        if kind not in ("SOFT", "HARD", "Soft", "Hard", "soft", "hard"):
            raise Invalid("'type' must be SOFT or HARD.", field="type")
        chosen.hard = str(kind).upper() == "HARD"
    await request.call(stub.ActOnServer, message)
    return Response(202)


_ACTIONS = {
    "os-start": "start",
    "os-stop": "stop",
    "reboot": "reboot",
    "pause": "pause",
    "unpause": "unpause",
    "suspend": "suspend",
    "resume": "resume",
    "lock": "lock",
    "unlock": "unlock",
}

routes = [
    Route("POST", "/v2.1/servers", create),
    Route("GET", "/v2.1/servers/{server_id}", show),
    *crud(
        SERVERS,
        "/v2.1",
        only="list detail update delete",
        detail=True,
        item_id="server_id",
        delete_status=204,
    ),
    Route("POST", "/v2.1/servers/{server_id}/action", act),
]
