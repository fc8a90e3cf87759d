"""Roles, and which role implies which."""

from typing import Any, ClassVar

from fabric.identity.collection import (
    APPLICATION_CREDENTIALS,
    ASSIGNMENTS,
    IMPLICATIONS,
    PROJECTS,
    ROLES,
    TRUSTS,
)
from fabric.identity.resource import IdentityResource, check_immutable, check_name, merge_struct
from fabric.identity.v1 import role_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Query

PROHIBITED = frozenset({"admin"})  # may not be implied by another role


class Roles(IdentityResource[role_pb2.Role]):
    """Global, or of one domain; the policy rules differ."""

    collection = ROLES
    policies: ClassVar = {
        "create": "identity:create_role",
        "get": "identity:get_role",
        "list": "identity:list_roles",
        "update": "identity:update_role",
        "delete": "identity:delete_role",
    }
    told: ClassVar = frozenset({"get", "update", "delete"})

    def target(self, message: role_pb2.Role) -> dict[str, Any]:
        return {"target.role.name": message.meta.name, "target.role.domain_id": message.spec.domain_id}

    def enforce(self, verb: str, caller: Caller, message: role_pb2.Role) -> None:
        if not message.spec.domain_id:
            return super().enforce(verb, caller, message)
        return self.policy.enforce(caller, f"identity:{verb}_domain_role", self.target(message))

    def accept(self, caller: Caller, new: role_pb2.Role, old: role_pb2.Role | None, txn: Transaction) -> None:
        check_name(new.meta.name, 255)
        if old is not None:
            merge_struct(new.extra, old.extra)
            merge_struct(new.spec.options, old.spec.options, null_removes=True)
            check_immutable("role", old.meta.id, old.spec.options, new.spec.options)
            if new.spec.domain_id != old.spec.domain_id:
                raise InvalidArgument("Cannot change domain of a role.", field="domain_id")
        elif new.spec.domain_id:
            domain = self.store.find(PROJECTS, new.spec.domain_id)
            if domain is None or not domain.spec.is_domain:
                raise NotFound(f"Could not find domain: {new.spec.domain_id}.", reason="DOMAIN_NOT_FOUND")
            txn.expect(PROJECTS, domain)

    def check_delete(self, caller: Caller, old: role_pb2.Role, txn: Transaction) -> None:
        check_immutable("role", old.meta.id, old.spec.options, None)
        remove_role(self.store, txn, old.meta.id)

    def candidates(self, caller: Caller, asked: Query) -> list[role_pb2.Role]:
        """Without a filter by domain: the global roles."""
        domain = next((f.values[0] for f in asked.filters if f.path == "spec.domain_id" and f.values), "")
        return self.store.table(ROLES).by("domain", domain)

    async def list(self, asked: Query, caller: Caller) -> tuple[list[role_pb2.Role], str]:
        if any(f.path == "spec.domain_id" and any(f.values) for f in asked.filters):
            domain = next(f.values[0] for f in asked.filters if f.path == "spec.domain_id")
            self.policy.enforce(caller, "identity:list_domain_roles", {"target.role.domain_id": domain})
        return await super().list(asked, caller)

    def enforce_list(self, caller: Caller) -> None:
        self.policy.enforce(caller, "identity:list_roles", {})


class Implications:
    """The RPCs about implied roles."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    async def CreateImplication(self, request: Any, caller: Caller) -> role_pb2.Implication:
        self._policy.enforce(caller, "identity:create_implied_role", {})
        prior = self._store.get(ROLES, request.prior_role_id)
        implied = self._store.get(ROLES, request.implied_role_id)
        if implied.meta.name in PROHIBITED and not implied.spec.domain_id:
            raise PermissionDenied(
                f"Creating an implied role {implied.meta.name} is prohibited.", reason="ROLE_NOT_IMPLIABLE"
            )
        if implied.spec.domain_id and not prior.spec.domain_id:
            raise PermissionDenied(
                f"Role {implied.meta.id} cannot be an implied role: it is of a domain and the prior role is not.",
                reason="ROLE_NOT_IMPLIABLE",
            )
        if prior.meta.id == implied.meta.id or self._implies(implied.meta.id, prior.meta.id):
            raise InvalidArgument(
                "A role cannot imply itself, directly or by others.", field="implies_role_id"
            )
        made = role_pb2.Implication(prior_role_id=prior.meta.id, implied_role_id=implied.meta.id)
        made.meta.id = f"{prior.meta.id}:{implied.meta.id}"
        if self._store.find(IMPLICATIONS, made.meta.id) is None:
            try:
                async with self._store.transaction() as txn:
                    txn.expect(ROLES, prior)
                    txn.expect(ROLES, implied)
                    txn.create(IMPLICATIONS, made)
            except AlreadyExists:
                pass  # as it should be
        return self._shown(made)

    async def GetImplication(self, request: Any, caller: Caller) -> role_pb2.Implication:
        self._policy.enforce(caller, "identity:get_implied_role", {})
        return self._shown(self._find(request))

    async def CheckImplication(self, request: Any, caller: Caller) -> role_pb2.Implication:
        self._policy.enforce(caller, "identity:check_implied_role", {})
        return self._shown(self._find(request))

    async def DeleteImplication(self, request: Any, caller: Caller) -> role_pb2.Implication:
        self._policy.enforce(caller, "identity:delete_implied_role", {})
        found = self._find(request)
        async with self._store.transaction() as txn:
            txn.remove(IMPLICATIONS, found)
        return found

    async def ListImplications(self, request: Any, caller: Caller) -> role_pb2.ListImplicationsResponse:
        if not request.prior_role_id:
            self._policy.enforce(caller, "identity:list_role_inference_rules", {})
            found = list(self._store.table(IMPLICATIONS))
            return role_pb2.ListImplicationsResponse(implications=map(self._shown, found))
        self._policy.enforce(caller, "identity:list_implied_roles", {})
        prior = self._store.get(ROLES, request.prior_role_id)
        found = self._store.table(IMPLICATIONS).by("prior", prior.meta.id)
        return role_pb2.ListImplicationsResponse(implications=map(self._shown, found), prior_role=prior)

    def _implies(self, prior: str, wanted: str) -> bool:
        met, due = {prior}, [prior]
        while due:
            for implication in self._store.table(IMPLICATIONS).by("prior", due.pop()):
                if implication.implied_role_id == wanted:
                    return True
                if implication.implied_role_id not in met:
                    met.add(implication.implied_role_id)
                    due.append(implication.implied_role_id)
        return False

    def _find(self, request: Any) -> role_pb2.Implication:
        self._store.get(ROLES, request.prior_role_id)
        self._store.get(ROLES, request.implied_role_id)
        found = self._store.find(IMPLICATIONS, f"{request.prior_role_id}:{request.implied_role_id}")
        if found is None:
            raise NotFound(
                f"{request.prior_role_id} does not imply {request.implied_role_id}.",
                reason="IMPLIED_ROLE_NOT_FOUND",
            )
        return found

    def _shown(self, found: role_pb2.Implication) -> role_pb2.Implication:
        shown = copy_of(found)
        for field, id_ in (("prior_role", found.prior_role_id), ("implied_role", found.implied_role_id)):
            role = self._store.find(ROLES, id_)
            if role is not None:
                getattr(shown, field).CopyFrom(role)
        return shown


def remove_role(store: Store, txn: Transaction, role_id: str) -> None:
    """Take away all that goes with a role."""
    for assignment in store.table(ASSIGNMENTS).by("role", role_id):
        txn.remove(ASSIGNMENTS, assignment)
    for index in ("prior", "implied"):
        for implication in store.table(IMPLICATIONS).by(index, role_id):
            txn.remove(IMPLICATIONS, implication)
    for app_cred in store.table(APPLICATION_CREDENTIALS):
        if any(role.id == role_id for role in app_cred.roles):
            txn.remove(APPLICATION_CREDENTIALS, app_cred)
    for trust in store.table(TRUSTS):
        if any(role.id == role_id for role in trust.roles):
            txn.remove(TRUSTS, trust)
