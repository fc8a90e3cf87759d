"""Giving roles and taking them, and the many ways to list who has what."""

from collections.abc import Iterable, Iterator
from typing import Any

from fabric.identity.assignment import Assignments
from fabric.identity.collection import (
    ASSIGNMENTS,
    GROUPS,
    MEMBERSHIPS,
    PROJECTS,
    ROLES,
    USERS,
    actor_of,
    target_of,
)
from fabric.identity.v1 import role_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store


def assignment_id(grant: role_pb2.Assignment) -> str:
    """The id that the same grant always has."""
    tail = ":inherited" if grant.inherited else ""
    return f"{actor_of(grant)}:{target_of(grant)}:{grant.role_id}{tail}"


class Grants:
    """The RPCs of AssignmentService."""

    def __init__(self, store: Store, policy: Policy, assignments: Assignments) -> None:
        self._store = store
        self._policy = policy
        self._assignments = assignments

    async def CreateGrant(self, request: role_pb2.CreateGrantRequest, caller: Caller) -> role_pb2.Assignment:
        grant = request.grant
        self._enforce(caller, "create", grant)
        parts = self._parts(grant)
        role = self._store.get(ROLES, grant.role_id)
        self._check_domains(grant, role)
        made = copy_of(grant)
        made.meta.Clear()
        made.meta.id = assignment_id(grant)
        if self._store.find(ASSIGNMENTS, made.meta.id) is None:
            try:
                async with self._store.transaction() as txn:
                    txn.expect(ROLES, role)
                    for collection, record in parts:
                        txn.expect(collection, record)
                    txn.create(ASSIGNMENTS, made)
            except AlreadyExists:
                pass  # as it should be
        return made

    async def CheckGrant(self, request: role_pb2.CheckGrantRequest, caller: Caller) -> role_pb2.Assignment:
        self._enforce(caller, "check", request.grant)
        return self._find(request.grant)

    async def DeleteGrant(self, request: role_pb2.DeleteGrantRequest, caller: Caller) -> role_pb2.Assignment:
        self._enforce(caller, "revoke", request.grant)
        found = self._find(request.grant)
        async with self._store.transaction() as txn:
            txn.remove(ASSIGNMENTS, found)
        return found

    async def ListGrants(
        self, request: role_pb2.ListGrantsRequest, caller: Caller
    ) -> role_pb2.ListGrantsResponse:
        grant = request.grant
        self._enforce(caller, "list", grant)
        self._parts(grant)
        found = self._store.table(ASSIGNMENTS).by("both", f"{actor_of(grant)}|{target_of(grant)}")
        roles = [
            role
            for assignment in found
            if assignment.inherited == grant.inherited
            and (role := self._store.find(ROLES, assignment.role_id)) is not None
        ]
        return role_pb2.ListGrantsResponse(roles=roles)

    async def ListAssignments(
        self, request: role_pb2.ListAssignmentsRequest, caller: Caller
    ) -> role_pb2.ListAssignmentsResponse:
        self._enforce_list(caller, request)
        _check_filters(request)
        found = self._effective(request) if request.effective else self._direct(request)
        shown = list(found)
        if caller.domain_id:
            shown = [entry for entry in shown if self._in_domain(entry.assignment, caller.domain_id)]
        if request.include_names:
            for entry in shown:
                self._name(entry)
        return role_pb2.ListAssignmentsResponse(assignments=shown)

    # -- rules

    def _enforce(self, caller: Caller, verb: str, grant: role_pb2.Assignment) -> None:
        store = self._store
        if grant.system:
            noun = "user" if grant.user_id else "group"
            plural = "s" if verb == "list" else ""
            self._policy.enforce(caller, f"identity:{verb}_system_grant{plural}_for_{noun}", {})
            return
        target: dict[str, Any] = {}
        records = (
            ("user", store.find(USERS, grant.user_id)),
            ("group", store.find(GROUPS, grant.group_id)),
            ("project", store.find(PROJECTS, grant.project_id)),
            ("domain", store.find(PROJECTS, grant.domain_id)),
            ("role", store.find(ROLES, grant.role_id)),
        )
        for noun, record in records:
            if record is not None:
                target[f"target.{noun}.id"] = record.meta.id
                target[f"target.{noun}.name"] = record.meta.name
                target[f"target.{noun}.domain_id"] = record.spec.domain_id or None
        rule = {"list": "identity:list_grants"}.get(verb, f"identity:{verb}_grant")
        self._policy.enforce(caller, rule, target)

    def _enforce_list(self, caller: Caller, request: role_pb2.ListAssignmentsRequest) -> None:
        if request.include_subtree:
            project = self._store.find(PROJECTS, request.project_id)
            target = {
                "target.project.id": request.project_id,
                "target.project.domain_id": project.spec.domain_id if project is not None else "",
            }
            self._policy.enforce(caller, "identity:list_role_assignments_for_tree", target)
        else:
            target = {"target.domain_id": caller.domain_id, "domain_id": caller.domain_id}
            self._policy.enforce(caller, "identity:list_role_assignments", target)

    def _parts(self, grant: role_pb2.Assignment) -> list[tuple[Any, Any]]:
        """The records that the grant joins. Raises NotFound, InvalidArgument."""
        if bool(grant.user_id) == bool(grant.group_id):
            raise InvalidArgument("Specify a user or group, not both.", field="user_id")
        targets = [grant.project_id, grant.domain_id, "system" if grant.system else ""]
        if len(list(filter(None, targets))) != 1:
            raise InvalidArgument("Specify a project, a domain or the system.", field="project_id")
        parts: list[tuple[Any, Any]] = []
        if grant.user_id:
            parts.append((USERS, self._get(USERS, grant.user_id, "user")))
        else:
            parts.append((GROUPS, self._get(GROUPS, grant.group_id, "group")))
        if grant.project_id:
            parts.append((PROJECTS, self._get(PROJECTS, grant.project_id, "project")))
        if grant.domain_id:
            domain = self._get(PROJECTS, grant.domain_id, "domain")
            if not domain.spec.is_domain:
                raise NotFound(f"Could not find domain: {grant.domain_id}.", reason="DOMAIN_NOT_FOUND")
            parts.append((PROJECTS, domain))
        return parts

    def _get(self, collection: Any, id_: str, noun: str) -> Any:
        found = self._store.find(collection, id_)
        if found is None:
            raise NotFound(f"Could not find {noun}: {id_}.", reason=f"{noun.upper()}_NOT_FOUND")
        return found

    def _check_domains(self, grant: role_pb2.Assignment, role: role_pb2.Role) -> None:
        if not role.spec.domain_id:
            return
        if grant.system:
            raise InvalidArgument("A role of a domain cannot be given on the system.", field="role_id")
        if not grant.project_id:
            return  # Keystone compares the domains for projects only
        project = self._store.get(PROJECTS, grant.project_id)
        if (project.spec.domain_id or project.meta.id) != role.spec.domain_id:
            raise PermissionDenied(
                "A role of another domain cannot be given here.", reason="DOMAIN_SPECIFIC_ROLE_MISMATCH"
            )

    def _find(self, grant: role_pb2.Assignment) -> role_pb2.Assignment:
        self._parts(grant)
        self._get(ROLES, grant.role_id, "role")
        found = self._store.find(ASSIGNMENTS, assignment_id(grant))
        if found is None:
            actor, target = actor_of(grant).replace(":", ": "), target_of(grant).replace(":", ": ")
            raise NotFound(
                f"Could not find role assignment with role: {grant.role_id}, {actor}, {target}.",
                reason="ROLE_ASSIGNMENT_NOT_FOUND",
            )
        return found

    # -- lists

    def _direct(self, asked: role_pb2.ListAssignmentsRequest) -> Iterator[role_pb2.EffectiveAssignment]:
        for assignment in self._candidates(asked):
            if _fits(assignment, asked, self._places(asked)):
                yield role_pb2.EffectiveAssignment(assignment=assignment)

    def _candidates(self, asked: role_pb2.ListAssignmentsRequest) -> Iterable[role_pb2.Assignment]:
        table = self._store.table(ASSIGNMENTS)
        if asked.user_id:
            return table.by("actor", f"user:{asked.user_id}")
        if asked.group_id:
            return table.by("actor", f"group:{asked.group_id}")
        if asked.role_id:
            return table.by("role", asked.role_id)
        if asked.project_id and not asked.include_subtree:
            return table.by("target", f"project:{asked.project_id}")
        if asked.domain_id:
            return table.by("target", f"domain:{asked.domain_id}")
        return table

    def _places(self, asked: role_pb2.ListAssignmentsRequest) -> set[str]:
        """The projects that are asked for."""
        if not asked.project_id:
            return set()
        below = self._assignments.subtree(asked.project_id) if asked.include_subtree else []
        return {asked.project_id, *(project.meta.id for project in below)}

    def _effective(self, asked: role_pb2.ListAssignmentsRequest) -> Iterator[role_pb2.EffectiveAssignment]:
        """Each role that a user has: groups, inheritance and implied roles worked out."""
        places = self._places(asked)
        table = self._store.table(ASSIGNMENTS)
        if asked.user_id:
            given: Iterable[role_pb2.Assignment] = [
                assignment
                for actor in self._assignments.actors(asked.user_id)
                for assignment in table.by("actor", actor)
            ]
        elif places:
            given = self._above(places)
        else:
            given = table
        met = set()
        for assignment in given:
            for entry in self._spread(assignment, asked.user_id, places):
                if not _fits(entry.assignment, asked, places, of_role=asked.role_id):
                    continue
                key = entry.SerializeToString(deterministic=True)
                if key not in met:
                    met.add(key)
                    yield entry

    def _above(self, places: set[str]) -> list[role_pb2.Assignment]:
        """The assignments that may count on one of the projects."""
        table = self._store.table(ASSIGNMENTS)
        targets: dict[str, None] = {}
        for place in places:
            targets[f"project:{place}"] = None
            project = self._store.find(PROJECTS, place)
            if project is not None:
                for above in self._assignments.ancestors(project):
                    targets[f"project:{above.meta.id}"] = None
                targets[f"domain:{project.spec.domain_id}"] = None
        return [assignment for target in targets for assignment in table.by("target", target)]

    def _spread(
        self, assignment: role_pb2.Assignment, user_id: str, places: set[str]
    ) -> Iterator[role_pb2.EffectiveAssignment]:
        users = [assignment.user_id]
        if assignment.group_id:
            members = self._store.table(MEMBERSHIPS).by("group", assignment.group_id)
            users = [member.user_id for member in members]
        roles = self._assignments.implied([assignment.role_id])
        for target in self._assignments.reach(assignment):
            kind, _, place = target.partition(":")
            if places and place not in places:
                continue
            for user in users:
                if user_id and user != user_id:
                    continue
                for role_id, prior in roles.items():
                    role = self._store.find(ROLES, role_id)
                    if role is not None and not role.spec.domain_id:
                        yield _entry(assignment, user, kind, place, role_id, prior)

    def _in_domain(self, assignment: role_pb2.Assignment, domain_id: str) -> bool:
        if assignment.domain_id:
            return assignment.domain_id == domain_id
        project = self._store.find(PROJECTS, assignment.project_id) if assignment.project_id else None
        return project is not None and (project.spec.domain_id or project.meta.id) == domain_id

    def _name(self, entry: role_pb2.EffectiveAssignment) -> None:
        found = entry.assignment
        for field, collection, id_ in (
            ("role", ROLES, found.role_id),
            ("user", USERS, found.user_id),
            ("group", GROUPS, found.group_id),
            ("project", PROJECTS, found.project_id),
            ("domain", PROJECTS, found.domain_id),
        ):
            record: Any = self._store.find(collection, id_) if id_ else None
            if record is None:
                continue
            domain = self._store.find(PROJECTS, record.spec.domain_id) if record.spec.domain_id else None
            getattr(entry, field).CopyFrom(
                role_pb2.Named(
                    id=id_,
                    name=record.meta.name,
                    domain_id=record.spec.domain_id,
                    domain_name=domain.meta.name if domain is not None else "",
                )
            )


def _entry(
    given: role_pb2.Assignment, user_id: str, kind: str, place: str, role_id: str, prior: str
) -> role_pb2.EffectiveAssignment:
    """One role of one user in one place, and where it comes from."""
    entry = role_pb2.EffectiveAssignment(
        assignment=role_pb2.Assignment(role_id=role_id, user_id=user_id, system=kind == "system"),
        membership_group_id=given.group_id,
        prior_role_id=prior,
    )
    if kind == "project":
        entry.assignment.project_id = place
    elif kind == "domain":
        entry.assignment.domain_id = place
    if given.inherited:
        entry.assignment.inherited = True
        entry.inherited_project_id = given.project_id
        entry.inherited_domain_id = given.domain_id
    return entry


def _fits(
    found: role_pb2.Assignment,
    asked: role_pb2.ListAssignmentsRequest,
    places: set[str],
    *,
    of_role: str = "",
) -> bool:
    if asked.role_id and found.role_id != (of_role or asked.role_id):
        return False
    if asked.user_id and found.user_id != asked.user_id:
        return False
    if asked.group_id and found.group_id != asked.group_id:
        return False
    if places and found.project_id not in places:
        return False
    if asked.domain_id and found.domain_id != asked.domain_id:
        return False
    if asked.system and not found.system:
        return False
    return not asked.HasField("inherited") or found.inherited == asked.inherited


def _check_filters(asked: role_pb2.ListAssignmentsRequest) -> None:
    """Raise InvalidArgument for filters that contradict each other."""
    if asked.user_id and asked.group_id:
        raise InvalidArgument("Specify a user or group, not both.", field="user.id")
    if asked.project_id and asked.domain_id:
        raise InvalidArgument("Specify a domain or project, not both.", field="scope.project.id")
    if asked.effective and asked.group_id:
        raise InvalidArgument(
            "Combining effective and group filter will always result in an empty list.", field="group.id"
        )
    if asked.effective and asked.domain_id and asked.inherited:
        raise InvalidArgument(
            "Combining effective, domain and inherited filters will always result in an empty list.",
            field="scope.domain.id",
        )
    if asked.include_subtree and not asked.project_id:
        raise InvalidArgument(
            "scope.project.id must be specified if include_subtree is also specified.",
            field="scope.project.id",
        )
