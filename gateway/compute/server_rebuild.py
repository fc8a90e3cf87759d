"""Compute API, section "Servers - run an action": rebuild."""

from collections.abc import Mapping
from typing import Any

from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.compute import body, servers
from gateway.compute.acting import Known
from gateway.compute.server_create import FILE, base64_text, password
from gateway.core.codec import JsonValue
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response

_REBUILD = body.Obj(
    {
        "imageRef": body.uuid,
        "name": body.label(),
        "adminPass": body.text(),
        "metadata": body.METADATA,
        "preserve_ephemeral": body.boolean,
        "OS-DCF:diskConfig": body.word("AUTO", "MANUAL"),
        "accessIPv4": body.address(4, empty=True),
        "accessIPv6": body.address(6, empty=True),
        "personality": (body.items(FILE), "2.1", "2.56"),
        "description": (body.maybe(body.text()), "2.19", ""),
        "key_name": (body.maybe(body.text(255, 1)), "2.54", ""),
        "user_data": (body.maybe(base64_text), "2.57", ""),
        "trusted_image_certificates": (
            body.maybe(body.items(body.text(255, 1), least=1, most=50, unique=True)),
            "2.63",
            "",
        ),
        "hostname": (body.text(63, 1, r"[a-zA-Z0-9]([a-zA-Z0-9\-]*[a-zA-Z0-9])?"), "2.90", "2.93"),
        "hostname ": (body.text(255, 1, r"[a-zA-Z0-9]([a-zA-Z0-9\-.]*[a-zA-Z0-9])?"), "2.94", ""),
    },
    required=["imageRef"],
)
_PATHS = {
    "name": "meta.name",
    "description": "meta.description",
    "metadata": "spec.metadata",
    "OS-DCF:diskConfig": "spec.disk_config",
    "accessIPv4": "spec.access_ipv4",
    "accessIPv6": "spec.access_ipv6",
    "personality": "spec.personality",
    "key_name": "spec.key_name",
    "user_data": "spec.user_data",
    "hostname": "spec.hostname",
}


async def _rebuild(request: Request, value: Any) -> Response:
    if value.get("trusted_image_certificates"):
        raise Invalid("Image signatures are not verified by this cloud.", field="trusted_image_certificates")
    if value.get("preserve_ephemeral"):
        raise Invalid("The ephemeral disk cannot be preserved.", field="preserve_ephemeral")
    asked = pb.ActOnServerRequest(id=request.params["server_id"], rebuild=_asked(value))
    server = await request.call(request.stub(ServerServiceStub).ActOnServer, asked)
    shown = await _shown(request, server)
    shown["adminPass"] = value.get("adminPass") or password()
    return Response(202, {"server": shown}, {"location": f"{request.api_url}/v2.1/servers/{server.meta.id}"})


def _asked(value: Mapping[str, Any]) -> pb.ActOnServerRequest.Rebuild:
    rebuild = pb.ActOnServerRequest.Rebuild(image_id=value["imageRef"])
    rebuild.update_mask.paths.extend(path for name, path in _PATHS.items() if name in value)
    server, spec = rebuild.server, rebuild.server.spec
    server.meta.name = value.get("name", "")
    server.meta.description = value.get("description") or ""
    spec.metadata.update(value.get("metadata", {}))
    spec.disk_config = value.get("OS-DCF:diskConfig", "")
    spec.access_ipv4, spec.access_ipv6 = value.get("accessIPv4", ""), value.get("accessIPv6", "")
    spec.key_name = value.get("key_name") or ""
    spec.user_data = "".join((value.get("user_data") or "").split())
    spec.hostname = value.get("hostname", "")
    for file in value.get("personality", ()):
        spec.personality.add(path=file["path"], contents=file["contents"])
    return rebuild


async def _shown(request: Request, server: pb.Server) -> dict[str, JsonValue]:
    whole = await servers.full(request, server)
    shown = servers.of_change(request, whole)
    if request.microversion >= (2, 54):
        shown["key_name"] = whole["key_name"]
    if request.microversion >= (2, 57):
        shown["user_data"] = server.spec.user_data or None
    shown.pop("OS-EXT-SRV-ATTR:user_data", None)
    return shown


ACTIONS: Mapping[str, Known] = {"rebuild": (_rebuild, _REBUILD, "", "")}
