"""The RPCs of TokenService: issue, validate, revoke, catalog."""

from datetime import UTC, datetime
from typing import Any

import orjson

from fabric.identity.assignment import Assignments
from fabric.identity.catalog import Catalog
from fabric.identity.collection import PROJECTS, REVOCATIONS
from fabric.identity.document import Documents
from fabric.identity.login import Login
from fabric.identity.token import Authenticator, Known
from fabric.identity.v1 import token_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FabricError, NotFound, PermissionDenied, Unauthenticated
from fabric.runtime.policy import Policy

_EXPIRED_WINDOW_S = 172800.0  # how long after its end a token is shown to services that ask so


class Tokens:
    """Everything about tokens."""

    def __init__(
        self,
        authenticator: Authenticator,
        policy: Policy,
        documents: Documents,
        catalog: Catalog,
        login: Login,
    ) -> None:
        self._authenticator = authenticator
        self._store = authenticator.store
        self._policy = policy
        self._documents = documents
        self._catalog = catalog
        self._login = login

    @property
    def _assignments(self) -> Assignments:
        return self._authenticator.assignments

    async def IssueToken(self, request: token_pb2.IssueTokenRequest, caller: Caller) -> token_pb2.Token:
        return self.shown(await self._login.issue(request), not request.without_catalog)

    def shown(self, known: Known, with_catalog: bool) -> token_pb2.Token:
        """The message of a token."""
        token = token_pb2.Token(
            id=known.token,
            document=self._documents.of(known, with_catalog),
            user_id=known.payload.user_id,
            project_id=known.caller.project_id,
        )
        token.expire_time.FromMicroseconds(known.payload.expires_us)
        return token

    async def ValidateTokens(
        self, request: token_pb2.ValidateTokensRequest, caller: Caller
    ) -> token_pb2.ValidateTokensResponse:
        return token_pb2.ValidateTokensResponse(results=[self._validate(item) for item in request.items])

    def _validate(
        self, item: token_pb2.ValidateTokensRequest.Item
    ) -> token_pb2.ValidateTokensResponse.Result:
        result = token_pb2.ValidateTokensResponse.Result
        try:
            asker = self._authenticator.know(item.token).caller
            known = self.subject(item.subject, _EXPIRED_WINDOW_S if item.allow_expired else 0.0)
            self._policy.enforce(asker, "identity:validate_token", _target(known))
            if known.caller.access is not None and not _knows_rules(item.access_rules):
                raise NotFound("Could not find token.", reason="TOKEN_NOT_FOUND")
            return result(document=self._documents.of(known, not item.without_catalog), user_id=asker.user_id)
        except FabricError as error:
            code: Any = error.code
            return result(code=code.value[0], reason=error.reason, message=error.message)

    def subject(self, token: str, allow_expired_s: float = 0.0) -> Known:
        """The token that is asked about. Raises NotFound."""
        try:
            return self._authenticator.know(token, allow_expired_s=allow_expired_s)
        except Unauthenticated as error:
            raise NotFound("Could not find token.", reason="TOKEN_NOT_FOUND") from error

    async def RevokeToken(
        self, request: token_pb2.RevokeTokenRequest, caller: Caller
    ) -> token_pb2.RevokeTokenResponse:
        known = self.subject(request.subject)
        self._policy.enforce(caller, "identity:revoke_token", _target(known))
        if known.payload.service:
            raise PermissionDenied("Tokens of services cannot be revoked.")
        revocation = token_pb2.Revocation()
        revocation.meta.id = known.payload.audit_ids[0]
        revocation.expire_time.FromMicroseconds(known.payload.expires_us)
        revocation.issued_before.FromDatetime(datetime.now(UTC))
        try:
            async with self._store.transaction() as txn:
                txn.create(REVOCATIONS, revocation)
        except AlreadyExists:
            pass  # twice is once
        return token_pb2.RevokeTokenResponse()

    async def GetCatalog(self, request: Any, caller: Caller) -> token_pb2.GetCatalogResponse:
        self._policy.enforce(caller, "identity:get_auth_catalog", {})
        if not (caller.project_id or caller.domain_id or caller.system):
            raise PermissionDenied("The token has no scope, so there is no catalog.")
        listing = self._catalog.listing(caller.project_id, caller.user_id)
        return token_pb2.GetCatalogResponse(document=orjson.dumps(listing))

    async def ListScopes(self, request: Any, caller: Caller) -> token_pb2.ListScopesResponse:
        reply = token_pb2.ListScopesResponse()
        for target in sorted(self._assignments.targets(caller.user_id)):
            if not self._assignments.roles(caller.user_id, target):
                continue
            kind, _, id_ = target.partition(":")
            if kind == "system":
                reply.system = True
                continue
            place = self._store.find(PROJECTS, id_)
            if place is None or not place.spec.enabled:
                continue
            domain = self._store.find(PROJECTS, place.spec.domain_id) if place.spec.domain_id else place
            if domain is not None and domain.spec.enabled:
                (reply.projects if kind == "project" else reply.domains).append(place)
        return reply

    async def IssueSignedToken(
        self, request: token_pb2.IssueSignedTokenRequest, caller: Caller
    ) -> token_pb2.Token:
        """Only for services and administrators: who has seen a signed URL must not get a token for it."""
        self._policy.enforce(caller, "identity:ec2tokens_validate", {})
        return self.shown(await self._login.issue_signed(request), not request.s3)

    async def ListRevocations(
        self, request: token_pb2.ListRevocationsRequest, caller: Caller
    ) -> token_pb2.ListRevocationsResponse:
        self._policy.enforce(caller, "identity:list_revoke_events", {})
        return token_pb2.ListRevocationsResponse(revocations=list(self._store.table(REVOCATIONS)))


def _target(known: Known) -> dict[str, str]:
    return {"target.token.user_id": known.payload.user_id, "user_id": known.payload.user_id}


def _knows_rules(version: str) -> bool:
    """Whether who asks says that it will keep access rules."""
    try:
        return float(version) >= 1
    except ValueError:
        return False
