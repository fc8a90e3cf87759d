"""Identity API v3, sections "Roles", "OS-INHERIT" and "Role assignments"."""

from typing import Any

from fabric.identity.v1 import role_pb2 as pb
from fabric.identity.v1.role_pb2_grpc import AssignmentServiceStub, RoleServiceStub
from gateway.core.codec import Json, JsonValue, Text
from gateway.core.crud import crud
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.identity.dialect import collection
from gateway.identity.links import links
from gateway.identity.projects import BOTH

ROLES = Table(
    singular="role",
    plural="roles",
    message=pb.Role,
    service=RoleServiceStub,
    extra="extra",
    fields=[
        Field("id", "meta.id", filter=True, sort=True),
        Field("name", "meta.name", write=BOTH, required=True, codec=Text(255, min=1), filter=True, sort=True),
        Field("domain_id", "spec.domain_id", write=BOTH, codec=Text(64, nullable=True), filter=True),
        Field("description", "meta.description", write=BOTH, codec=Text(65535, nullable=True)),
        Field("options", "spec.options", write=BOTH, codec=Json()),
        links("roles"),
    ],
)

# -- implied roles


def _brief(role: pb.Role, request: Request) -> dict[str, JsonValue]:
    return {
        "id": role.meta.id,
        "name": role.meta.name,
        "links": {"self": f"{request.api_url}/v3/roles/{role.meta.id}"},
    }


def _inference(prior: pb.Role, implies: JsonValue, request: Request) -> dict[str, JsonValue]:
    return {"prior_role": _brief(prior, request), "implies": implies}


async def implied_roles(request: Request) -> Response:
    message = pb.ListImplicationsRequest(prior_role_id=request.params["prior"])
    reply = await request.call(request.stub(RoleServiceStub).ListImplications, message)
    implied: list[JsonValue] = [_brief(found.implied_role, request) for found in reply.implications]
    own = f"{request.api_url}/v3/roles/{request.params['prior']}/implies"
    inference = _inference(reply.prior_role, implied, request)
    return Response(200, {"role_inference": inference, "links": {"self": own}})


async def inferences(request: Request) -> Response:
    """GET /v3/role_inferences: all rules, by prior role."""
    reply = await request.call(request.stub(RoleServiceStub).ListImplications, pb.ListImplicationsRequest())
    found: dict[str, tuple[pb.Role, list[JsonValue]]] = {}
    for rule in reply.implications:
        prior = found.setdefault(rule.prior_role_id, (rule.prior_role, []))
        prior[1].append(_brief(rule.implied_role, request))
    rules: list[JsonValue] = [_inference(prior, implied, request) for prior, implied in found.values()]
    own = f"{request.api_url}/v3/role_inferences"
    return Response(200, {"role_inferences": rules, "links": {"self": own}})


def _pair(kind: Any, request: Request) -> Any:
    return kind(prior_role_id=request.params["prior"], implied_role_id=request.params["implied"])


def _implication(status: int, found: pb.Implication, request: Request) -> Response:
    own = f"{request.api_url}/v3/roles/{found.prior_role_id}/implies/{found.implied_role_id}"
    inference = _inference(found.prior_role, _brief(found.implied_role, request), request)
    return Response(status, {"role_inference": inference, "links": {"self": own}})


async def imply(request: Request) -> Response:
    message = _pair(pb.CreateImplicationRequest, request)
    return _implication(
        201, await request.call(request.stub(RoleServiceStub).CreateImplication, message), request
    )


async def implication(request: Request) -> Response:
    stub = request.stub(RoleServiceStub)
    if request.method == "HEAD":
        await request.call(stub.CheckImplication, _pair(pb.CheckImplicationRequest, request))
        return Response(204)
    found = await request.call(stub.GetImplication, _pair(pb.GetImplicationRequest, request))
    return _implication(200, found, request)


async def imply_no_more(request: Request) -> Response:
    message = _pair(pb.DeleteImplicationRequest, request)
    await request.call(request.stub(RoleServiceStub).DeleteImplication, message)
    return Response(204)


# -- grants: {projects|domains|system}/{users|groups}, with OS-INHERIT


def _grant(request: Request) -> pb.Assignment:
    words: Any = request.params
    path = request.path.removeprefix(request.mount)
    return pb.Assignment(
        **words, system=path.startswith("/v3/system/"), inherited=path.startswith("/v3/OS-INHERIT/")
    )


async def create_grant(request: Request) -> Response:
    message = pb.CreateGrantRequest(grant=_grant(request))
    await request.call(request.stub(AssignmentServiceStub).CreateGrant, message)
    return Response(204)


async def check_grant(request: Request) -> Response:
    message = pb.CheckGrantRequest(grant=_grant(request))
    await request.call(request.stub(AssignmentServiceStub).CheckGrant, message)
    return Response(204)


async def delete_grant(request: Request) -> Response:
    message = pb.DeleteGrantRequest(grant=_grant(request))
    await request.call(request.stub(AssignmentServiceStub).DeleteGrant, message)
    return Response(204)


async def list_grants(request: Request) -> Response:
    message = pb.ListGrantsRequest(grant=_grant(request))
    reply = await request.call(request.stub(AssignmentServiceStub).ListGrants, message)
    return Response(200, collection(request, "roles", ROLES.render_list(reply.roles, request)))


def _grant_routes() -> list[Route]:
    found = []
    for target in ("projects/{project_id}", "domains/{domain_id}", "system"):
        for actor in ("users/{user_id}", "groups/{group_id}"):
            paths = [(f"/v3/{target}/{actor}/roles", "")]
            if target != "system":
                paths.append((f"/v3/OS-INHERIT/{target}/{actor}/roles", "/inherited_to_projects"))
            for path, tail in paths:
                one = f"{path}/{{role_id}}{tail}"
                found += [
                    Route("GET", path + tail, list_grants),
                    Route("PUT", one, create_grant),
                    Route("GET", one, check_grant),
                    Route("DELETE", one, delete_grant),
                ]
    return found


# -- role assignments


def _flag(request: Request, name: str) -> bool:
    """A query parameter that counts as true when it is there without a value."""
    values = request.args(name)
    return bool(values) and values[-1].strip().lower() not in ("0", "false", "f", "no", "n", "off")


async def assignments(request: Request) -> Response:
    message = pb.ListAssignmentsRequest(
        role_id=request.arg("role.id"),
        user_id=request.arg("user.id"),
        group_id=request.arg("group.id"),
        project_id=request.arg("scope.project.id"),
        domain_id=request.arg("scope.domain.id"),
        system=_flag(request, "scope.system"),
        inherited=True if request.arg("scope.OS-INHERIT:inherited_to") == "projects" else None,
        effective=_flag(request, "effective"),
        include_names=_flag(request, "include_names"),
        include_subtree=_flag(request, "include_subtree"),
    )
    reply = await request.call(request.stub(AssignmentServiceStub).ListAssignments, message)
    names = message.include_names
    items: list[JsonValue] = [_assignment(entry, request, names) for entry in reply.assignments]
    return Response(200, collection(request, "role_assignments", items))


def _assignment(entry: pb.EffectiveAssignment, request: Request, names: bool) -> JsonValue:
    found = entry.assignment
    scope: dict[str, JsonValue] = {}
    if found.project_id:
        scope["project"] = _named(found.project_id, entry.project, names, True)
    elif found.domain_id:
        scope["domain"] = _named(found.domain_id, entry.domain, names, False)
    else:
        scope["system"] = {"all": True}
    if found.inherited:
        scope["OS-INHERIT:inherited_to"] = "projects"
    links: dict[str, JsonValue] = {"assignment": _assignment_url(entry, request)}
    item: dict[str, JsonValue] = {"role": _named(found.role_id, entry.role, names, True), "scope": scope}
    if found.user_id:
        item["user"] = _named(found.user_id, entry.user, names, True)
    else:
        item["group"] = _named(found.group_id, entry.group, names, True)
    if entry.membership_group_id:
        group, user = entry.membership_group_id, found.user_id
        links["membership"] = f"{request.api_url}/v3/groups/{group}/users/{user}"
    if entry.prior_role_id:
        links["prior_role"] = f"{request.api_url}/v3/prior_role/{entry.prior_role_id}/implies/{found.role_id}"
    return item | {"links": links}


def _named(id_: str, named: pb.Named, names: bool, in_domain: bool) -> JsonValue:
    shown: dict[str, JsonValue] = {"id": id_}
    if names:
        shown["name"] = named.name
        if in_domain and named.domain_id:
            shown["domain"] = {"id": named.domain_id, "name": named.domain_name}
    return shown


def _assignment_url(entry: pb.EffectiveAssignment, request: Request) -> str:
    """Where the grant is that makes it so."""
    found = entry.assignment
    group = entry.membership_group_id or found.group_id
    actor = f"groups/{group}" if group else f"users/{found.user_id}"
    role = entry.prior_role_id or found.role_id
    project = entry.inherited_project_id or ("" if entry.inherited_domain_id else found.project_id)
    domain = entry.inherited_domain_id or found.domain_id
    target = f"projects/{project}" if project else f"domains/{domain}" if domain else "system"
    if found.inherited:
        url = f"/v3/OS-INHERIT/{target}/{actor}/roles/{role}/inherited_to_projects"
    else:
        url = f"/v3/{target}/{actor}/roles/{role}"
    return request.api_url + url


_IMPLIED = "/v3/roles/{prior}/implies/{implied}"

routes = [
    *crud(ROLES, "/v3", update="PATCH"),
    Route("GET", "/v3/roles/{prior}/implies", implied_roles),
    Route("PUT", _IMPLIED, imply),
    Route("GET", _IMPLIED, implication),
    Route("DELETE", _IMPLIED, imply_no_more),
    Route("GET", "/v3/role_inferences", inferences),
    *_grant_routes(),
    Route("GET", "/v3/role_assignments", assignments),
]
