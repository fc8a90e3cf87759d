"""Identity API v3, sections "Projects", "Project tags" and "Domains"."""

from typing import Any
from urllib.parse import quote

from fabric.identity.v1 import project_pb2 as pb
from fabric.identity.v1.project_pb2_grpc import DomainServiceStub, ProjectServiceStub
from gateway.core.codec import Bool, Json, JsonValue, List, Text
from gateway.core.crud import Crud, crud
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.identity.dialect import Blank
from gateway.identity.links import links

BOTH = "create update"
_CHOSEN = Text(64, min=1)
TAG = Text(255, min=1, pattern=r"[^,/]+")

PROJECTS = Table(
    singular="project",
    plural="projects",
    message=pb.Project,
    service=ProjectServiceStub,
    extra="extra",
    fields=[
        Field("id", "meta.id", filter=True, sort=True),
        Field("name", "meta.name", write=BOTH, required=True, codec=Text(64, min=1), filter=True, sort=True),
        Field("domain_id", "spec.domain_id", write=BOTH, codec=Text(64, nullable=True), filter=True),
        Field("description", "meta.description", write=BOTH, codec=Blank(), filter=True),
        Field("enabled", "spec.enabled", write=BOTH, codec=Bool(), default=True, filter=True),
        Field("parent_id", "spec.parent_id", write=BOTH, codec=Text(64, nullable=True), filter=True),
        Field("is_domain", "spec.is_domain", write=BOTH, codec=Bool(), filter=True),
        Field("tags", "meta.tags", write=BOTH, codec=List(TAG, max=80, unique=True)),
        Field("options", "spec.options", write=BOTH, codec=Json()),
        links("projects"),
    ],
)

DOMAINS = Table(
    singular="domain",
    plural="domains",
    message=pb.Project,
    service=DomainServiceStub,
    rpc="Domain",
    extra="extra",
    fields=[
        Field("id", "meta.id", filter=True, sort=True),
        Field("name", "meta.name", write=BOTH, required=True, codec=Text(64, min=1), filter=True, sort=True),
        Field("description", "meta.description", write=BOTH, codec=Blank(), filter=True),
        Field("enabled", "spec.enabled", write=BOTH, codec=Bool(), default=True, filter=True),
        Field("tags", "meta.tags", write=BOTH, codec=List(TAG, max=80, unique=True)),
        Field("options", "spec.options", write=BOTH, codec=Json()),
        links("domains"),
    ],
)

_PROJECTS = Crud(PROJECTS)


async def create_domain(request: Request) -> Response:
    """As create, with an id that the caller may choose (explicit_domain_id)."""
    body = request.api.dialect.unwrap(DOMAINS, request.json(), request)
    message = DOMAINS.parse_create(body, request)
    chosen = body.get("explicit_domain_id")
    if chosen is not None:
        message.extra.fields.pop("explicit_domain_id", None)
        message.meta.id = _CHOSEN.from_json(chosen, "explicit_domain_id")
    reply = await request.call(
        request.stub(DomainServiceStub).CreateDomain, pb.CreateDomainRequest(domain=message)
    )
    return Response(201, {"domain": DOMAINS.render(reply, request)})


async def show(request: Request) -> Response:
    """With parents and subtree, when they are asked for."""
    asked = {name for name, value in request.query if value.lower() not in ("0", "false")}
    forms = ("parents_as_list", "parents_as_ids", "subtree_as_list", "subtree_as_ids")
    wanted = asked & set(forms)
    if not wanted:
        return await _PROJECTS.show(request)
    for kind in ("parents", "subtree"):
        if {f"{kind}_as_list", f"{kind}_as_ids"} <= wanted:
            raise Invalid(f"Cannot use {kind}_as_list and {kind}_as_ids query params at the same time.")
    reply = await request.call(
        request.stub(ProjectServiceStub).GetProjectHierarchy,
        pb.GetProjectHierarchyRequest(id=request.params["id"]),
    )
    item = PROJECTS.render(reply.project, request)
    if "parents_as_list" in wanted:
        item["parents"] = [{"project": p} for p in PROJECTS.render_list(reply.parents, request)]
    if "subtree_as_list" in wanted:
        item["subtree"] = [{"project": p} for p in PROJECTS.render_list(reply.subtree, request)]
    if "parents_as_ids" in wanted:
        item["parents"] = _chain(list(reply.parent_ids))
    if "subtree_as_ids" in wanted:
        item["subtree"] = _tree(reply.project.meta.id, dict(reply.subtree_parents))
    return Response(200, {"project": item})


def _chain(ids: list[str]) -> JsonValue:
    """{nearest: {next: ... null}}."""
    found: JsonValue = None
    for id_ in reversed(ids):
        found = {id_: found}
    return found


def _tree(root: str, parents: dict[str, str]) -> JsonValue:
    children = sorted(id_ for id_, parent in parents.items() if parent == root)
    return {id_: _tree(id_, parents) for id_ in children} or None


# -- tags


async def list_tags(request: Request) -> Response:
    message = pb.ListProjectTagsRequest(project_id=request.params["id"])
    project = await request.call(request.stub(ProjectServiceStub).ListProjectTags, message)
    return _tags(request, project)


async def set_tags(request: Request) -> Response:
    tags = request.json().get("tags")
    codec = List(TAG, max=80, unique=True)
    message = pb.SetProjectTagsRequest(project_id=request.params["id"], tags=codec.from_json(tags, "tags"))
    return _tags(request, await request.call(request.stub(ProjectServiceStub).SetProjectTags, message))


async def clear_tags(request: Request) -> Response:
    message = pb.SetProjectTagsRequest(project_id=request.params["id"])
    await request.call(request.stub(ProjectServiceStub).SetProjectTags, message)
    return Response(204)


async def check_tag(request: Request) -> Response:
    message = pb.CheckProjectTagRequest(project_id=request.params["id"], tag=request.params["tag"])
    await request.call(request.stub(ProjectServiceStub).CheckProjectTag, message)
    return Response(204)


async def add_tag(request: Request) -> Response:
    tag = TAG.from_json(request.params["tag"], "tag")
    message = pb.AddProjectTagRequest(project_id=request.params["id"], tag=tag)
    await request.call(request.stub(ProjectServiceStub).AddProjectTag, message)
    url = f"{request.api_url}/v3/projects/{request.params['id']}/tags/{quote(tag, safe='')}"
    return Response(201, None, {"location": url})


async def remove_tag(request: Request) -> Response:
    message = pb.RemoveProjectTagRequest(project_id=request.params["id"], tag=request.params["tag"])
    await request.call(request.stub(ProjectServiceStub).RemoveProjectTag, message)
    return Response(204)


def _tags(request: Request, project: Any) -> Response:
    own = f"{request.api_url}/v3/projects/{project.meta.id}/tags"
    tags = list(project.meta.tags)
    return Response(200, {"tags": tags, "links": {"next": None, "self": own, "previous": None}})


_TAG_PATH = "/v3/projects/{id}/tags/{tag}"

routes = [
    *crud(PROJECTS, "/v3", only="list create update delete", update="PATCH"),
    Route("GET", "/v3/projects/{id}", show),
    *crud(DOMAINS, "/v3", only="list show update delete", update="PATCH"),
    Route("POST", "/v3/domains", create_domain),
    Route("GET", "/v3/projects/{id}/tags", list_tags),
    Route("PUT", "/v3/projects/{id}/tags", set_tags),
    Route("DELETE", "/v3/projects/{id}/tags", clear_tags),
    Route("GET", _TAG_PATH, check_tag),
    Route("PUT", _TAG_PATH, add_tag),
    Route("DELETE", _TAG_PATH, remove_tag),
]
