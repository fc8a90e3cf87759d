"""Compute API, section "Server groups"."""

from fabric.compute.v1 import server_group_pb2 as pb
from fabric.compute.v1.server_group_pb2_grpc import ServerGroupServiceStub
from gateway.compute import body
from gateway.compute.reading import body_of, flag_of, number_of
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

_MOST = 1000
_Spec = pb.ServerGroupSpec
_POLICIES = {
    "affinity": _Spec.POLICY_AFFINITY,
    "anti-affinity": _Spec.POLICY_ANTI_AFFINITY,
    "soft-affinity": _Spec.POLICY_SOFT_AFFINITY,
    "soft-anti-affinity": _Spec.POLICY_SOFT_ANTI_AFFINITY,
}
_NAMES = {policy: name for name, policy in _POLICIES.items()}
_HARD = body.items(body.word("affinity", "anti-affinity"), least=1, most=1)
_ALL = body.items(body.word(*_POLICIES), least=1, most=1)
_RULES = body.Obj({"max_server_per_host": body.integer(1)})
_GROUP = body.Obj(
    {
        "name": body.label(),
        "policies": (_HARD, "", "2.14"),
        "policies ": (_ALL, "2.15", "2.63"),
        "policy": (body.word(*_POLICIES), "2.64", ""),
        "rules": (_RULES, "2.64", ""),
    },
    required=["name"],
)


def _shown(request: Request, group: pb.ServerGroup) -> dict[str, JsonValue]:
    version, policy = request.microversion, _NAMES[group.spec.policy]
    shown: dict[str, JsonValue] = {
        "id": group.meta.id,
        "name": group.meta.name,
        "members": list(group.server_ids),
    }
    if version >= (2, 13):
        shown |= {"project_id": group.meta.project_id, "user_id": group.spec.user_id}
    if version >= (2, 64):
        most = group.spec.max_server_per_host
        return shown | {"policy": policy, "rules": {"max_server_per_host": most} if most else {}}
    return shown | {"policies": [policy], "metadata": {}}


async def index(request: Request) -> Response:
    """Of the project, or of all for administrators."""
    asked = pb.ListServerGroupsRequest()
    asked.query.all_projects = flag_of(request, "all_projects")
    limit, offset = number_of(request, "limit"), number_of(request, "offset") or 0
    reply = await request.call(request.stub(ServerGroupServiceStub).ListServerGroups, asked)
    most = min(_MOST if limit is None else limit, _MOST)
    groups = list(reply.server_groups)[offset : offset + most]
    return Response(200, {"server_groups": [_shown(request, group) for group in groups]})


async def show(request: Request) -> Response:
    """One."""
    asked = pb.GetServerGroupRequest(id=request.params["id"])
    group = await request.call(request.stub(ServerGroupServiceStub).GetServerGroup, asked)
    return Response(200, {"server_group": _shown(request, group)})


async def create(request: Request) -> Response:
    """With one policy."""
    given = body_of(request, "server_group", _GROUP)
    key = "policy" if request.microversion >= (2, 64) else "policies"
    if key not in given:
        raise body.refuse("server_group", {}, f"'{key}' is a required property")
    policy = given["policy"] if key == "policy" else given["policies"][0]
    rules = given.get("rules", {})
    if rules and policy != "anti-affinity":
        raise Invalid("Only anti-affinity policy supports rules.", field="rules")
    group = pb.ServerGroup()
    group.meta.name, group.spec.policy = given["name"], _POLICIES[policy]
    group.spec.max_server_per_host = rules.get("max_server_per_host", 0)
    asked = pb.CreateServerGroupRequest(server_group=group)
    made = await request.call(request.stub(ServerGroupServiceStub).CreateServerGroup, asked)
    return Response(200, {"server_group": _shown(request, made)})


async def delete(request: Request) -> Response:
    """Its servers stay."""
    asked = pb.DeleteServerGroupRequest(id=request.params["id"])
    try:
        await request.call(request.stub(ServerGroupServiceStub).DeleteServerGroup, asked)
    except Fault as fault:
        if fault.status == 404:
            text = f"Instance group {asked.id[:64]} could not be found."
            raise Fault(404, text, reason=fault.reason) from fault
        raise
    return Response(204)


_BASE = "/v2.1/os-server-groups"
routes = [
    Route("GET", _BASE, index),
    Route("POST", _BASE, create),
    Route("GET", f"{_BASE}/{{id}}", show),
    Route("DELETE", f"{_BASE}/{{id}}", delete),
]
