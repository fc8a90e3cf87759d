"""Image API v2, section "Sharing"."""

from fabric.image.v1 import image_pb2 as pb
from fabric.image.v1 import member_pb2
from fabric.image.v1.member_pb2_grpc import MemberServiceStub
from gateway.core.codec import Enum, JsonValue, Text, Timestamp
from gateway.core.http import Request, Response
from gateway.core.route import Route

_STATE = Enum(pb.Member.State, lower=True)
_TIME = Timestamp()
_NAME = Text(255, min=1)


def _render(member: pb.Member) -> dict[str, JsonValue]:
    return {
        "member_id": member.project_id,
        "image_id": member.image_id,
        "status": _STATE.to_json(member.state),
        "created_at": _TIME.to_json(member.create_time),
        "updated_at": _TIME.to_json(member.update_time),
        "schema": "/v2/schemas/member",
    }


async def create(request: Request) -> Response:
    project = _NAME.from_json(request.json().get("member"), "member")
    asked = member_pb2.CreateMemberRequest(image_id=request.params["image_id"], project_id=project)
    return Response(200, _render(await request.call(request.stub(MemberServiceStub).CreateMember, asked)))


async def list_members(request: Request) -> Response:
    asked = member_pb2.ListMembersRequest(image_id=request.params["image_id"])
    reply = await request.call(request.stub(MemberServiceStub).ListMembers, asked)
    return Response(
        200, {"members": [_render(member) for member in reply.members], "schema": "/v2/schemas/members"}
    )


async def show(request: Request) -> Response:
    asked = member_pb2.GetMemberRequest(
        image_id=request.params["image_id"], project_id=request.params["member_id"]
    )
    return Response(200, _render(await request.call(request.stub(MemberServiceStub).GetMember, asked)))


async def update(request: Request) -> Response:
    asked = member_pb2.UpdateMemberRequest(
        image_id=request.params["image_id"],
        project_id=request.params["member_id"],
        state=_STATE.from_json(request.json().get("status"), "status"),
    )
    return Response(200, _render(await request.call(request.stub(MemberServiceStub).UpdateMember, asked)))


async def delete(request: Request) -> Response:
    asked = member_pb2.DeleteMemberRequest(
        image_id=request.params["image_id"], project_id=request.params["member_id"]
    )
    await request.call(request.stub(MemberServiceStub).DeleteMember, asked)
    return Response(204)


_ALL, _ONE = "/v2/images/{image_id}/members", "/v2/images/{image_id}/members/{member_id}"
routes = [
    Route("GET", _ALL, list_members),
    Route("POST", _ALL, create),
    Route("GET", _ONE, show),
    Route("PUT", _ONE, update),
    Route("DELETE", _ONE, delete),
]
