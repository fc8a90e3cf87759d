"""Networking API v2.0, section "Quotas extension"."""

from fabric.network.v1 import quota_pb2 as pb
from fabric.network.v1.quota_pb2_grpc import QuotaServiceStub
from gateway.core.codec import Bool, Integer, JsonValue
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.network.resource import PREFIX

_LIMIT = Integer(-1, lenient=True)
_BOOL = Bool(lenient=True)
_PATH = f"{PREFIX}/quotas"


def _limits(found: pb.QuotaSet) -> dict[str, JsonValue]:
    return {name: use.limit for name, use in sorted(found.resources.items())}


async def _get(request: Request, *, defaults: bool = False) -> pb.QuotaSet:
    asked = pb.GetQuotaSetRequest(project_id=request.params["project"], defaults=defaults)
    return await request.call(request.stub(QuotaServiceStub).GetQuotaSet, asked)


async def list_sets(request: Request) -> Response:
    reply = await request.call(request.stub(QuotaServiceStub).ListQuotaSets, pb.ListQuotaSetsRequest())
    wanted = {*request.args("project_id"), *request.args("tenant_id")}
    found = [
        {**_limits(quota), "project_id": quota.project_id, "tenant_id": quota.project_id}
        for quota in reply.quota_sets
        if not wanted or quota.project_id in wanted
    ]
    return Response(200, {"quotas": found})


async def show(request: Request) -> Response:
    return Response(200, {"quota": _limits(await _get(request))})


async def show_defaults(request: Request) -> Response:
    return Response(200, {"quota": _limits(await _get(request, defaults=True))})


async def show_details(request: Request) -> Response:
    found = await _get(request)
    details = {
        name: {"limit": use.limit, "used": use.usage, "reserved": 0}
        for name, use in sorted(found.resources.items())
    }
    return Response(200, {"quota": details})


async def update(request: Request) -> Response:
    body = request.json().get("quota")
    if not isinstance(body, dict):
        raise Invalid("Resource body required", field="quota", reason="HTTP_BAD_REQUEST")
    asked = pb.UpdateQuotaSetRequest(project_id=request.params["project"], check_limit=True)
    for name, value in body.items():
        if name == "check_limit":
            _BOOL.from_json(value, name)  # what is done unless force says otherwise
        elif name == "force":
            asked.check_limit = not _BOOL.from_json(value, name)
        elif name not in ("project_id", "tenant_id"):
            asked.limits[name[:64]] = _LIMIT.from_json(value, name[:64])
    found = await request.call(request.stub(QuotaServiceStub).UpdateQuotaSet, asked)
    return Response(200, {"quota": _limits(found)})


async def delete(request: Request) -> Response:
    asked = pb.DeleteQuotaSetRequest(project_id=request.params["project"])
    await request.call(request.stub(QuotaServiceStub).DeleteQuotaSet, asked)
    return Response(204)


routes = [
    Route("GET", _PATH, list_sets),
    Route("GET", f"{_PATH}/{{project}}", show),
    Route("PUT", f"{_PATH}/{{project}}", update),
    Route("DELETE", f"{_PATH}/{{project}}", delete),
    *(Route("GET", f"{_PATH}/{{project}}/{word}", show_defaults) for word in ("default", "default.json")),
    *(Route("GET", f"{_PATH}/{{project}}/{word}", show_details) for word in ("details", "details.json")),
]
