"""Compute API, sections "Quota sets", "Quota class sets" and "Limits"."""

from collections.abc import Iterable, Mapping

from fabric.compute.v1 import quota_pb2 as pb
from fabric.compute.v1.quota_pb2_grpc import QuotaServiceStub
from fabric.type.v1.quota_pb2 import Quota
from gateway.compute import body
from gateway.compute.body import Version
from gateway.compute.reading import body_of
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route

_PREFIX = "compute."
_KEPT = ("instances", "cores", "ram", "metadata_items", "key_pairs", "server_groups", "server_group_members")
_FILES = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")  # until 2.56
_NETWORK = (
    "fixed_ips",
    "floating_ips",
    "security_groups",
    "security_group_rules",
)  # until 2.35; told, without effect
_LIMIT = body.integer(-1)
_WRITTEN: dict[str, body.Rule | tuple[body.Rule, str, str]] = dict.fromkeys(_KEPT, _LIMIT)
_WRITTEN |= dict.fromkeys(_FILES, (_LIMIT, "", "2.56"))
_WRITTEN |= dict.fromkeys((*_NETWORK, "networks"), (_LIMIT, "", "2.35"))
_SET = body.Obj({**_WRITTEN, "tenant_id": body.anything, "force": body.boolean})
_CLASS = body.Obj({**_WRITTEN, "id": body.anything, "class_name": body.anything})


def _names(version: Version, network_until: Version = (2, 35)) -> list[str]:
    names = list(_KEPT)
    if version <= (2, 56):
        names += _FILES
    if version <= network_until:
        names += _NETWORK
    return names


def _values(quotas: Iterable[Quota]) -> Mapping[str, Quota]:
    return {quota.resource.removeprefix(_PREFIX): quota for quota in quotas}


def _limits(quotas: Iterable[Quota], names: Iterable[str]) -> dict[str, JsonValue]:
    known = _values(quotas)
    return {name: known[name].limit if name in known else -1 for name in names}


def _used(name: str, quota: Quota | None) -> JsonValue:
    """Counts of what Nova does not count for a project are 0."""
    if quota is None:
        return {"limit": -1, "in_use": 0, "reserved": 0}
    in_use = 0 if name in ("key_pairs", "server_group_members", "metadata_items") else quota.usage
    return {"limit": quota.limit, "in_use": in_use, "reserved": 0}


async def _get(request: Request) -> pb.GetQuotasResponse:
    asked = pb.GetQuotasRequest(project_id=request.params["project_id"], user_id=request.arg("user_id"))
    return await request.call(request.stub(QuotaServiceStub).GetQuotas, asked)


async def show(request: Request) -> Response:
    """The limits of a project, or of a user in it."""
    names = _names(request.microversion)
    shown: dict[str, JsonValue] = {"id": request.params["project_id"]}
    return Response(200, {"quota_set": shown | _limits((await _get(request)).quotas, names)})


async def detail(request: Request) -> Response:
    """With what is in use."""
    known = _values((await _get(request)).quotas)
    shown: dict[str, JsonValue] = {"id": request.params["project_id"]}
    shown |= {name: _used(name, known.get(name)) for name in _names(request.microversion)}
    return Response(200, {"quota_set": shown})


async def defaults(request: Request) -> Response:
    """What holds for projects without limits of their own."""
    reply = await request.call(request.stub(QuotaServiceStub).GetDefaultQuotas, pb.GetDefaultQuotasRequest())
    shown: dict[str, JsonValue] = {"id": request.params["project_id"]}
    return Response(200, {"quota_set": shown | _limits(reply.quotas, _names(request.microversion))})


async def update(request: Request) -> Response:
    """Of a project, or of a user in it."""
    given = body_of(request, "quota_set", _SET)
    limits = {_PREFIX + name: limit for name, limit in given.items() if name in _WRITTEN}
    asked = pb.UpdateQuotasRequest(
        project_id=request.params["project_id"],
        user_id=request.arg("user_id"),
        limits=limits,
        force=given.get("force", False),
    )
    reply = await request.call(request.stub(QuotaServiceStub).UpdateQuotas, asked)
    return Response(200, {"quota_set": _limits(reply.quotas, _names(request.microversion))})


async def delete(request: Request) -> Response:
    """Back to the defaults."""
    asked = pb.DeleteQuotasRequest(project_id=request.params["project_id"], user_id=request.arg("user_id"))
    await request.call(request.stub(QuotaServiceStub).DeleteQuotas, asked)
    return Response(202)


def _class_names(version: Version) -> list[str]:
    names = _names(version, (2, 49))
    return names if version >= (2, 50) else [name for name in names if not name.startswith("server_group")]


async def show_class(request: Request) -> Response:
    """The class "default" is the defaults; others never were of use."""
    id_ = request.params["id"]
    reply = await request.call(request.stub(QuotaServiceStub).GetDefaultQuotas, pb.GetDefaultQuotasRequest())
    if "admin" not in request.roles:
        text = "Policy doesn't allow os_compute_api:os-quota-class-sets:show to be performed."
        raise Fault(403, text, reason="PERMISSION_DENIED")
    shown: dict[str, JsonValue] = {"id": id_}
    return Response(
        200, {"quota_class_set": shown | _limits(reply.quotas, _class_names(request.microversion))}
    )


async def update_class(request: Request) -> Response:
    """Set the defaults."""
    given = body_of(request, "quota_class_set", _CLASS)
    limits = {_PREFIX + name: limit for name, limit in given.items() if name in _WRITTEN}
    if request.params["id"] != "default":
        limits = {}
    asked = pb.UpdateDefaultQuotasRequest(limits=limits)
    reply = await request.call(request.stub(QuotaServiceStub).UpdateDefaultQuotas, asked)
    shown = _limits(reply.quotas, _class_names(request.microversion))
    shown |= {name: given[name] for name in shown if name in given}  # also of a class without effect
    return Response(200, {"quota_class_set": shown})


_ABSOLUTE = {
    "maxTotalInstances": "instances",
    "maxTotalCores": "cores",
    "maxTotalRAMSize": "ram",
    "maxServerMeta": "metadata_items",
    "maxTotalKeypairs": "key_pairs",
    "maxServerGroups": "server_groups",
    "maxServerGroupMembers": "server_group_members",
}
_ABSOLUTE_USED = {
    "totalInstancesUsed": "instances",
    "totalCoresUsed": "cores",
    "totalRAMUsed": "ram",
    "totalServerGroupsUsed": "server_groups",
}


async def limits(request: Request) -> Response:
    """Of the caller's project, or of ?tenant_id= for administrators."""
    asked = pb.GetQuotasRequest(project_id=request.arg("tenant_id"))
    try:
        reply = await request.call(request.stub(QuotaServiceStub).GetQuotas, asked)
    except Fault as fault:
        if fault.status != 403:
            raise
        text = "Policy doesn't allow os_compute_api:limits:other_project to be performed."
        raise Fault(403, text, reason="PERMISSION_DENIED") from fault
    known, version = _values(reply.quotas), request.microversion
    absolute: dict[str, JsonValue] = {name: known[of].limit for name, of in _ABSOLUTE.items()}
    absolute |= {name: known[of].usage for name, of in _ABSOLUTE_USED.items()}
    if version <= (2, 38):
        absolute["maxImageMeta"] = known["metadata_items"].limit
    if version <= (2, 56):
        absolute["maxPersonality"] = known["injected_files"].limit
        absolute["maxPersonalitySize"] = known["injected_file_content_bytes"].limit
    if version <= (2, 35):
        absolute |= dict.fromkeys(("maxSecurityGroups", "maxSecurityGroupRules", "maxTotalFloatingIps"), -1)
        absolute |= dict.fromkeys(("totalSecurityGroupsUsed", "totalFloatingIpsUsed"), 0)
    return Response(200, {"limits": {"rate": [], "absolute": absolute}})


_SETS, _CLASSES = "/v2.1/os-quota-sets/{project_id}", "/v2.1/os-quota-class-sets/{id}"
routes = [
    Route("GET", _SETS, show),
    Route("PUT", _SETS, update),
    Route("DELETE", _SETS, delete),
    Route("GET", f"{_SETS}/detail", detail),
    Route("GET", f"{_SETS}/defaults", defaults),
    Route("GET", _CLASSES, show_class),
    Route("PUT", _CLASSES, update_class),
    Route("GET", "/v2.1/limits", limits),
]
