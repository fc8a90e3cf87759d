"""Compute API, section "Servers (servers)": what answers say of a server, by microversion."""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.compute.links import bookmark, links
from gateway.core.codec import Bool, Integer, JsonValue, Map, Text, Timestamp
from gateway.core.http import Request
from gateway.core.table import Field, Table

_ADMIN = "admin"
_WORKING = frozenset({"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"})
_ISO = Timestamp("iso_z")
_NULLABLE = Text(65535, nullable=True)


def addresses(server: pb.Server, request: Request) -> JsonValue:
    """By network name: address, version, MAC and kind."""
    found: dict[str, list[JsonValue]] = {}
    for nic in server.nics:
        entries = found.setdefault(nic.network_name, [])
        mac = nic.mac_address
        for fixed in nic.fixed_ips:
            entries.append(_address(fixed.ip_address, fixed.ip_version, "fixed", mac))
            entries += [_address(outer, 4, "floating", mac) for outer in fixed.floating_ips]
    return found


def _address(address: str, version: int, kind: str, mac: str) -> JsonValue:
    return {
        "version": version,
        "addr": address,
        "OS-EXT-IPS:type": kind,
        "OS-EXT-IPS-MAC:mac_addr": mac,
    }


def plain_addresses(shown: JsonValue) -> JsonValue:
    """Without kind and MAC."""
    assert isinstance(shown, dict)
    return {
        name: [{"version": entry["version"], "addr": entry["addr"]} for entry in entries]
        for name, entries in shown.items()
    }


def _image(server: pb.Server, request: Request) -> JsonValue:
    id_ = server.spec.image.id
    return {"id": id_, "links": [bookmark(request, "images", id_)]} if id_ else ""


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


@lru_cache(maxsize=65536)
def _host_id(project_id: str, node: str) -> str:
    return hashlib.sha224((project_id + node).encode()).hexdigest() if node else ""


def _groups(server: pb.Server, request: Request) -> JsonValue:
    group = server.spec.scheduler_hints.get("group")
    return [group] if group else []


def _host_status(server: pb.Server, request: Request) -> JsonValue:
    return server.view.host_status


def _instance_name(server: pb.Server, request: Request) -> JsonValue:
    return server.status.domain_name or f"instance-{server.meta.id[:8]}"


def _root_device(server: pb.Server, request: Request) -> JsonValue:
    return "/dev/vda" if server.view.HasField("launch_time") or server.node else None


def _attribute(name: str, path: str, **more: object) -> Field:
    """An extended attribute, since 2.3 and for administrators."""
    return Field(f"OS-EXT-SRV-ATTR:{name}", path, since="2.3", visible_to=_ADMIN, detail_only=True, **more)  # type: ignore[arg-type]


SERVERS = Table(
    singular="server",
    plural="servers",
    message=pb.Server,
    service=ServerServiceStub,
    fields=[
        Field("id", "meta.id"),
        Field("name", "meta.name"),
        Field("links", compute=lambda server, request: links(request, "servers", server.meta.id)),
        Field("status", "view.status", detail_only=True),
        Field("tenant_id", "meta.project_id", detail_only=True),
        Field("user_id", "spec.user_id", detail_only=True),
        Field("metadata", "spec.metadata", codec=Map(), detail_only=True),
        Field("hostId", compute=lambda s, _: _host_id(s.meta.project_id, s.node), detail_only=True),
        Field("image", compute=_image, detail_only=True),
        Field("flavor", compute=_flavor_link, until="2.46", detail_only=True),
        Field("flavor", compute=_flavor_copy, since="2.47", detail_only=True),
        Field("created", "meta.create_time", codec=_ISO, detail_only=True),
        Field("updated", "view.update_time", codec=_ISO, detail_only=True),
        Field("addresses", compute=addresses, detail_only=True),
        Field("accessIPv4", "spec.access_ipv4", detail_only=True),
        Field("accessIPv6", "spec.access_ipv6", detail_only=True),
        Field("OS-DCF:diskConfig", "spec.disk_config", detail_only=True),
        Field("progress", "view.progress", codec=Integer(), detail_only=True),
        Field("OS-EXT-AZ:availability_zone", "availability_zone", detail_only=True),
        Field(
            "config_drive",
            detail_only=True,
            compute=lambda server, _: "True" if server.spec.config_drive else "",
        ),
        Field("key_name", "spec.key_name", codec=_NULLABLE, detail_only=True),
        Field("OS-SRV-USG:launched_at", "view.launch_time", codec=Timestamp("nova"), detail_only=True),
        Field("OS-SRV-USG:terminated_at", const=None, detail_only=True),
        Field("os-extended-volumes:volumes_attached", const=[], detail_only=True),
        Field("OS-EXT-STS:task_state", "view.task_state", codec=_NULLABLE, detail_only=True),
        Field("OS-EXT-STS:vm_state", "view.vm_state", detail_only=True),
        Field("OS-EXT-STS:power_state", "view.power_state", codec=Integer(), detail_only=True),
        Field("OS-EXT-SRV-ATTR:host", "node", codec=_NULLABLE, visible_to=_ADMIN, detail_only=True),
        Field(
            "OS-EXT-SRV-ATTR:hypervisor_hostname",
            "node",
            codec=_NULLABLE,
            visible_to=_ADMIN,
            detail_only=True,
        ),
        Field("OS-EXT-SRV-ATTR:instance_name", compute=_instance_name, visible_to=_ADMIN, detail_only=True),
        _attribute("reservation_id", "spec.reservation_id"),
        _attribute("launch_index", "spec.launch_index", codec=Integer()),
        _attribute("kernel_id", "", const=""),
        _attribute("ramdisk_id", "", const=""),
        _attribute("root_device_name", "", compute=_root_device),
        _attribute("user_data", "spec.user_data", codec=_NULLABLE),
        Field(
            "OS-EXT-SRV-ATTR:hostname",
            "spec.hostname",
            since="2.3",
            until="2.89",
            visible_to=_ADMIN,
            detail_only=True,
        ),
        Field("OS-EXT-SRV-ATTR:hostname", "spec.hostname", since="2.90", detail_only=True),
        Field("locked", "spec.locked", codec=Bool, since="2.9", detail_only=True),
        Field("host_status", compute=_host_status, since="2.16", visible_to=_ADMIN, detail_only=True),
        Field("description", "meta.description", codec=_NULLABLE, since="2.19", detail_only=True),
        Field("tags", "meta.tags", since="2.26", detail_only=True),
        Field(
            "trusted_image_certificates",
            since="2.63",
            detail_only=True,
            compute=lambda server, _: list(server.spec.trusted_image_certificates) or None,
        ),
        Field("server_groups", compute=_groups, since="2.71", detail_only=True),
        Field(
            "locked_reason",
            "spec.locked_reason",
            codec=Text(255, nullable=True),
            since="2.73",
            detail_only=True,
        ),
        Field(
            "pinned_availability_zone",
            "spec.availability_zone",
            codec=_NULLABLE,
            since="2.96",
            detail_only=True,
        ),
    ],
)

# Before 2.75 the answers to update and rebuild have only these.
BASIC = frozenset(
    {
        "id", "name", "status", "tenant_id", "user_id", "metadata", "hostId", "image", "flavor", "created",
        "updated", "addresses", "links", "accessIPv4", "accessIPv6", "OS-DCF:diskConfig", "progress", "locked",
        "description", "tags", "fault", "trusted_image_certificates", "server_groups", "locked_reason",
    }
)  # fmt: skip


def render(servers: Sequence[pb.Server], request: Request, *, alone: bool) -> list[dict[str, JsonValue]]:
    """With all details; alone: the only one, not in a list."""
    shown = SERVERS.render_list(servers, request)
    for server, item in zip(servers, shown, strict=True):
        status = server.view.status
        if status not in _WORKING:
            del item["progress"]
            if status == "ERROR":
                item["fault"] = _fault(server)
        if not alone:
            item.pop("server_groups", None)
    return shown


def _fault(server: pb.Server) -> JsonValue:
    if server.status.state == pb.ServerStatus.STATE_ERROR:
        message, time = server.status.message or server.status.reason, server.status.observe_time
    elif server.HasField("fault"):
        message, time = server.fault.message, server.fault.time
    else:
        message, time = "An administrator set the state to error.", server.meta.update_time
    return {"code": 500, "created": _ISO.to_json(time), "message": message}
