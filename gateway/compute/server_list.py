"""Compute API, "List Servers": which query parameter asks for what."""

import re
from collections.abc import Mapping

from fabric.compute.v1 import server_pb2 as pb
from fabric.type.v1.query_pb2 import Filter, Query
from gateway.compute.body import refuse
from gateway.compute.reading import flag_of, limit_of, marker_of, time_form
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request

STATUSES = frozenset(
    {
        "ACTIVE", "BUILD", "DELETED", "ERROR", "HARD_REBOOT", "MIGRATING", "PASSWORD", "PAUSED", "REBOOT", "REBUILD",
        "RESCUE", "RESIZE", "REVERT_RESIZE", "SHELVED", "SHELVED_OFFLOADED", "SHUTOFF", "SOFT_DELETED", "SUSPENDED",
        "UNKNOWN", "VERIFY_RESIZE",
    }
)  # fmt: skip
_EQUAL = {"image": "spec.image.id", "flavor": "spec.flavor.id", "reservation_id": "spec.reservation_id"}
_TEXTS = {"name": "meta.name", "ip": "view.addresses"}
# For everybody since 2.83, before for administrators.
_LATER = {
    "availability_zone": "availability_zone",
    "key_name": "spec.key_name",
    "power_state": "view.power_state",
    "task_state": "view.task_state",
    "vm_state": "view.vm_state",
    "progress": "view.progress",
    "user_id": "spec.user_id",
    "config_drive": "spec.config_drive",
    "created_at": "meta.create_time",
    "launched_at": "view.launch_time",
}
_ADMIN = {
    "host": "node",
    "node": "node",
    "hypervisor_hostname": "node",
    "uuid": "meta.id",
    "tenant_id": "meta.project_id",
    "project_id": "meta.project_id",
    "hostname": "spec.hostname",
    "launch_index": "spec.launch_index",
    "description": "meta.description",
    "display_name": "meta.name",
    "access_ip_v4": "spec.access_ipv4",
    "access_ip_v6": "spec.access_ipv6",
    "image_ref": "spec.image.id",
    "instance_type_id": "spec.flavor.id",
}
_IGNORED = frozenset(
    {"limit", "marker", "sort_key", "sort_dir", "all_tenants", "deleted", "soft_deleted", "terminated_at",
     "kernel_id", "ramdisk_id", "root_device_name", "auto_disk_config", "locked_by", "block_device_mapping",
     "services", "metadata", "system_metadata", "security_groups", "info_cache", "pci_devices", "tags", "not-tags",
     "tags-any", "not-tags-any", "changes-since", "changes-before", "status", "ip6", "locked"}
)  # fmt: skip
_SORTS = {
    **_LATER,
    "access_ip_v4": "spec.access_ipv4",
    "access_ip_v6": "spec.access_ipv6",
    "auto_disk_config": "spec.disk_config",
    "display_description": "meta.description",
    "display_name": "meta.name",
    "host": "node",
    "hostname": "spec.hostname",
    "image_ref": "spec.image.id",
    "instance_type_id": "spec.flavor.id",
    "kernel_id": "meta.id",
    "launch_index": "spec.launch_index",
    "locked_by": "spec.locked_by_admin",
    "node": "node",
    "project_id": "meta.project_id",
    "ramdisk_id": "meta.id",
    "root_device_name": "meta.id",
    "terminated_at": "meta.delete_time",
    "updated_at": "view.update_time",
    "uuid": "meta.id",
}
_TAGS: Mapping[str, "Filter.Op.ValueType"] = {
    "tags": Filter.OP_ALL,
    "tags-any": Filter.OP_IN,
    "not-tags": Filter.OP_NOT_ALL,
    "not-tags-any": Filter.OP_NOT_IN,
}
_NUMBERS = frozenset({"power_state", "progress", "launch_index"})
_TIMES = frozenset({"created_at", "launched_at"})
_REPEATED_GROUP = re.compile(r"\)[*+{]")  # (a+)+ takes for ever
_REPEATS = re.compile(r"[*+{]")  # a*a*a*a*b takes long
_MOST_REPEATS = 3


def names_deleted(request: Request) -> bool:
    """Whether servers are asked for that only administrators may list: their roles must be known."""
    return any(value.upper() == "DELETED" for value in request.args("status"))


class Empty(Exception):
    """What is asked for cannot be there."""


def asked(request: Request) -> pb.ListServersRequest:
    """The list that the query string asks for. Raises Invalid, Fault 403, Empty."""
    message = pb.ListServersRequest()
    query = message.query
    query.limit, query.marker = limit_of(request), marker_of(request)
    query.all_projects = flag_of(request, "all_tenants")
    _sort(request, query)
    for name in dict.fromkeys(name for name, _ in request.query):
        _filter(request, message, name, request.args(name))
    if flag_of(request, "deleted") and request.arg("deleted") != "":
        message.only_deleted = True
    if query.limit == 0:
        raise Empty
    return message


def _sort(request: Request, query: Query) -> None:
    keys, directions = request.args("sort_key"), request.args("sort_dir")
    for direction in directions:
        if direction not in ("asc", "desc"):
            raise refuse("sort_dir", direction, f"{direction[:40]!r} is not one of ['asc', 'desc']")
    for at, key in enumerate(keys):
        path = "spec.locked" if key == "locked" and request.microversion >= (2, 73) else _SORTS.get(key)
        if path is None:
            raise refuse("sort_key", key, f"{key[:40]!r} is not one of {sorted(_SORTS)}")
        direction = directions[at] if at < len(directions) else (directions[0] if directions else "desc")
        query.sorts.add(path=path, descending=direction == "desc")


def _filter(request: Request, message: pb.ListServersRequest, name: str, values: list[str]) -> None:
    version, filters = request.microversion, message.query.filters
    if name == "status":
        filters.add(path="view.status", values=_statuses(request, values))
    elif name in _EQUAL:
        filters.add(path=_EQUAL[name], values=values)
    elif name in _TEXTS:
        filters.add(path=_TEXTS[name], op=Filter.OP_REGEX, values=[pattern(values[-1], name)])
    elif name == "ip6" and version >= (2, 5):
        filters.add(path="view.addresses", op=Filter.OP_REGEX, values=[pattern(values[-1], name)])
    elif name == "changes-since":
        op = Filter.OP_GE
        filters.add(path="view.update_time", op=op, values=[time_form(values[-1], name)])
    elif name == "changes-before" and version >= (2, 66):
        op = Filter.OP_LE
        filters.add(path="view.update_time", op=op, values=[time_form(values[-1], name)])
    elif name in _TAGS and version >= (2, 26):
        tags = [tag for tag in values[-1].split(",") if tag]
        filters.add(path="meta.tags", op=_TAGS[name], values=tags)
    elif name == "locked" and version >= (2, 73):
        filters.add(path="spec.locked", values=["true" if flag_of(request, name) else "false"])
    elif name in _LATER:
        into = filters if version >= (2, 83) else message.admin_filters
        into.add(path=_LATER[name], values=[_form(name, value) for value in values])
    elif name in _ADMIN:
        forms = [_form(name, value) for value in values]
        message.admin_filters.add(path=_ADMIN[name], values=forms)
    elif name not in _IGNORED and version >= (2, 75):
        raise Invalid(
            f"Invalid input for query parameters {name[:64]}. Additional properties are not allowed "
            f"('{name[:64]}' was unexpected)",
            field=name[:64],
        )


def _statuses(request: Request, values: list[str]) -> list[str]:
    found = [value.upper() for value in values if value.upper() in STATUSES]
    if not found:
        if request.microversion >= (2, 38):
            raise refuse("status", values[-1], "Invalid status value")
        raise Empty
    if "DELETED" in found and "admin" not in request.roles:
        raise Fault(403, "Only administrators may list deleted instances", reason="FORBIDDEN")
    return found


def _form(name: str, value: str) -> str:
    if name in _NUMBERS:
        if not re.fullmatch(r"-?[0-9]{1,9}", value):
            raise refuse(name, value, f"{value[:40]!r} is not of type 'integer'")
        return value
    if name in _TIMES:
        return time_form(value, name)
    if name == "config_drive":
        return "true" if value.strip().lower() in ("1", "true", "t", "yes", "on", "y") else "false"
    if name == "task_state" and value in ("None", "null"):
        return ""
    return value


def pattern(text: str, name: str) -> str:
    """A regular expression that is valid and does not take for ever. Raises Invalid."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise refuse(name, text, f"{text[:40]!r} is not a regular expression") from error
    bare = re.sub(r"\\.", "", text)
    if len(text) > 255 or _REPEATED_GROUP.search(bare) or len(_REPEATS.findall(bare)) > _MOST_REPEATS:
        raise refuse(name, text, "the regular expression is too complex")
    return text
