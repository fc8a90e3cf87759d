"""The RPCs of ProjectService beyond create, get, list, update and delete: trees and tags."""

from collections.abc import Callable
from typing import Any

from fabric.identity.assignment import Assignments
from fabric.identity.collection import PROJECTS
from fabric.identity.project import Projects, check_tags
from fabric.identity.resource import check_immutable
from fabric.identity.v1 import project_pb2
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store


class ProjectExtras:
    """Ancestors, descendants and tags of a project."""

    def __init__(self, store: Store, policy: Policy, projects: Projects, assignments: Assignments) -> None:
        self._store = store
        self._policy = policy
        self._projects = projects
        self._assignments = assignments

    async def GetProjectHierarchy(
        self, request: project_pb2.GetProjectHierarchyRequest, caller: Caller
    ) -> project_pb2.GetProjectHierarchyResponse:
        project = await self._projects.get(request.id, caller)
        above = list(self._assignments.ancestors(project))
        below = self._assignments.subtree(project.meta.id)
        reply = project_pb2.GetProjectHierarchyResponse(
            project=project,
            parents=[p for p in above if not p.spec.is_domain and self._known_to(caller, p)],
            subtree=[p for p in below if self._known_to(caller, p)],
            parent_ids=[p.meta.id for p in above],
        )
        for child in below:
            reply.subtree_parents[child.meta.id] = child.spec.parent_id
        return reply

    def _known_to(self, caller: Caller, project: project_pb2.Project) -> bool:
        """Whether the caller has a role on it."""
        return bool(self._assignments.roles(caller.user_id, f"project:{project.meta.id}"))

    async def ListProjectTags(self, request: Any, caller: Caller) -> project_pb2.Project:
        return self._find(request.project_id, "identity:list_project_tags", caller)

    async def CheckProjectTag(self, request: Any, caller: Caller) -> project_pb2.Project:
        found = self._find(request.project_id, "identity:get_project_tag", caller)
        self._check_has(found, request.tag)
        return found

    async def SetProjectTags(self, request: Any, caller: Caller) -> project_pb2.Project:
        rule = "identity:update_project_tags" if request.tags else "identity:delete_project_tags"
        return await self._change(request.project_id, rule, caller, lambda _: list(request.tags))

    async def AddProjectTag(self, request: Any, caller: Caller) -> project_pb2.Project:
        def add(tags: list[str]) -> list[str]:
            return tags if request.tag in tags else [*tags, request.tag]

        return await self._change(request.project_id, "identity:create_project_tag", caller, add)

    async def RemoveProjectTag(self, request: Any, caller: Caller) -> project_pb2.Project:
        self._check_has(self._find(request.project_id, "identity:delete_project_tag", caller), request.tag)

        def remove(tags: list[str]) -> list[str]:
            return [tag for tag in tags if tag != request.tag]

        return await self._change(request.project_id, "identity:delete_project_tag", caller, remove)

    @again
    async def _change(
        self, project_id: str, rule: str, caller: Caller, change: Callable[[list[str]], list[str]]
    ) -> project_pb2.Project:
        new = copy_of(self._find(project_id, rule, caller))
        check_immutable("project", project_id, new.spec.options, new.spec.options)
        tags = change(list(new.meta.tags))
        check_tags(tags)
        del new.meta.tags[:]
        new.meta.tags.extend(tags)
        async with self._store.transaction() as txn:
            txn.update(PROJECTS, new)
        return new

    def _find(self, project_id: str, rule: str, caller: Caller) -> project_pb2.Project:
        found = self._store.find(PROJECTS, project_id)
        target = (
            {"target.project.id": project_id, "target.project.domain_id": found.spec.domain_id}
            if found is not None
            else {}
        )
        self._policy.enforce(caller, rule, target)
        if found is None:
            raise NotFound(f"Could not find project: {project_id}.", reason="PROJECT_NOT_FOUND")
        return found

    def _check_has(self, project: project_pb2.Project, tag: str) -> None:
        if tag not in project.meta.tags:
            raise NotFound(f"Could not find project tag: {tag}.", reason="PROJECT_TAG_NOT_FOUND")
