"""The RPCs of UserService beyond create, get, list, update and delete."""

from fabric.identity.assignment import Assignments
from fabric.identity.collection import PROJECTS, USERS
from fabric.identity.user import Users
from fabric.identity.v1 import user_pb2
from fabric.runtime import query
from fabric.runtime.caller import Caller
from fabric.runtime.policy import Policy
from fabric.runtime.store import Store


class UserExtras:
    """Own password, and where a user has roles."""

    def __init__(self, store: Store, policy: Policy, users: Users, assignments: Assignments) -> None:
        self._store = store
        self._policy = policy
        self._users = users
        self._assignments = assignments

    async def ChangePassword(
        self, request: user_pb2.ChangePasswordRequest, caller: Caller
    ) -> user_pb2.ChangePasswordResponse:
        await self._users.change_password(request.user_id, request.original_password, request.password)
        return user_pb2.ChangePasswordResponse()

    async def ListUserProjects(
        self, request: user_pb2.ListUserProjectsRequest, caller: Caller
    ) -> user_pb2.ListUserProjectsResponse:
        user = self._store.find(USERS, request.user_id)
        target = {
            "target.user.id": request.user_id,
            "target.user.domain_id": user.spec.domain_id if user is not None else "",
        }
        self._policy.enforce(caller, "identity:list_user_projects", target)
        self._store.get(USERS, request.user_id)
        found = []
        for place in self._assignments.targets(request.user_id):
            kind, _, id_ = place.partition(":")
            project = self._store.find(PROJECTS, id_) if kind == "project" else None
            if project is not None and self._assignments.roles(request.user_id, place):
                found.append(project)
        page, marker = query.select(found, request.query, PROJECTS.message)
        return user_pb2.ListUserProjectsResponse(projects=page, next_marker=marker)
