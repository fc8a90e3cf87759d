"""Application credentials: secrets with which programs act for a user, with some of the user's roles."""

import secrets
import time
from typing import Any

from fabric.identity.assignment import Assignments
from fabric.identity.collection import ACCESS_RULES, APPLICATION_CREDENTIALS, PROJECTS, ROLES, USERS
from fabric.identity.password import Passwords
from fabric.identity.resource import check_name, new_id
from fabric.identity.v1 import application_credential_pb2 as pb
from fabric.identity.v1 import role_pb2
from fabric.runtime import query
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction


class ApplicationCredentials:
    """The RPCs of ApplicationCredentialService."""

    def __init__(self, store: Store, policy: Policy, assignments: Assignments, passwords: Passwords) -> None:
        self._store = store
        self._policy = policy
        self._assignments = assignments
        self._passwords = passwords

    async def CreateApplicationCredential(
        self, request: pb.CreateApplicationCredentialRequest, caller: Caller
    ) -> pb.ApplicationCredential:
        new = copy_of(request.application_credential)
        self._enforce(caller, "identity:create_application_credential", new.user_id)
        check_unrestricted(self._store, caller)
        check_name(new.meta.name, 255)
        if not caller.project_id:
            raise InvalidArgument("A token for a project is needed.", field="project_id")
        if new.HasField("expire_time") and new.expire_time.seconds <= time.time():
            raise InvalidArgument("'expires_at' must not be in the past.", field="expires_at")
        new.meta.id, new.meta.project_id = new_id(), caller.project_id
        new.meta.request_id = caller.request_id
        self._take_roles(new, caller)
        secret = new.secret or secrets.token_urlsafe(64)
        new.hash = await self._passwords.hash(secret)
        rules = list(new.access_rules)
        del new.access_rule_ids[:]
        new.ClearField("secret")
        async with self._store.transaction() as txn:
            txn.expect(USERS, self._store.get(USERS, new.user_id))
            txn.expect(PROJECTS, self._store.get(PROJECTS, caller.project_id))
            for asked in rules:
                new.access_rule_ids.append(self._rule(new, asked, txn))
            txn.create(APPLICATION_CREDENTIALS, new)
        shown = self._shown(self._store.get(APPLICATION_CREDENTIALS, new.meta.id))
        shown.secret = secret
        return shown

    async def GetApplicationCredential(
        self, request: pb.GetApplicationCredentialRequest, caller: Caller
    ) -> pb.ApplicationCredential:
        return self._shown(self._find(request, caller, "identity:get_application_credential"))

    async def ListApplicationCredentials(
        self, request: pb.ListApplicationCredentialsRequest, caller: Caller
    ) -> pb.ListApplicationCredentialsResponse:
        self._enforce(caller, "identity:list_application_credentials", request.user_id)
        self._user(request.user_id)
        found = self._store.table(APPLICATION_CREDENTIALS).by("user", request.user_id)
        page, marker = query.select(found, request.query, APPLICATION_CREDENTIALS.message)
        return pb.ListApplicationCredentialsResponse(
            application_credentials=[self._shown(entry) for entry in page], next_marker=marker
        )

    async def DeleteApplicationCredential(
        self, request: pb.DeleteApplicationCredentialRequest, caller: Caller
    ) -> pb.ApplicationCredential:
        found = self._find(request, caller, "identity:delete_application_credential")
        check_unrestricted(self._store, caller)
        async with self._store.transaction() as txn:
            txn.remove(APPLICATION_CREDENTIALS, found)
        return self._shown(found)

    # -- access rules

    async def GetAccessRule(self, request: pb.GetAccessRuleRequest, caller: Caller) -> pb.AccessRule:
        self._enforce(caller, "identity:get_access_rule", request.user_id)
        return self._find_rule(request)

    async def ListAccessRules(
        self, request: pb.ListAccessRulesRequest, caller: Caller
    ) -> pb.ListAccessRulesResponse:
        self._enforce(caller, "identity:list_access_rules", request.user_id)
        found = self._store.table(ACCESS_RULES).by("user", request.user_id)
        page, marker = query.select(found, request.query, ACCESS_RULES.message)
        return pb.ListAccessRulesResponse(access_rules=page, next_marker=marker)

    async def DeleteAccessRule(self, request: pb.DeleteAccessRuleRequest, caller: Caller) -> pb.AccessRule:
        self._enforce(caller, "identity:delete_access_rule", request.user_id)
        check_unrestricted(self._store, caller)
        found = self._find_rule(request)
        if self._store.table(APPLICATION_CREDENTIALS).count("rule", found.meta.id):
            raise PermissionDenied(
                f"Access rule {found.meta.id} is used by application credentials.",
                reason="ACCESS_RULE_IN_USE",
            )
        async with self._store.transaction() as txn:
            txn.remove(ACCESS_RULES, found)
        return found

    def _rule(self, new: pb.ApplicationCredential, asked: pb.AccessRule, txn: Transaction) -> str:
        """The id of the user's rule that is asked for; it is made when it is not there."""
        known = self._store.table(ACCESS_RULES).by("user", new.user_id)
        if asked.meta.id:
            found = next((rule for rule in known if rule.meta.id == asked.meta.id), None)
            if found is None:
                raise InvalidArgument(f"Could not find access rule {asked.meta.id}.", field="access_rules")
            txn.expect(ACCESS_RULES, found)
            return found.meta.id
        for rule in known:
            if (rule.service, rule.method, rule.path) == (asked.service, asked.method, asked.path):
                txn.expect(ACCESS_RULES, rule)
                return rule.meta.id
        made = copy_of(asked)
        made.meta.Clear()
        made.meta.id, made.user_id = new_id(), new.user_id
        txn.create(ACCESS_RULES, made)
        return made.meta.id

    # -- rules

    def _enforce(self, caller: Caller, rule: str, user_id: str) -> None:
        self._policy.enforce(caller, rule, {"user_id": user_id, "target.user.id": user_id})

    def _take_roles(self, new: pb.ApplicationCredential, caller: Caller) -> None:
        """The given roles, or all that the token has; the user must have them on the project."""
        held = self._assignments.roles(new.user_id, f"project:{caller.project_id}")
        asked = list(new.roles)
        del new.roles[:]
        roles = [self._role(reference) for reference in asked]
        if not asked:
            known = (self._store.find(ROLES, id_) for id_ in held)
            roles = [role for role in known if role is not None and role.meta.name in caller.roles]
        for role in roles:
            if role.meta.id not in held:
                raise InvalidArgument(
                    f"Could not find role assignment with role: {role.meta.id}, user: {new.user_id}, "
                    f"project: {caller.project_id}.",
                    field="roles",
                )
            new.roles.add(id=role.meta.id, name=role.meta.name, domain_id=role.spec.domain_id)

    def _role(self, reference: pb.RoleReference) -> role_pb2.Role:
        id_ = reference.id or self._store.owner(
            ROLES, "name", f"{reference.domain_id or '-'}/{reference.name}"
        )
        role = self._store.find(ROLES, id_ or "")
        if role is None:
            raise NotFound(f"Could not find role: {reference.id or reference.name}.", reason="ROLE_NOT_FOUND")
        return role

    def _user(self, user_id: str) -> Any:
        user = self._store.find(USERS, user_id)
        if user is None:
            raise NotFound(f"Could not find user: {user_id}.", reason="USER_NOT_FOUND")
        return user

    def _find(self, request: Any, caller: Caller, rule: str) -> pb.ApplicationCredential:
        """It is its own user's, whatever user the caller names with it."""
        found = self._store.find(APPLICATION_CREDENTIALS, request.id)
        self._enforce(caller, rule, request.user_id if found is None else found.user_id)
        if found is None or found.user_id != request.user_id:
            raise NotFound(
                f"Could not find Application Credential: {request.id}.",
                reason="APPLICATION_CREDENTIAL_NOT_FOUND",
            )
        return found

    def _find_rule(self, request: Any) -> pb.AccessRule:
        found = self._store.find(ACCESS_RULES, request.id)
        if found is None or found.user_id != request.user_id:
            raise NotFound(f"Could not find Access Rule: {request.id}.", reason="ACCESS_RULE_NOT_FOUND")
        return found

    def _shown(self, message: pb.ApplicationCredential) -> pb.ApplicationCredential:
        shown = copy_of(message)
        shown.ClearField("hash")
        shown.ClearField("secret")
        del shown.access_rules[:]
        for id_ in message.access_rule_ids:
            rule = self._store.find(ACCESS_RULES, id_)
            if rule is not None:
                shown.access_rules.append(rule)
        return shown


def check_unrestricted(store: Store, caller: Caller) -> None:
    """Raise PermissionDenied to who acts by an application credential that may not make further secrets."""
    if not caller.app_cred_id:
        return
    own = store.find(APPLICATION_CREDENTIALS, caller.app_cred_id)
    if own is None or not own.unrestricted:
        raise PermissionDenied(
            "Using method 'application_credential' is not allowed for managing additional application "
            "credentials."
        )
