"""Who has which roles where: direct, by group, inherited from above, and implied. From memory, no I/O."""

from collections.abc import Iterable, Iterator
from typing import Any

from fabric.identity.collection import (
    ASSIGNMENTS,
    GROUPS,
    IMPLICATIONS,
    MEMBERSHIPS,
    PROJECTS,
    ROLES,
    SYSTEM,
    USERS,
)
from fabric.identity.v1 import project_pb2, role_pb2
from fabric.runtime.store import Collection, Store

MAX_DEPTH = 64  # of project trees and chains of implied roles: a safeguard, not a rule


class Assignments:
    """Answers from the watch cache; answers are remembered until anything that they rest on changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._assignments = store.table(ASSIGNMENTS)
        self._memberships = store.table(MEMBERSHIPS)
        self._implications = store.table(IMPLICATIONS)
        self._memory: dict[tuple[str, str], tuple[str, ...]] = {}
        self.version = 0  # grows with every change of what tokens mean
        followed: tuple[Collection[Any], ...] = (
            PROJECTS,
            USERS,
            GROUPS,
            MEMBERSHIPS,
            ROLES,
            IMPLICATIONS,
            ASSIGNMENTS,
        )
        for collection in followed:
            store.table(collection).subscribe(self.changed)

    def changed(self, _: str) -> None:
        """Something changed: forget what was worked out."""
        self.version += 1
        if self._memory:
            self._memory.clear()

    def roles(self, user_id: str, target: str) -> tuple[str, ...]:
        """Ids of the global roles that the user has on project:<id>, domain:<id> or the system."""
        found = self._memory.get((user_id, target))
        if found is None:
            found = self._memory[user_id, target] = tuple(self._work_out(user_id, target))
        return found

    def groups(self, user_id: str) -> list[str]:
        """The groups of the user."""
        return [membership.group_id for membership in self._memberships.by("user", user_id)]

    def implied(self, role_ids: Iterable[str]) -> dict[str, str]:
        """The roles and all that they imply -> the role that implies it ("" for the given ones)."""
        found = dict.fromkeys(role_ids, "")
        due = list(found)
        while due:
            prior = due.pop()
            for implication in self._implications.by("prior", prior):
                if implication.implied_role_id not in found:
                    found[implication.implied_role_id] = prior
                    due.append(implication.implied_role_id)
        return found

    def ancestors(self, project: project_pb2.Project) -> Iterator[project_pb2.Project]:
        """The project's parents, nearest first, up to the domain."""
        for _ in range(MAX_DEPTH):
            parent = self._store.find(PROJECTS, project.spec.parent_id) if project.spec.parent_id else None
            if parent is None:
                return
            yield parent
            project = parent

    def subtree(self, project_id: str) -> list[project_pb2.Project]:
        """The projects below, parents before children."""
        found: list[project_pb2.Project] = []
        due = [project_id]
        while due:
            children = self._store.table(PROJECTS).by("parent", due.pop(0))
            found += children
            due += [child.meta.id for child in children]
        return found

    def on(self, actors: Iterable[str], target: str) -> Iterator[role_pb2.Assignment]:
        """The assignments of the actors that count on the target, inherited ones included."""
        places = [(target, False)]
        kind, _, id_ = target.partition(":")
        if kind == "project":
            project = self._store.find(PROJECTS, id_)
            if project is not None:
                places += [(f"project:{above.meta.id}", True) for above in self.ancestors(project)]
                places.append((f"domain:{project.spec.domain_id or id_}", True))
        for actor in actors:
            for place, inherited in places:
                for assignment in self._assignments.by("both", f"{actor}|{place}"):
                    if assignment.inherited == inherited:
                        yield assignment

    def actors(self, user_id: str) -> list[str]:
        """The user and its groups, as indexes name them."""
        return [f"user:{user_id}", *(f"group:{group}" for group in self.groups(user_id))]

    def targets(self, user_id: str) -> set[str]:
        """Every project and domain (or the system) on which the user has a role."""
        found: set[str] = set()
        for actor in self.actors(user_id):
            for assignment in self._assignments.by("actor", actor):
                found.update(self.reach(assignment))
        return found

    def reach(self, assignment: role_pb2.Assignment) -> list[str]:
        """Where the assignment counts."""
        if not assignment.project_id and not assignment.domain_id:
            return [SYSTEM]
        if not assignment.inherited:
            if assignment.project_id:
                return [f"project:{assignment.project_id}"]
            return [f"domain:{assignment.domain_id}"]
        if assignment.project_id:
            below = self.subtree(assignment.project_id)
        else:
            below = self._store.table(PROJECTS).by("domain", assignment.domain_id)
        return [f"project:{project.meta.id}" for project in below]

    def _work_out(self, user_id: str, target: str) -> list[str]:
        given = [assignment.role_id for assignment in self.on(self.actors(user_id), target)]
        roles = (self._store.find(ROLES, role_id) for role_id in self.implied(given))
        return [role.meta.id for role in roles if role is not None and not role.spec.domain_id]
