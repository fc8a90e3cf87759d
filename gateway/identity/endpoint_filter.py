"""Identity API v3, extension OS-EP-FILTER."""

from fabric.identity.v1 import catalog_pb2 as pb
from fabric.identity.v1 import project_pb2
from fabric.identity.v1.catalog_pb2_grpc import EndpointFilterServiceStub as Stub
from fabric.identity.v1.project_pb2_grpc import ProjectServiceStub
from fabric.type.v1 import query_pb2
from gateway.core.codec import JsonValue, Map, Text
from gateway.core.crud import crud
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.identity.call import act
from gateway.identity.catalog import ENDPOINTS
from gateway.identity.dialect import collection
from gateway.identity.projects import BOTH, PROJECTS


def _self(group: pb.EndpointGroup, request: Request) -> JsonValue:
    return {"self": f"{request.api_url}/v3/OS-EP-FILTER/endpoint_groups/{group.meta.id}"}


GROUPS = Table(
    singular="endpoint_group",
    plural="endpoint_groups",
    message=pb.EndpointGroup,
    service=Stub,
    fields=[
        Field("id", "meta.id"),
        Field("name", "meta.name", write=BOTH, required=True, codec=Text(255, min=1), filter=True),
        Field("description", "meta.description", write=BOTH, codec=Text(65535, nullable=True)),
        Field("filters", "spec.filters", write=BOTH, required=True, codec=Map(lenient=True)),
        Field("links", compute=_self),
    ],
)


async def project_endpoints(request: Request) -> Response:
    message = pb.ListProjectEndpointsRequest(project_id=request.params["project_id"])
    reply = await request.call(request.stub(Stub).ListProjectEndpoints, message)
    return Response(200, collection(request, "endpoints", ENDPOINTS.render_list(reply.endpoints, request)))


async def group_endpoints(request: Request) -> Response:
    message = pb.ListEndpointGroupEndpointsRequest(endpoint_group_id=request.params["endpoint_group_id"])
    reply = await request.call(request.stub(Stub).ListEndpointGroupEndpoints, message)
    return Response(200, collection(request, "endpoints", ENDPOINTS.render_list(reply.endpoints, request)))


async def project_groups(request: Request) -> Response:
    message = pb.ListProjectEndpointGroupsRequest(project_id=request.params["project_id"])
    reply = await request.call(request.stub(Stub).ListProjectEndpointGroups, message)
    items = GROUPS.render_list(reply.endpoint_groups, request)
    return Response(200, collection(request, "endpoint_groups", items))


async def endpoint_projects(request: Request) -> Response:
    message = pb.ListEndpointProjectsRequest(endpoint_id=request.params["endpoint_id"])
    reply = await request.call(request.stub(Stub).ListEndpointProjects, message)
    return await _projects(request, list(reply.project_ids))


async def group_projects(request: Request) -> Response:
    message = pb.ListEndpointGroupProjectsRequest(endpoint_group_id=request.params["endpoint_group_id"])
    reply = await request.call(request.stub(Stub).ListEndpointGroupProjects, message)
    return await _projects(request, list(reply.project_ids))


async def _projects(request: Request, ids: list[str]) -> Response:
    query = query_pb2.Query()
    query.filters.add(path="meta.id", op=query_pb2.Filter.OP_IN, values=ids)
    found = await request.call(
        request.stub(ProjectServiceStub).ListProjects, project_pb2.ListProjectsRequest(query=query)
    )
    return Response(200, collection(request, "projects", PROJECTS.render_list(found.projects, request)))


async def show_in_project(request: Request) -> Response:
    message = pb.CheckEndpointGroupProjectRequest(**request.params)
    found = await request.call(request.stub(Stub).CheckEndpointGroupProject, message)
    if request.method == "HEAD":
        return Response(200)
    group, project = found.endpoint_group_id, found.project_id
    own = f"{request.api_url}/v3/OS-EP-FILTER/endpoint_groups/{group}/projects/{project}"
    shown: JsonValue = {"endpoint_group_id": group, "project_id": project, "links": {"self": own}}
    return Response(200, {"endpoint_group": shown})


_BASE = "/v3/OS-EP-FILTER"
_PROJECT = _BASE + "/projects/{project_id}/endpoints"
_GROUP = _BASE + "/endpoint_groups/{endpoint_group_id}"

routes = [
    *crud(GROUPS, _BASE, update="PATCH", segment="endpoint_groups", item_id="endpoint_group_id"),
    Route("GET", _PROJECT, project_endpoints),
    Route("PUT", _PROJECT + "/{endpoint_id}", act(Stub, "AddProjectEndpoint", pb.AddProjectEndpointRequest)),
    Route(
        "GET", _PROJECT + "/{endpoint_id}", act(Stub, "CheckProjectEndpoint", pb.CheckProjectEndpointRequest)
    ),
    Route(
        "DELETE",
        _PROJECT + "/{endpoint_id}",
        act(Stub, "RemoveProjectEndpoint", pb.RemoveProjectEndpointRequest),
    ),
    Route("GET", _BASE + "/endpoints/{endpoint_id}/projects", endpoint_projects),
    Route("GET", _BASE + "/projects/{project_id}/endpoint_groups", project_groups),
    Route("GET", _GROUP + "/projects", group_projects),
    Route("GET", _GROUP + "/endpoints", group_endpoints),
    Route(
        "PUT",
        _GROUP + "/projects/{project_id}",
        act(Stub, "AddEndpointGroupProject", pb.AddEndpointGroupProjectRequest),
    ),
    Route("GET", _GROUP + "/projects/{project_id}", show_in_project),
    Route(
        "DELETE",
        _GROUP + "/projects/{project_id}",
        act(Stub, "RemoveEndpointGroupProject", pb.RemoveEndpointGroupProjectRequest),
    ),
]
