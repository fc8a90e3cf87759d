"""Trusts: one user acts for another with some of the other's roles."""

import time
from typing import Any

from fabric.identity.assignment import Assignments
from fabric.identity.collection import APPLICATION_CREDENTIALS, PROJECTS, ROLES, TRUSTS, USERS
from fabric.identity.resource import new_id
from fabric.identity.v1 import role_pb2
from fabric.identity.v1 import trust_pb2 as pb
from fabric.runtime import query
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store

MAX_REDELEGATION = 3  # as Keystone's max_redelegation_count


class Trusts:
    """The RPCs of TrustService."""

    def __init__(self, store: Store, policy: Policy, assignments: Assignments) -> None:
        self._store = store
        self._policy = policy
        self._assignments = assignments

    async def CreateTrust(self, request: pb.CreateTrustRequest, caller: Caller) -> pb.Trust:
        new = copy_of(request.trust)
        self._policy.enforce(caller, "identity:create_trust", _target(new))
        if caller.app_cred_id:
            own = self._store.find(APPLICATION_CREDENTIALS, caller.app_cred_id)
            if own is None or not own.unrestricted:
                raise PermissionDenied("Application credentials cannot make trusts.")
        trustor, trustee = self._user(new.trustor_user_id), self._user(new.trustee_user_id)
        self._check_form(new)
        above = self._above(caller)
        self._take_roles(new, above)
        self._count(new, above)
        new.meta.id, new.meta.request_id = new_id(), caller.request_id
        async with self._store.transaction() as txn:
            txn.expect(USERS, trustor)
            txn.expect(USERS, trustee)
            if new.meta.project_id:
                txn.expect(PROJECTS, self._project(new.meta.project_id))
            if above is not None:
                txn.expect(TRUSTS, above)
            txn.create(TRUSTS, new)
        return self._store.get(TRUSTS, new.meta.id)

    async def GetTrust(self, request: pb.GetTrustRequest, caller: Caller) -> pb.Trust:
        found = self._live(request.id)  # NOT_FOUND before PERMISSION_DENIED, as Keystone
        self._policy.enforce(caller, "identity:get_trust", _target(found))
        return found

    async def ListTrusts(self, request: pb.ListTrustsRequest, caller: Caller) -> pb.ListTrustsResponse:
        trustor, trustee = request.trustor_user_id, request.trustee_user_id
        target = {"target.trust.trustor_user_id": trustor, "target.trust.trustee_user_id": trustee}
        table = self._store.table(TRUSTS)
        if not trustor and not trustee:
            self._policy.enforce(caller, "identity:list_trusts", target)
            found = list(table)
        elif trustor:
            self._policy.enforce(caller, "identity:list_trusts_for_trustor", target)
            found = table.by("trustor", trustor)
        else:
            self._policy.enforce(caller, "identity:list_trusts_for_trustee", target)
            found = table.by("trustee", trustee)
        live = [t for t in found if not _expired(t) and (not trustee or t.trustee_user_id == trustee)]
        page, marker = query.select(live, request.query, TRUSTS.message)
        return pb.ListTrustsResponse(trusts=page, next_marker=marker)

    async def DeleteTrust(self, request: pb.DeleteTrustRequest, caller: Caller) -> pb.Trust:
        found = self._live(request.id)
        self._policy.enforce(caller, "identity:delete_trust", _target(found))
        async with self._store.transaction() as txn:
            due = [found]
            while due:  # what was passed on goes with it
                trust = due.pop()
                txn.remove(TRUSTS, trust)
                due += self._store.table(TRUSTS).by("redelegated", trust.meta.id)
        return found

    # -- rules

    def _check_form(self, new: pb.Trust) -> None:
        if new.HasField("expire_time") and new.expire_time.seconds <= time.time():
            raise InvalidArgument("'expires_at' must not be in the past.", field="expires_at")
        if new.HasField("remaining_uses") and new.remaining_uses < 1:
            raise InvalidArgument(
                "'remaining_uses' must be a positive integer or null.", field="remaining_uses"
            )
        if new.meta.project_id:
            self._project(new.meta.project_id)
            if not new.roles:
                raise PermissionDenied("At least one role should be specified.")

    def _above(self, caller: Caller) -> pb.Trust | None:
        """The trust by which the caller acts: it is passed on."""
        return self._live(caller.trust_id) if caller.trust_id else None

    def _take_roles(self, new: pb.Trust, above: pb.Trust | None) -> None:
        asked = list(new.roles)
        del new.roles[:]
        held = self._assignments.roles(new.trustor_user_id, f"project:{new.meta.project_id}")
        if above is not None:
            held = tuple(self._assignments.implied([role.id for role in above.roles]))
        for reference in asked:
            role = self._role(reference)
            if role.meta.id not in held:
                if above is not None:
                    raise PermissionDenied("Some of requested roles are not in redelegated trust.")
                raise NotFound(f"Could not find role: {role.meta.id}.", reason="ROLE_NOT_FOUND")
            new.roles.add(id=role.meta.id, name=role.meta.name, domain_id=role.spec.domain_id)

    def _role(self, reference: Any) -> role_pb2.Role:
        id_ = reference.id or self._store.owner(
            ROLES, "name", f"{reference.domain_id or '-'}/{reference.name}"
        )
        role = self._store.find(ROLES, id_ or "")
        if role is None:
            raise NotFound(f"Could not find role: {reference.id or reference.name}.", reason="ROLE_NOT_FOUND")
        return role

    def _count(self, new: pb.Trust, above: pb.Trust | None) -> None:
        """How often it may be passed on."""
        asked = new.redelegation_count if new.HasField("redelegation_count") else None
        new.ClearField("redelegated_trust_id")
        most = MAX_REDELEGATION
        if above is not None:
            most = above.redelegation_count - 1
            self._check_passed_on(new, above)
            new.redelegated_trust_id = above.meta.id
        if asked is not None and asked > most:
            raise PermissionDenied(f"Requested redelegation depth of {asked} is greater than allowed {most}.")
        if new.allow_redelegation and new.HasField("remaining_uses"):
            raise InvalidArgument(
                "'remaining_uses' must not be set if redelegation is allowed.", field="remaining_uses"
            )
        new.redelegation_count = (most if asked is None else asked) if new.allow_redelegation else 0

    def _check_passed_on(self, new: pb.Trust, above: pb.Trust) -> None:
        if not above.allow_redelegation or above.redelegation_count < 1:
            raise PermissionDenied("The trust must not be redelegated.")
        if new.impersonation and not above.impersonation:
            raise PermissionDenied("Impersonation is not allowed because the redelegated trust has it not.")
        if new.meta.project_id != above.meta.project_id:
            raise PermissionDenied("The project is not that of the redelegated trust.")
        if above.HasField("expire_time"):
            if not new.HasField("expire_time"):
                new.expire_time.CopyFrom(above.expire_time)
            elif new.expire_time.ToNanoseconds() > above.expire_time.ToNanoseconds():
                raise PermissionDenied(
                    "Requested expiration time is more than redelegated trust can provide."
                )

    def _user(self, user_id: str) -> Any:
        user = self._store.find(USERS, user_id)
        if user is None:
            raise NotFound(f"Could not find user: {user_id}.", reason="USER_NOT_FOUND")
        return user

    def _project(self, project_id: str) -> Any:
        project = self._store.find(PROJECTS, project_id)
        if project is None:
            raise NotFound(f"Could not find project: {project_id}.", reason="PROJECT_NOT_FOUND")
        return project

    def _live(self, id_: str) -> pb.Trust:
        found = self._store.find(TRUSTS, id_)
        if found is None or _expired(found):
            raise NotFound(f"Could not find trust: {id_}.", reason="TRUST_NOT_FOUND")
        return found


def _expired(trust: pb.Trust) -> bool:
    return trust.HasField("expire_time") and trust.expire_time.ToNanoseconds() <= time.time_ns()


def _target(trust: pb.Trust) -> dict[str, Any]:
    return {
        "target.trust.trustor_user_id": trust.trustor_user_id,
        "target.trust.trustee_user_id": trust.trustee_user_id,
        "target.trust.trustor_id": trust.trustor_user_id,
    }
