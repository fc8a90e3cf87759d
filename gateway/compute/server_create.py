"""Compute API, "Create Server"."""

import base64
import binascii
import secrets
import string
from collections.abc import Mapping
from typing import Any

import orjson

from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.compute import body
from gateway.compute.links import links
from gateway.compute.reading import body_of
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

_MOST = 2**31 - 1
_DATA = body.text(65535)


def base64_text(value: Any, name: str, version: body.Version) -> str:
    """Base64, as received."""
    found: str = _DATA(value, name, version)
    try:
        base64.b64decode("".join(found.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise body.refuse(name, value, f"{found[:40]!r} is not a 'base64'") from error
    return found


_NIC = {
    "uuid": body.uuid,
    "port": body.maybe(body.uuid),
    "fixed_ip": body.address(),
}
_NETWORKS = body.items(body.Obj(_NIC))
_TAGGED = body.items(body.Obj({**_NIC, "tag": body.TAG}))
_DEVICE = body.Obj(
    {
        "uuid": body.uuid,
        "source_type": body.word("volume", "image", "snapshot", "blank"),
        "destination_type": body.word("volume", "local"),
        "boot_index": body.maybe(body.integer()),
        "delete_on_termination": body.boolean,
        "volume_size": body.maybe(body.integer(1)),
        "guest_format": body.maybe(body.text()),
        "device_name": body.maybe(body.text()),
        "disk_bus": body.maybe(body.text()),
        "device_type": body.maybe(body.text()),
        "volume_type": (body.maybe(body.text()), "2.67", ""),
        "volume_id": body.maybe(body.uuid),
        "snapshot_id": body.maybe(body.uuid),
        "no_device": body.anything,
        "tag": body.TAG,
    }
)
_HINT = body.either(body.text(), body.items(body.text()))
HINTS = body.Obj(
    {
        "group": body.uuid,
        "different_host": body.either(body.uuid, body.items(body.uuid)),
        "same_host": body.either(body.uuid, body.items(body.uuid)),
        "query": body.anything,
        "target_cell": body.text(),
        "different_cell": _HINT,
        "build_near_host_ip": body.address(),
        "cidr": body.text(255, 0, r"/[0-9.]+"),
    },
    open=True,
)
FILE = body.Obj({"path": body.text(), "contents": base64_text}, required=["path", "contents"])
_REFERENCE = body.either(body.text(255, 1), body.integer(0))
SERVER = body.Obj(
    {
        "name": body.label(),
        "imageRef": body.either(body.uuid, body.text(2048)),
        "flavorRef": _REFERENCE,
        "adminPass": body.text(),
        "metadata": body.METADATA,
        "networks": (_NETWORKS, "2.1", "2.31"),
        "networks ": (_TAGGED, "2.32", "2.36"),
        "networks  ": (body.either(body.word("auto", "none"), _TAGGED), "2.37", ""),
        "OS-DCF:diskConfig": body.word("AUTO", "MANUAL"),
        "accessIPv4": body.address(4, empty=True),
        "accessIPv6": body.address(6, empty=True),
        "personality": (body.items(FILE), "2.1", "2.56"),
        "availability_zone": body.text(255, 1),
        "block_device_mapping": body.items(body.Obj(open=True)),
        "block_device_mapping_v2": body.items(_DEVICE),
        "config_drive": body.maybe(body.boolean),
        "key_name": body.maybe(body.text(255, 1)),
        "min_count": body.integer(1),
        "max_count": body.integer(1),
        "return_reservation_id": body.boolean,
        "security_groups": body.items(body.Obj({"name": body.text(255, 1)}, open=True)),
        "user_data": body.maybe(base64_text),
        "description": (body.maybe(body.text()), "2.19", ""),
        "tags": (body.items(body.TAG, most=50, unique=True), "2.52", ""),
        "trusted_image_certificates": (
            body.maybe(body.items(body.text(255, 1), least=1, most=50, unique=True)),
            "2.63",
            "",
        ),
        "host": (body.text(255, 1), "2.74", ""),
        "hypervisor_hostname": (body.text(255, 1), "2.74", ""),
        "hostname": (body.text(63, 2, r"[a-zA-Z0-9]([a-zA-Z0-9\-]*[a-zA-Z0-9])?"), "2.90", "2.93"),
        "hostname ": (body.text(255, 2, r"[a-zA-Z0-9]([a-zA-Z0-9\-.]*[a-zA-Z0-9])?"), "2.94", ""),
    },
    required=["name", "flavorRef"],
)


async def create(request: Request) -> Response:
    """Answers when the server is recorded; its status tells the rest."""
    given = body_of(
        request,
        "server",
        SERVER,
        **{"os:scheduler_hints": HINTS, "OS-SCH-HNT:scheduler_hints": HINTS},
    )
    if "networks" not in given and request.microversion >= (2, 37):
        raise body.refuse("server", {}, "'networks' is a required property")
    hints = request.json().get("os:scheduler_hints") or request.json().get("OS-SCH-HNT:scheduler_hints") or {}
    server = pb.Server()
    _plain(server, given)
    _placing(server, given)
    _networks(server.spec, given.get("networks"), request.microversion)
    for name, value in hints.items():
        server.spec.scheduler_hints[name] = _hint(name, value)
    lowest = given.get("min_count", 1)
    most = given.get("max_count", lowest)
    if lowest > most:
        raise Invalid("min_count must be <= max_count", field="min_count")
    asked = pb.CreateServerRequest(
        server=server,
        flavor_id=str(given["flavorRef"]).rpartition("/")[2],
        image_id=_image_id(given),
        min_count=lowest,
        max_count=most,
    )
    reply = await request.call(request.stub(ServerServiceStub).CreateServer, asked)
    return _answer(request, reply.servers[0], given)


def _hint(name: str, value: Any) -> str:
    if name == "query" and not isinstance(value, str):
        return orjson.dumps(value).decode()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _answer(request: Request, server: pb.Server, given: Mapping[str, Any]) -> Response:
    if given.get("return_reservation_id"):
        return Response(202, {"reservation_id": server.spec.reservation_id})
    groups = [{"name": group["name"]} for group in given.get("security_groups", [])]
    shown = {
        "id": server.meta.id,
        "links": links(request, "servers", server.meta.id),
        "OS-DCF:diskConfig": server.spec.disk_config,
        "security_groups": groups or [{"name": "default"}],
        "adminPass": given.get("adminPass") or password(),
    }
    location = f"{request.api_url}/v2.1/servers/{server.meta.id}"
    return Response(202, {"server": shown}, {"location": location})


def password() -> str:
    """A new one."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(12))


def _plain(server: pb.Server, given: Mapping[str, Any]) -> None:
    spec = server.spec
    server.meta.name = given["name"]
    server.meta.description = given.get("description") or ""
    server.meta.tags.extend(given.get("tags", ()))
    spec.metadata.update(given.get("metadata", {}))
    spec.disk_config = given.get("OS-DCF:diskConfig", "MANUAL")
    spec.access_ipv4 = given.get("accessIPv4", "")
    spec.access_ipv6 = given.get("accessIPv6", "")
    spec.config_drive = bool(given.get("config_drive"))
    spec.key_name = given.get("key_name") or ""
    spec.user_data = "".join((given.get("user_data") or "").split())
    spec.hostname = given.get("hostname", "")
    spec.trusted_image_certificates.extend(given.get("trusted_image_certificates") or ())
    for group in given.get("security_groups", ()):
        spec.security_groups.append(group["name"])
    for file in given.get("personality", ()):
        spec.personality.add(path=file["path"], contents=file["contents"])


def _placing(server: pb.Server, given: Mapping[str, Any]) -> None:
    zone, _, forced = given.get("availability_zone", "").partition(":")
    named = set(filter(None, forced.split(":")))  # zone:host:node; a host is a node
    asked = {name for name in (given.get("host"), given.get("hypervisor_hostname")) if name}
    if asked and named:
        raise Invalid("The host cannot be named twice, as availability_zone and as host.", field="host")
    if len(asked | named) > 1:
        raise Invalid("Compute host could not be found: host and node differ.", field="host")
    server.spec.availability_zone = zone
    server.spec.forced_node = next(iter(named), "")
    server.spec.requested_node = next(iter(asked), "")


def _networks(spec: pb.ServerSpec, networks: Any, version: body.Version) -> None:
    if networks == "auto":
        spec.auto_networks = True
    elif networks == "none":
        spec.no_networks = True
    else:
        for entry in networks or ():
            port_id, network_id = entry.get("port") or "", entry.get("uuid", "")
            if not port_id and not network_id:
                raise Invalid(
                    "Bad networks format: network uuid is not in proper format (None)", field="networks"
                )
            if port_id and entry.get("fixed_ip"):
                raise Invalid("Specified Fixed IP cannot be used with port.", field="networks")
            spec.networks.add(
                network_id=network_id,
                port_id=port_id,
                fixed_ip=entry.get("fixed_ip", ""),
                tag=entry.get("tag", ""),
            )


def _image_id(given: Mapping[str, Any]) -> str:
    reference = str(given.get("imageRef") or "")
    if given.get("block_device_mapping"):
        if "block_device_mapping_v2" in given:
            raise Invalid("Using different block_device_mapping syntaxes is not allowed.")
        raise Fault(400, "Volumes are not offered by this cloud.", reason="NO_VOLUMES")
    for device in given.get("block_device_mapping_v2", ()):
        is_image = device.get("source_type") == "image" and device.get("destination_type", "local") == "local"
        if not is_image or device.get("boot_index", 0) != 0:
            raise Invalid(
                "Block Device Mapping is Invalid: only a local disk made of an image is offered by this cloud.",
                field="block_device_mapping_v2",
            )
        if not device.get("uuid"):
            raise Invalid("Block Device Mapping is Invalid: 'uuid' is missing.", field="uuid")
        if reference and reference.rpartition("/")[2] != device["uuid"]:
            raise Invalid(
                "Block Device Mapping is Invalid: boot image differs from imageRef.", field="imageRef"
            )
        reference = device["uuid"]
    id_ = reference.rpartition("/")[2]
    if not id_:
        raise Invalid("Invalid imageRef provided.", field="imageRef")
    try:
        body.uuid(id_, "imageRef", (2, 1))
    except Invalid as error:
        raise Invalid("Invalid imageRef provided.", field="imageRef") from error
    return id_


routes = [Route("POST", "/v2.1/servers", create)]
