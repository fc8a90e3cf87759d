"""Identity API v3, section "Groups"."""

from fabric.identity.v1 import group_pb2 as pb
from fabric.identity.v1.group_pb2_grpc import GroupServiceStub
from gateway.core.codec import Text
from gateway.core.crud import crud
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.identity.dialect import Blank
from gateway.identity.links import links
from gateway.identity.projects import BOTH

GROUPS = Table(
    singular="group",
    plural="groups",
    message=pb.Group,
    service=GroupServiceStub,
    extra="extra",
    fields=[
        Field("id", "meta.id", filter=True, sort=True),
        Field("name", "meta.name", write=BOTH, required=True, codec=Text(64, min=1), filter=True, sort=True),
        Field("domain_id", "spec.domain_id", write=BOTH, codec=Text(64), filter=True),
        Field("description", "meta.description", write=BOTH, codec=Blank(), filter=True),
        links("groups"),
    ],
)


async def add(request: Request) -> Response:
    message = pb.AddGroupMemberRequest(group_id=request.params["id"], user_id=request.params["user_id"])
    await request.call(request.stub(GroupServiceStub).AddGroupMember, message)
    return Response(204)


async def check(request: Request) -> Response:
    message = pb.CheckGroupMemberRequest(group_id=request.params["id"], user_id=request.params["user_id"])
    await request.call(request.stub(GroupServiceStub).CheckGroupMember, message)
    return Response(204)


async def remove(request: Request) -> Response:
    message = pb.RemoveGroupMemberRequest(group_id=request.params["id"], user_id=request.params["user_id"])
    await request.call(request.stub(GroupServiceStub).RemoveGroupMember, message)
    return Response(204)


_MEMBER = "/v3/groups/{id}/users/{user_id}"

routes = [
    *crud(GROUPS, "/v3", update="PATCH"),
    Route("PUT", _MEMBER, add),
    Route("GET", _MEMBER, check),
    Route("DELETE", _MEMBER, remove),
]
