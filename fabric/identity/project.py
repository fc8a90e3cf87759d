"""Projects and domains: trees of names, and what goes with them."""

import re
from typing import Any, ClassVar

from fabric.identity.assignment import MAX_DEPTH
from fabric.identity.collection import (
    APPLICATION_CREDENTIALS,
    ASSIGNMENTS,
    CREDENTIALS,
    DOMAIN_CONFIGS,
    GROUPS,
    LIMITS,
    PROJECT_ENDPOINTS,
    PROJECTS,
    ROLES,
    TRUSTS,
    USERS,
)
from fabric.identity.group import remove_group
from fabric.identity.resource import (
    DEFAULT_DOMAIN,
    IdentityResource,
    check_immutable,
    check_name,
    domain_of,
    merge_struct,
)
from fabric.identity.role import remove_role
from fabric.identity.user import now, remove_user
from fabric.identity.v1 import project_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Collection, Store, Transaction
from fabric.type.v1.query_pb2 import Query

_ID = re.compile(r"[0-9a-f]{32}")
MAX_PROJECT_DEPTH = 5  # levels of projects below a domain, as Keystone's max_project_tree_depth


class Projects(IdentityResource[project_pb2.Project]):
    """parent_id is a project or a domain; domain_id follows from it."""

    collection = PROJECTS
    target_name = "project"
    policies: ClassVar = {
        "create": "identity:create_project",
        "get": "identity:get_project",
        "list": "identity:list_projects",
        "update": "identity:update_project",
        "delete": "identity:delete_project",
    }

    async def create(self, message: project_pb2.Project, caller: Caller) -> project_pb2.Project:
        if message.spec.is_domain:
            new = copy_of(message)
            if new.spec.domain_id or new.spec.parent_id:
                raise InvalidArgument(
                    "A project that acts as a domain has neither a domain nor a parent.", field="domain_id"
                )
            new.ClearField("tokens_after")
            return await super().create(new, caller)
        return await super().create(message, caller)

    def own(self, caller: Caller, new: project_pb2.Project) -> None:
        super().own(caller, new)
        spec = new.spec
        if spec.is_domain:
            return
        if spec.parent_id and not spec.domain_id:
            parent = self.store.find(PROJECTS, spec.parent_id)
            spec.domain_id = (parent.spec.domain_id or parent.meta.id) if parent is not None else ""
        spec.domain_id = spec.domain_id or domain_of(caller)
        spec.parent_id = spec.parent_id or spec.domain_id

    def accept(
        self, caller: Caller, new: project_pb2.Project, old: project_pb2.Project | None, txn: Transaction
    ) -> None:
        check_name(new.meta.name, 64)
        if old is None:
            self._place(new, txn)
        else:
            self._check_change(new, old, txn)
        check_tags(new.meta.tags)

    def _place(self, new: project_pb2.Project, txn: Transaction) -> None:
        if new.spec.is_domain:
            return
        domain = self.store.find(PROJECTS, new.spec.domain_id)
        if domain is None or not domain.spec.is_domain:
            raise NotFound(f"Could not find domain: {new.spec.domain_id}.", reason="DOMAIN_NOT_FOUND")
        parent = self.store.find(PROJECTS, new.spec.parent_id)
        if parent is None:
            raise NotFound(f"Could not find project: {new.spec.parent_id}.", reason="PROJECT_NOT_FOUND")
        if (parent.spec.domain_id or parent.meta.id) != new.spec.domain_id:
            raise InvalidArgument("The parent is in another domain.", field="parent_id")
        if not parent.spec.enabled or not domain.spec.enabled:
            raise PermissionDenied(
                "Cannot create a project in a branch containing a disabled project.", reason="PARENT_DISABLED"
            )
        depth, above = 1, parent
        while above.spec.parent_id and depth < MAX_DEPTH:
            depth += 1
            above = self.store.get(PROJECTS, above.spec.parent_id)
        if depth > MAX_PROJECT_DEPTH:
            raise PermissionDenied(
                f"Max hierarchy depth reached for {parent.meta.id} branch.", reason="MAX_HIERARCHY_DEPTH"
            )
        txn.expect(PROJECTS, parent)

    def _check_change(self, new: project_pb2.Project, old: project_pb2.Project, txn: Transaction) -> None:
        merge_struct(new.extra, old.extra)
        merge_struct(new.spec.options, old.spec.options, null_removes=True)
        check_immutable("project", old.meta.id, old.spec.options, new.spec.options)
        if new.spec.domain_id != old.spec.domain_id:
            raise InvalidArgument("Cannot change domain of a project.", field="domain_id")
        if new.spec.parent_id != old.spec.parent_id:
            raise PermissionDenied("Update of `parent_id` is not allowed.", reason="PARENT_CHANGE")
        if new.spec.is_domain != old.spec.is_domain:
            raise InvalidArgument("Update of `is_domain` is not allowed.", field="is_domain")
        if old.spec.enabled and not new.spec.enabled:
            self._check_disable(new)
        if new.spec.enabled and not old.spec.enabled and new.spec.parent_id:
            parent = self.store.get(PROJECTS, new.spec.parent_id)
            if not parent.spec.enabled:
                raise PermissionDenied(
                    f"Cannot enable project {new.meta.id} since it has disabled parents.",
                    reason="PARENT_DISABLED",
                )
            txn.expect(PROJECTS, parent)

    def _check_disable(self, new: project_pb2.Project) -> None:
        if not new.spec.is_domain:
            children = self.store.table(PROJECTS).by("parent", new.meta.id)
            if any(child.spec.enabled for child in children):
                raise PermissionDenied(
                    f"Cannot disable project {new.meta.id} since its subtree contains enabled projects.",
                    reason="CHILDREN_ENABLED",
                )
        new.tokens_after.CopyFrom(now())

    def check_delete(self, caller: Caller, old: project_pb2.Project, txn: Transaction) -> None:
        check_immutable("project", old.meta.id, old.spec.options, None)
        if old.spec.is_domain:
            delete_domain(self.store, txn, old)
            return
        if self.store.table(PROJECTS).count("parent", old.meta.id):
            raise PermissionDenied(
                f"Cannot delete the project {old.meta.id} since it is not a leaf in the hierarchy.",
                reason="NOT_A_LEAF",
            )
        remove_project(self.store, txn, old.meta.id)

    def candidates(self, caller: Caller, asked: Query) -> list[project_pb2.Project]:
        wants_domains = any(f.path == "spec.is_domain" and "true" in f.values for f in asked.filters)
        if wants_domains and not caller.domain_id:
            return self.store.table(PROJECTS).by("is_domain", "true")
        for part in asked.filters:
            if part.path == "spec.parent_id" and len(part.values) == 1:
                return self.store.table(PROJECTS).by("parent", part.values[0])
        found = super().candidates(caller, asked)
        return found if wants_domains else [project for project in found if not project.spec.is_domain]

    def present(self, caller: Caller, message: project_pb2.Project) -> project_pb2.Project:
        return message


class Domains(Projects):
    """The same records, those with is_domain."""

    target_name = "domain"
    policies: ClassVar = {
        "create": "identity:create_domain",
        "get": "identity:get_domain",
        "list": "identity:list_domains",
        "update": "identity:update_domain",
        "delete": "identity:delete_domain",
    }
    told: ClassVar = frozenset({"update", "delete"})
    keeps_id = True

    async def create(self, message: project_pb2.Project, caller: Caller) -> project_pb2.Project:
        if message.meta.id and not _ID.fullmatch(message.meta.id):
            raise InvalidArgument("Domain ID does not conform to required UUID format.", field="id")
        new = copy_of(message)
        new.spec.is_domain = True
        return await super().create(new, caller)

    def target(self, message: project_pb2.Project) -> dict[str, Any]:
        return {"target.domain.id": message.meta.id}

    def known(self, id_: str) -> project_pb2.Project | None:
        found = super().known(id_)
        return found if found is not None and found.spec.is_domain else None

    def missing(self, id_: str) -> NotFound:
        return NotFound(f"Could not find domain: {id_}.", reason="DOMAIN_NOT_FOUND", id=id_)

    def candidates(self, caller: Caller, asked: Query) -> list[project_pb2.Project]:
        found = self.store.table(PROJECTS).by("is_domain", "true")
        return [d for d in found if d.meta.id == caller.domain_id] if caller.domain_id else found

    def enforce_list(self, caller: Caller) -> None:
        self.policy.enforce(caller, self.policies["list"], {"target.domain.id": caller.domain_id})


def check_tags(tags: Any) -> None:
    """Raise InvalidArgument for tags that are too many, too long, or not of the form."""
    if len(tags) > 80:
        raise InvalidArgument("A project has at most 80 tags.", field="tags")
    if len(set(tags)) != len(tags):
        raise InvalidArgument("A tag is there more than once.", field="tags")
    for tag in tags:
        if not 1 <= len(tag) <= 255 or "/" in tag or "," in tag:
            raise InvalidArgument("A tag has 1 to 255 characters and neither slash nor comma.", field="tags")


def remove_project(store: Store, txn: Transaction, project_id: str) -> None:
    """Take away all that goes with a project."""
    for assignment in store.table(ASSIGNMENTS).by("target", f"project:{project_id}"):
        txn.remove(ASSIGNMENTS, assignment)
    held: tuple[Collection[Any], ...] = (
        APPLICATION_CREDENTIALS,
        CREDENTIALS,
        TRUSTS,
        LIMITS,
        PROJECT_ENDPOINTS,
    )
    for collection in held:
        for record in store.table(collection).by("project", project_id):
            txn.remove(collection, record)
    for user in store.table(USERS).by("default_project", project_id):
        freed = copy_of(user)
        freed.spec.default_project_id = ""
        txn.update(USERS, freed)


def delete_domain(store: Store, txn: Transaction, domain: project_pb2.Project) -> None:
    """Take away all that is in a domain; it must be disabled before."""
    id_ = domain.meta.id
    if id_ == DEFAULT_DOMAIN:
        raise PermissionDenied("The default domain cannot be deleted.", reason="DEFAULT_DOMAIN")
    if domain.spec.enabled:
        raise PermissionDenied(
            "Cannot delete a domain that is enabled, please disable it first.", reason="DOMAIN_ENABLED"
        )
    for assignment in store.table(ASSIGNMENTS).by("target", f"domain:{id_}"):
        txn.remove(ASSIGNMENTS, assignment)
    for project in store.table(PROJECTS).by("domain", id_):
        for assignment in store.table(ASSIGNMENTS).by("target", f"project:{project.meta.id}"):
            txn.remove(ASSIGNMENTS, assignment)
        txn.remove(PROJECTS, project)
    for user in store.table(USERS).by("domain", id_):
        remove_user(store, txn, user.meta.id)
        txn.remove(USERS, user)
    for group in store.table(GROUPS).by("domain", id_):
        remove_group(store, txn, group.meta.id)
        txn.remove(GROUPS, group)
    for role in store.table(ROLES).by("domain", id_):
        remove_role(store, txn, role.meta.id)
        txn.remove(ROLES, role)
    for limit in store.table(LIMITS).by("project", id_):
        txn.remove(LIMITS, limit)
    config = store.find(DOMAIN_CONFIGS, id_)
    if config is not None:
        txn.remove(DOMAIN_CONFIGS, config)
