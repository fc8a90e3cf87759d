"""Groups and their members."""

from typing import Any, ClassVar

from fabric.identity.collection import ASSIGNMENTS, GROUPS, MEMBERSHIPS, PROJECTS, USERS
from fabric.identity.resource import IdentityResource, check_name, domain_of, merge_struct
from fabric.identity.user import without_secrets
from fabric.identity.v1 import group_pb2
from fabric.runtime import query
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, InvalidArgument, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.store import Store, Transaction


class Groups(IdentityResource[group_pb2.Group]):
    """A name in a domain."""

    collection = GROUPS
    target_name = "group"
    policies: ClassVar = {
        "create": "identity:create_group",
        "get": "identity:get_group",
        "list": "identity:list_groups",
        "update": "identity:update_group",
        "delete": "identity:delete_group",
    }
    told: ClassVar = frozenset({"delete"})

    def own(self, caller: Caller, new: group_pb2.Group) -> None:
        super().own(caller, new)
        new.spec.domain_id = new.spec.domain_id or domain_of(caller)

    def accept(
        self, caller: Caller, new: group_pb2.Group, old: group_pb2.Group | None, txn: Transaction
    ) -> None:
        check_name(new.meta.name, 64)
        if old is not None:
            merge_struct(new.extra, old.extra)
            if new.spec.domain_id != old.spec.domain_id:
                raise InvalidArgument("Cannot change domain of a group.", field="domain_id")
            return
        domain = self.store.find(PROJECTS, new.spec.domain_id)
        if domain is None or not domain.spec.is_domain:
            raise NotFound(f"Could not find domain: {new.spec.domain_id}.", reason="DOMAIN_NOT_FOUND")
        txn.expect(PROJECTS, domain)

    def check_delete(self, caller: Caller, old: group_pb2.Group, txn: Transaction) -> None:
        remove_group(self.store, txn, old.meta.id)


class Members:
    """The RPCs about who is in which group."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    async def AddGroupMember(self, request: group_pb2.AddGroupMemberRequest, caller: Caller) -> Any:
        self._enforce(caller, "identity:add_user_to_group", request)
        self._both(request)
        made = group_pb2.Membership(group_id=request.group_id, user_id=request.user_id)
        made.meta.id = f"{request.group_id}:{request.user_id}"
        if self._store.find(MEMBERSHIPS, made.meta.id) is None:
            try:
                async with self._store.transaction() as txn:
                    txn.expect(GROUPS, self._store.get(GROUPS, request.group_id))
                    txn.expect(USERS, self._store.get(USERS, request.user_id))
                    txn.create(MEMBERSHIPS, made)
            except AlreadyExists:
                pass  # as it should be
        return made

    async def CheckGroupMember(self, request: group_pb2.CheckGroupMemberRequest, caller: Caller) -> Any:
        self._enforce(caller, "identity:check_user_in_group", request)
        return self._find(request)

    async def RemoveGroupMember(self, request: group_pb2.RemoveGroupMemberRequest, caller: Caller) -> Any:
        self._enforce(caller, "identity:remove_user_from_group", request)
        found = self._find(request)
        async with self._store.transaction() as txn:
            txn.remove(MEMBERSHIPS, found)
        return found

    async def ListGroupMembers(self, request: group_pb2.ListGroupMembersRequest, caller: Caller) -> Any:
        self._enforce(caller, "identity:list_users_in_group", request)
        self._store.get(GROUPS, request.group_id)
        members = self._store.table(MEMBERSHIPS).by("group", request.group_id)
        users = [u for m in members if (u := self._store.find(USERS, m.user_id)) is not None]
        if caller.domain_id:
            users = [user for user in users if user.spec.domain_id == caller.domain_id]
        page, marker = query.select(users, request.query, USERS.message)
        return group_pb2.ListGroupMembersResponse(
            users=[without_secrets(user) for user in page], next_marker=marker
        )

    async def ListUserGroups(self, request: group_pb2.ListUserGroupsRequest, caller: Caller) -> Any:
        user = self._store.find(USERS, request.user_id)
        target = {
            "user_id": request.user_id,
            "target.user.id": request.user_id,
            "target.user.domain_id": user.spec.domain_id if user is not None else "",
        }
        self._policy.enforce(caller, "identity:list_groups_for_user", target)
        self._store.get(USERS, request.user_id)
        groups = [
            group
            for membership in self._store.table(MEMBERSHIPS).by("user", request.user_id)
            if (group := self._store.find(GROUPS, membership.group_id)) is not None
        ]
        if caller.domain_id:
            groups = [group for group in groups if group.spec.domain_id == caller.domain_id]
        page, marker = query.select(groups, request.query, GROUPS.message)
        return group_pb2.ListUserGroupsResponse(groups=page, next_marker=marker)

    def _enforce(self, caller: Caller, rule: str, request: Any) -> None:
        group = self._store.find(GROUPS, request.group_id)
        user = self._store.find(USERS, getattr(request, "user_id", ""))
        target = {"user_id": getattr(request, "user_id", "")}
        if group is not None:
            target |= {"target.group.id": group.meta.id, "target.group.domain_id": group.spec.domain_id}
        if user is not None:
            target |= {"target.user.id": user.meta.id, "target.user.domain_id": user.spec.domain_id}
        self._policy.enforce(caller, rule, target)

    def _both(self, request: Any) -> None:
        self._store.get(GROUPS, request.group_id)
        self._store.get(USERS, request.user_id)

    def _find(self, request: Any) -> group_pb2.Membership:
        self._both(request)
        found = self._store.find(MEMBERSHIPS, f"{request.group_id}:{request.user_id}")
        if found is None:
            raise NotFound(
                f"User {request.user_id} not found in group {request.group_id}.", reason="MEMBER_NOT_FOUND"
            )
        return found


def remove_group(store: Store, txn: Transaction, group_id: str) -> None:
    """Take away all that goes with a group."""
    for assignment in store.table(ASSIGNMENTS).by("actor", f"group:{group_id}"):
        txn.remove(ASSIGNMENTS, assignment)
    for membership in store.table(MEMBERSHIPS).by("group", group_id):
        txn.remove(MEMBERSHIPS, membership)
