"""Credentials of users: EC2 keys, TOTP seeds, certificates."""

import hashlib
import secrets
from typing import Any, ClassVar

import orjson

from fabric.identity.application_credential import check_unrestricted
from fabric.identity.collection import CREDENTIALS, PROJECTS, USERS
from fabric.identity.resource import IdentityResource, merge_struct, new_id
from fabric.identity.v1 import credential_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Query

EC2 = "ec2"


def ec2_id(access: str) -> str:
    """The id of the credential of an access key."""
    return hashlib.sha256(access.encode()).hexdigest()


def ec2_blob(credential: pb.Credential) -> dict[str, Any]:
    """The blob's object, empty when it is none."""
    try:
        blob = orjson.loads(credential.blob)
    except orjson.JSONDecodeError:
        return {}
    return blob if isinstance(blob, dict) else {}


def _access(credential: pb.Credential) -> str:
    """The access key in the blob. Raises InvalidArgument."""
    access = ec2_blob(credential).get("access")
    if not isinstance(access, str) or not access:
        raise InvalidArgument("'blob' of an EC2 credential must be JSON with 'access'.", field="blob")
    return access


class Credentials(IdentityResource[pb.Credential]):
    """Users see their own."""

    collection = CREDENTIALS
    domain_field = False
    policies: ClassVar = {
        "create": "identity:create_credential",
        "get": "identity:get_credential",
        "list": "identity:list_credentials",
        "update": "identity:update_credential",
        "delete": "identity:delete_credential",
    }

    async def create(self, message: pb.Credential, caller: Caller) -> pb.Credential:
        new = copy_of(message)
        new.meta.id = new_id()
        if new.type == EC2:
            blob, access = ec2_blob(new), _access(new)
            if not new.meta.project_id:
                raise InvalidArgument("'project_id' is required for an EC2 credential.", field="project_id")
            new.meta.id = ec2_id(access)
            if caller.trust_id or caller.app_cred_id:
                blob |= {"trust_id": caller.trust_id or None, "app_cred_id": caller.app_cred_id or None}
                new.blob = orjson.dumps(blob).decode()
        self._forbid_delegated(caller)
        return await super(IdentityResource, self).create(new, caller)

    def _forbid_delegated(self, caller: Caller) -> None:
        if caller.app_cred_id:
            raise PermissionDenied("Application credentials cannot manage credentials.")

    def own(self, caller: Caller, new: pb.Credential) -> None:
        new.user_id = new.user_id or caller.user_id

    def target(self, message: pb.Credential) -> dict[str, Any]:
        return {
            "target.credential.user_id": message.user_id,
            "target.credential.id": message.meta.id,
            "user_id": message.user_id,
        }

    def enforce_list(self, caller: Caller) -> None:
        """Each sees what the policy lets through."""

    def candidates(self, caller: Caller, asked: Query) -> list[pb.Credential]:
        table = self.store.table(CREDENTIALS)
        found = list(table)
        for part in asked.filters:
            if part.path == "user_id" and len(part.values) == 1:
                found = table.by("user", part.values[0])
        rule = self.policies["list"]
        allowed = {
            user: self.policy.allows(caller, rule, {"target.credential.user_id": user, "user_id": user})
            for user in {credential.user_id for credential in found}
        }
        return [credential for credential in found if allowed[credential.user_id]]

    def accept(self, caller: Caller, new: pb.Credential, old: pb.Credential | None, txn: Transaction) -> None:
        if not new.type:
            raise InvalidArgument("'type' must not be empty.", field="type")
        if old is None:
            user = self.store.find(USERS, new.user_id)
            if user is not None:
                txn.expect(USERS, user)
            return
        merge_struct(new.extra, old.extra)
        self._forbid_delegated(caller)
        if new.user_id != old.user_id and not self.policy.allows(
            caller, self.policies["update"], self.target(new)
        ):
            raise PermissionDenied("The credential cannot be given to that user.")
        if old.type == EC2 or new.type == EC2:
            before, after = ec2_blob(old), ec2_blob(new)
            for name in ("trust_id", "app_cred_id", "access_id"):
                if before.get(name) != after.get(name):
                    raise InvalidArgument(f"'{name}' of an EC2 credential cannot be changed.", field="blob")
            if new.type == EC2:
                _access(new)
                if not new.meta.project_id:
                    raise InvalidArgument(
                        "'project_id' is required for an EC2 credential.", field="project_id"
                    )


class Ec2Credentials:
    """The RPCs for access keys, which are credentials of type ec2."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    async def CreateEc2Credential(
        self, request: pb.CreateEc2CredentialRequest, caller: Caller
    ) -> pb.Credential:
        self._enforce(caller, "identity:ec2_create_credential", request.user_id)
        check_unrestricted(self._store, caller)
        user = self._user(request.user_id)
        project = self._store.find(PROJECTS, request.project_id)
        if project is None:
            raise NotFound(f"Could not find project: {request.project_id}.", reason="PROJECT_NOT_FOUND")
        access, blob = secrets.token_hex(16), {"secret": secrets.token_hex(16)}
        made = pb.Credential(user_id=request.user_id, type=EC2)
        made.meta.id, made.meta.project_id = ec2_id(access), request.project_id
        made.blob = orjson.dumps(
            {
                "access": access,
                **blob,
                "trust_id": caller.trust_id or None,
                **({"app_cred_id": caller.app_cred_id} if caller.app_cred_id else {}),
            }
        ).decode()
        try:
            async with self._store.transaction() as txn:
                txn.expect(USERS, user)
                txn.expect(PROJECTS, project)
                txn.create(CREDENTIALS, made)
        except AlreadyExists:
            raise AssertionError("a random key was made twice") from None
        return made

    async def GetEc2Credential(self, request: pb.GetEc2CredentialRequest, caller: Caller) -> pb.Credential:
        return self._find(request, caller, "identity:ec2_get_credential")

    async def ListEc2Credentials(
        self, request: pb.ListEc2CredentialsRequest, caller: Caller
    ) -> pb.ListEc2CredentialsResponse:
        self._enforce(caller, "identity:ec2_list_credentials", request.user_id)
        self._user(request.user_id)
        found = self._store.table(CREDENTIALS).by("user", request.user_id)
        return pb.ListEc2CredentialsResponse(credentials=[c for c in found if c.type == EC2])

    async def DeleteEc2Credential(
        self, request: pb.DeleteEc2CredentialRequest, caller: Caller
    ) -> pb.Credential:
        found = self._find(request, caller, "identity:ec2_delete_credential")
        async with self._store.transaction() as txn:
            txn.remove(CREDENTIALS, found)
        return found

    def _enforce(self, caller: Caller, rule: str, user_id: str) -> None:
        self._policy.enforce(caller, rule, {"user_id": user_id, "target.credential.user_id": user_id})

    def _user(self, user_id: str) -> Any:
        user = self._store.find(USERS, user_id)
        if user is None:
            raise NotFound(f"Could not find user: {user_id}.", reason="USER_NOT_FOUND")
        return user

    def _find(self, request: Any, caller: Caller, rule: str) -> pb.Credential:
        """It is its own user's, whatever user the caller names with it; everybody is told that there is none."""
        found = self._store.find(CREDENTIALS, ec2_id(request.access))
        if found is not None:
            self._enforce(caller, rule, found.user_id)
            self._user(request.user_id)
        if found is None or found.type != EC2:
            raise NotFound(
                f"Could not find credential: {request.access[:64]}.", reason="CREDENTIAL_NOT_FOUND"
            )
        return found
