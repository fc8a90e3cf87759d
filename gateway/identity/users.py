"""Identity API v3, section "Users"."""

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.identity.v1 import group_pb2, project_pb2
from fabric.identity.v1 import user_pb2 as pb
from fabric.identity.v1.group_pb2_grpc import GroupServiceStub
from fabric.identity.v1.user_pb2_grpc import UserServiceStub
from gateway.core.codec import Bool, Json, JsonValue, Text, Timestamp
from gateway.core.crud import crud
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.identity.dialect import collection
from gateway.identity.groups import GROUPS
from gateway.identity.links import links
from gateway.identity.projects import BOTH, PROJECTS

_WORD = Text(4096, nullable=True)


def _expiry(user: pb.User, request: Request) -> JsonValue:
    """Without a zone, as Keystone has it."""
    stamp = Timestamp("nova").to_json(user.password_expires_time)
    return stamp


class _Users(Table):
    """default_project_id is left out while there is none."""

    def render_list(self, messages: Any, request: Request, **options: Any) -> list[dict[str, JsonValue]]:
        items = super().render_list(messages, request, **options)
        for item in items:
            if item.get("default_project_id", "") is None:
                del item["default_project_id"]
        return items


USERS = _Users(
    singular="user",
    plural="users",
    message=pb.User,
    service=UserServiceStub,
    extra="extra",
    fields=[
        Field("id", "meta.id", filter=True, sort=True),
        Field("name", "meta.name", write=BOTH, required=True, codec=Text(255, min=1), filter=True, sort=True),
        Field("domain_id", "spec.domain_id", write=BOTH, codec=Text(64), filter=True),
        Field("default_project_id", "spec.default_project_id", write=BOTH, codec=Text(64, nullable=True)),
        Field("enabled", "spec.enabled", write=BOTH, codec=Bool(), default=True, filter=True),
        Field("password", "spec.password", write=BOTH, codec=_WORD, read=False),
        Field("password_expires_at", compute=_expiry),
        Field("options", "spec.options", write=BOTH, codec=Json()),
        links("users"),
    ],
)


async def create(request: Request) -> Response:
    body = request.api.dialect.unwrap(USERS, request.json(), request)
    message = USERS.parse_create(body, request)
    message.spec.has_password = body.get("password") is not None
    reply = await request.call(request.stub(UserServiceStub).CreateUser, pb.CreateUserRequest(user=message))
    return Response(201, {"user": USERS.render(reply, request)})


async def update(request: Request) -> Response:
    body = request.api.dialect.unwrap(USERS, request.json(), request)
    message, paths = USERS.parse_update(body, request)
    message.meta.id = request.params["id"]
    if body.get("password") is not None:
        message.spec.has_password = True
        paths.append("spec.has_password")
    stub = request.stub(UserServiceStub)
    if paths:
        changed = pb.UpdateUserRequest(user=message, update_mask=FieldMask(paths=paths))
        user = await request.call(stub.UpdateUser, changed)
    else:
        user = await request.call(stub.GetUser, pb.GetUserRequest(id=message.meta.id))
    return Response(200, {"user": USERS.render(user, request)})


async def change_password(request: Request) -> Response:
    """The old password is the proof."""
    body = request.json().get("user")
    if not isinstance(body, dict):
        raise Invalid("The request body must have an object 'user'.", field="user")
    for name in ("original_password", "password"):
        if not isinstance(body.get(name), str):
            raise Invalid(f"'{name}' is a required property and must be a string.", field=name)
    message = pb.ChangePasswordRequest(
        user_id=request.params["id"],
        original_password=str(body["original_password"]),
        password=str(body["password"]),
    )
    await request.call(request.stub(UserServiceStub).ChangePassword, message)
    return Response(204)


async def projects(request: Request) -> Response:
    message = pb.ListUserProjectsRequest(
        user_id=request.params["id"], query=request.api.dialect.listing(request, PROJECTS).query
    )
    reply = await request.call(request.stub(UserServiceStub).ListUserProjects, message)
    found: list[project_pb2.Project] = list(reply.projects)
    return Response(200, collection(request, "projects", PROJECTS.render_list(found, request)))


async def groups(request: Request) -> Response:
    message = group_pb2.ListUserGroupsRequest(
        user_id=request.params["id"], query=request.api.dialect.listing(request, GROUPS).query
    )
    reply = await request.call(request.stub(GroupServiceStub).ListUserGroups, message)
    return Response(200, collection(request, "groups", GROUPS.render_list(reply.groups, request)))


async def members(request: Request) -> Response:
    message = group_pb2.ListGroupMembersRequest(
        group_id=request.params["id"], query=request.api.dialect.listing(request, USERS).query
    )
    reply = await request.call(request.stub(GroupServiceStub).ListGroupMembers, message)
    return Response(200, collection(request, "users", USERS.render_list(reply.users, request)))


routes = [
    *crud(USERS, "/v3", only="list show delete", update="PATCH"),
    Route("POST", "/v3/users", create),
    Route("PATCH", "/v3/users/{id}", update),
    Route("POST", "/v3/users/{id}/password", change_password, public=True),
    Route("GET", "/v3/users/{id}/projects", projects),
    Route("GET", "/v3/users/{id}/groups", groups),
    Route("GET", "/v3/groups/{id}/users", members),
]
