"""Issuing tokens: what proves who somebody is, and where the token may act."""

import dataclasses
import time
from datetime import UTC, datetime, timedelta

import orjson
import structlog

from fabric.identity import payload as tokens
from fabric.identity import totp
from fabric.identity.collection import (
    APPLICATION_CREDENTIALS,
    CREDENTIALS,
    LOGINS,
    PROJECTS,
    TRUSTS,
    USERS,
)
from fabric.identity.credential import EC2, ec2_blob, ec2_id
from fabric.identity.document import now_micros
from fabric.identity.password import Passwords
from fabric.identity.payload import Payload
from fabric.identity.signature import signed
from fabric.identity.token import Authenticator, Known, micros
from fabric.identity.user import Users, option
from fabric.identity.v1 import token_pb2, user_pb2
from fabric.runtime.errors import InvalidArgument, NotFound, PermissionDenied, StaleRevision, Unauthenticated

log = structlog.get_logger(__name__)

_REFUSED = "The request you have made requires authentication."


@dataclasses.dataclass
class Proof:
    """What the methods of one request have shown."""

    user_id: str = ""
    methods: list[str] = dataclasses.field(default_factory=list)
    base: Known | None = None  # the token that a new one comes from
    app_cred_id: str = ""

    def take(self, user_id: str) -> None:
        """All methods must be about one user."""
        if self.user_id and self.user_id != user_id:
            raise refused("The methods are about different users.")
        self.user_id = user_id


def refused(cause: str) -> Unauthenticated:
    """The same words for every cause; the cause is for the log."""
    log.info("login refused", cause=cause)
    return Unauthenticated(_REFUSED)


class Login:
    """Makes tokens."""

    def __init__(self, authenticator: Authenticator, users: Users, passwords: Passwords) -> None:
        self._authenticator = authenticator
        self._store = authenticator.store
        self._config = authenticator.config.identity
        self._users = users
        self._passwords = passwords

    async def issue(self, request: token_pb2.IssueTokenRequest) -> Known:
        """A new token. Raises Unauthenticated, InvalidArgument, PermissionDenied."""
        proof = await self._prove(request)
        user = self._check_user(proof)
        self._check_factors(user, proof)
        scope = self._scope(request, proof, user)
        return await self.make(proof, scope)

    async def issue_signed(self, request: token_pb2.IssueSignedTokenRequest) -> Known:
        """A token for who signed with an EC2 key. Raises Unauthenticated."""
        found = self._store.find(CREDENTIALS, ec2_id(request.access))
        blob = ec2_blob(found) if found is not None and found.type == EC2 else {}
        try:
            asked = orjson.loads(request.credentials)
        except orjson.JSONDecodeError:
            asked = None
        secret = blob.get("secret")
        if found is None or not isinstance(asked, dict) or not isinstance(secret, str):
            raise refused("There is no such access key.")
        if not signed(secret, asked, s3=request.s3):
            raise refused("The signature is wrong.")
        proof = Proof()
        proof.take(found.user_id)
        proof.methods.append("password")
        user = self._check_user(proof)
        scope = Payload(user.meta.id, (), 0, 0, (), scope=tokens.PROJECT, scope_id=found.meta.project_id)
        if blob.get("trust_id"):
            scope = self._trust_scope(Payload(user.meta.id, (), 0, 0, ()), str(blob["trust_id"]))
        if blob.get("app_cred_id"):
            scope = dataclasses.replace(scope, app_cred_id=str(blob["app_cred_id"]))
        return await self.make(proof, scope)

    async def make(self, proof: Proof, scope: Payload) -> Known:
        """The token of a proof; scope says where."""
        now = now_micros()
        expires = now + self._config.token_lifetime_s * 1_000_000
        audit_ids: tuple[str, ...] = (tokens.new_audit_id(),)
        methods = list(dict.fromkeys(proof.methods))
        if proof.base is not None:
            expires = min(expires, proof.base.payload.expires_us)
            audit_ids += proof.base.payload.audit_ids[-1:]
            methods = list(dict.fromkeys([*methods, *proof.base.payload.methods]))
        if scope.trust_id:
            trust = self._store.get(TRUSTS, scope.trust_id)
            if trust.HasField("expire_time"):
                expires = min(expires, micros(trust.expire_time))
        if scope.app_cred_id:
            app_cred = self._store.get(APPLICATION_CREDENTIALS, scope.app_cred_id)
            if app_cred.HasField("expire_time"):
                expires = min(expires, micros(app_cred.expire_time))
        payload = dataclasses.replace(
            scope,
            methods=tuple(sorted(methods, key=tokens.METHODS.index)),
            issued_us=now,
            expires_us=-(-expires // 1_000_000) * 1_000_000,
            audit_ids=audit_ids,
        )
        self._authenticator.judge(payload)  # no token that would not be valid
        if scope.trust_id:
            await self._use_trust(scope.trust_id)
        return self._authenticator.know(self._authenticator.seal(payload))

    # -- proofs

    async def _prove(self, request: token_pb2.IssueTokenRequest) -> Proof:
        proof = Proof()
        if not request.methods:
            raise InvalidArgument("'methods' must name at least one method.", field="methods")
        for method in request.methods:
            match method:
                case "password":
                    await self._by_password(request, proof)
                case "token":
                    self._by_token(request, proof)
                case "application_credential":
                    await self._by_application_credential(request, proof)
                case "totp":
                    self._by_totp(request, proof)
                case _:
                    raise refused(f"There is no method {method[:40]!r}.")
        return proof

    async def _by_password(self, request: token_pb2.IssueTokenRequest, proof: Proof) -> None:
        user = self.find_user(request.user)
        if user is None:
            raise refused("There is no such user.")
        await self._users.verify(user, request.password)
        proof.take(user.meta.id)
        proof.methods.append("password")

    def _by_token(self, request: token_pb2.IssueTokenRequest, proof: Proof) -> None:
        try:
            known = self._authenticator.know(request.token)
        except Unauthenticated as error:  # as a subject, a token that does not hold is not there
            raise NotFound("This is not a recognized token.", reason="TOKEN_NOT_FOUND") from error
        if known.payload.app_cred_id:
            raise PermissionDenied("Application credential tokens cannot be rescoped.")
        if known.payload.trust_id:
            raise PermissionDenied("Tokens of a trust cannot be rescoped.")
        if known.payload.service:
            raise PermissionDenied("Tokens of services cannot be rescoped.")
        proof.take(known.payload.user_id)
        proof.methods.append("token")
        proof.base = known

    async def _by_application_credential(self, request: token_pb2.IssueTokenRequest, proof: Proof) -> None:
        id_ = request.application_credential_id
        if not id_:
            user = self.find_user(request.application_credential_user)
            name = request.application_credential_name
            id_ = (
                user and self._store.owner(APPLICATION_CREDENTIALS, "name", f"{user.meta.id}/{name}")
            ) or ""
        found = self._store.find(APPLICATION_CREDENTIALS, id_)
        if found is None or not await self._passwords.matches(request.secret, found.hash):
            raise refused("The application credential or its secret is wrong.")
        proof.take(found.user_id)
        proof.methods.append("application_credential")
        proof.app_cred_id = found.meta.id

    def _by_totp(self, request: token_pb2.IssueTokenRequest, proof: Proof) -> None:
        user = self.find_user(request.totp_user)
        if user is None:
            raise refused("There is no such user.")
        seeds = [c.blob for c in self._store.table(CREDENTIALS).by("user", user.meta.id) if c.type == "totp"]
        if not any(totp.matches(seed, request.passcode, time.time()) for seed in seeds):
            raise refused("The passcode is wrong.")
        proof.take(user.meta.id)
        proof.methods.append("totp")

    def find_user(self, reference: token_pb2.UserReference) -> user_pb2.User | None:
        """The user by id, or by name and domain."""
        if reference.id:
            return self._store.find(USERS, reference.id)
        domain_id = self._domain_id(reference.domain_id, reference.domain_name)
        id_ = self._store.owner(USERS, "name", f"{domain_id}/{reference.name}") if domain_id else None
        return self._store.find(USERS, id_) if id_ else None

    def _domain_id(self, id_: str, name: str) -> str | None:
        return id_ or self._store.owner(PROJECTS, "name", f"-/{name}")

    def _check_user(self, proof: Proof) -> user_pb2.User:
        try:
            user = self._authenticator.live_user(proof.user_id)
        except Unauthenticated as error:
            raise refused(error.message) from error
        days = self._config.disable_user_account_days_inactive
        if days and not option(user, "ignore_user_inactivity"):
            record = self._store.find(LOGINS, user.meta.id)
            last = user.meta.create_time if record is None else record.active_time
            seen = last.ToDatetime(UTC) if last.seconds else user.meta.create_time.ToDatetime(UTC)
            if seen + timedelta(days=days) < datetime.now(UTC):
                raise refused("The user was not active for too long.")
        return user

    def _check_factors(self, user: user_pb2.User, proof: Proof) -> None:
        """Multi-factor rules: one of the lists of methods must have been used whole."""
        enabled = user.spec.options.fields.get("multi_factor_auth_enabled")
        rules = user.spec.options.fields.get("multi_factor_auth_rules")
        if rules is None or (enabled is not None and not enabled.bool_value):
            return
        wanted = [
            [value.string_value for value in rule.list_value.values] for rule in rules.list_value.values
        ]
        wanted = [rule for rule in wanted if rule and all(method in tokens.METHODS for method in rule)]
        used = {*proof.methods, *(proof.base.payload.methods if proof.base else ())}
        if wanted and not any(set(rule) <= used for rule in wanted):
            raise refused("More methods are needed.")

    # -- scopes

    def _scope(self, request: token_pb2.IssueTokenRequest, proof: Proof, user: user_pb2.User) -> Payload:
        scope = request.scope
        blank = Payload(user.meta.id, (), 0, 0, ())
        given = request.HasField("scope")
        if proof.app_cred_id:
            if given and not self._same_project(proof.app_cred_id, scope):
                raise refused("An application credential has its own scope.")
            project_id = self._store.get(APPLICATION_CREDENTIALS, proof.app_cred_id).meta.project_id
            return dataclasses.replace(
                blank, scope=tokens.PROJECT, scope_id=project_id, app_cred_id=proof.app_cred_id
            )
        if not given:
            return self._default_scope(blank, user)
        if scope.trust_id:
            return self._trust_scope(blank, scope.trust_id)
        if scope.system:
            return dataclasses.replace(blank, scope=tokens.SYSTEM)
        if scope.project_id or scope.project_name:
            return dataclasses.replace(blank, scope=tokens.PROJECT, scope_id=self._project_id(scope))
        if scope.domain_id or scope.domain_name:
            domain_id = self._domain_id(scope.domain_id, scope.domain_name)
            domain = self._store.find(PROJECTS, domain_id or "")
            if domain is None or not domain.spec.is_domain:
                raise refused("There is no such domain.")
            return dataclasses.replace(blank, scope=tokens.DOMAIN, scope_id=domain.meta.id)
        return blank

    def _project_id(self, scope: token_pb2.Scope) -> str:
        id_: str | None = scope.project_id
        if not id_:
            domain_id = self._domain_id(scope.domain_id, scope.domain_name)
            id_ = self._store.owner(PROJECTS, "name", f"{domain_id}/{scope.project_name}")
        if not id_ or self._store.find(PROJECTS, id_) is None:
            raise refused("There is no such project.")
        return id_

    def _same_project(self, app_cred_id: str, scope: token_pb2.Scope) -> bool:
        if not (scope.project_id or scope.project_name):
            return False
        return (
            self._project_id(scope) == self._store.get(APPLICATION_CREDENTIALS, app_cred_id).meta.project_id
        )

    def _default_scope(self, blank: Payload, user: user_pb2.User) -> Payload:
        project_id = user.spec.default_project_id
        if not project_id:
            return blank
        scoped = dataclasses.replace(blank, scope=tokens.PROJECT, scope_id=project_id, issued_us=now_micros())
        try:
            self._authenticator.judge(scoped)
        except Unauthenticated:
            return blank
        return scoped

    def _trust_scope(self, blank: Payload, trust_id: str) -> Payload:
        trust = self._store.find(TRUSTS, trust_id)
        if trust is None:
            raise refused("There is no such trust.")
        try:
            self._authenticator.live_trust(trust_id)
            self._authenticator.live_user(trust.trustor_user_id)
        except Unauthenticated as error:
            raise refused(error.message) from error
        if trust.trustee_user_id != blank.user_id:
            raise PermissionDenied("User is not a trustee.")
        user_id = trust.trustor_user_id if trust.impersonation else trust.trustee_user_id
        found = dataclasses.replace(blank, user_id=user_id, trust_id=trust_id)
        if not trust.meta.project_id:
            return found
        found = dataclasses.replace(found, scope=tokens.PROJECT, scope_id=trust.meta.project_id)
        try:
            self._authenticator.live_project(trust.meta.project_id)
            self._authenticator.scope_roles(found)
        except Unauthenticated as error:
            raise PermissionDenied("Trustee has no delegated roles.") from error
        return found

    async def _use_trust(self, trust_id: str) -> None:
        """One of the remaining uses, if they are counted. Raises PermissionDenied when there is none."""
        for _ in range(8):
            trust = self._store.get(TRUSTS, trust_id)
            if not trust.HasField("remaining_uses"):
                return
            if trust.remaining_uses < 1:
                raise PermissionDenied("The trust has no uses left.", reason="TRUST_USED_UP")
            left = type(trust)()
            left.CopyFrom(trust)
            left.remaining_uses -= 1
            try:
                async with self._store.transaction() as txn:
                    txn.update(TRUSTS, left)
            except StaleRevision:
                continue
            return
        raise PermissionDenied("The trust is used by too many at once.")
