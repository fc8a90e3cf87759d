"""Tokens: sealing them, and knowing in microseconds whether one is good and what it allows."""

import time

import structlog
from cryptography.fernet import Fernet, InvalidToken

from fabric.identity import payload as tokens
from fabric.identity.assignment import Assignments
from fabric.identity.collection import (
    ACCESS_RULES,
    APPLICATION_CREDENTIALS,
    PROJECTS,
    REVOCATIONS,
    ROLES,
    TOKEN_KEYS,
    TRUSTS,
    USERS,
)
from fabric.identity.payload import Payload
from fabric.identity.v1 import project_pb2, token_pb2, trust_pb2, user_pb2
from fabric.runtime.access import Rule
from fabric.runtime.caller import Caller
from fabric.runtime.config import Config
from fabric.runtime.errors import Unauthenticated, Unavailable
from fabric.runtime.store import Store

log = structlog.get_logger(__name__)

SERVICE_USER = "fabric-service"
_SERVICE_LIFETIME_S = 3600
_SERVICE_ROLES = frozenset({"admin", "service", "manager", "member", "reader"})
_REMEMBERED = 20_000
_KEY_REST_S = 30.0  # a new key seals only when every controller has had the time to learn of it
_REFUSED = "The request you have made requires authentication."


class Keys:
    """The token keys from the watch cache: the newest seals, all open."""

    def __init__(self, store: Store) -> None:
        self._table = store.table(TOKEN_KEYS)
        self._fernets: list[tuple[float, Fernet]] = []
        self._table.subscribe(self._changed)

    def seal(self, raw: bytes) -> str:
        """Raises Unavailable while there is no key."""
        for created, fernet in self._fernets:
            if created + _KEY_REST_S <= time.time():
                return fernet.encrypt(raw).decode().rstrip("=")
        if not self._fernets:
            raise Unavailable("There is no token key yet.")
        return self._fernets[-1][1].encrypt(raw).decode().rstrip("=")

    def open(self, token: str) -> bytes:
        """Raises InvalidToken."""
        padded = token + "=" * (-len(token) % 4)
        for _, fernet in self._fernets:
            try:
                return fernet.decrypt(padded)
            except InvalidToken:
                continue
        raise InvalidToken

    def _changed(self, _: str) -> None:
        found: list[token_pb2.TokenKey] = list(self._table)
        found.sort(key=lambda key: -key.meta.create_time.seconds)
        self._fernets = []
        for key in found:
            try:
                self._fernets.append((key.meta.create_time.seconds, Fernet(key.key.encode())))
            except ValueError:
                log.error("a token key cannot be read", key=key.meta.id)


def new_key() -> str:
    """A key for a TokenKey record."""
    return Fernet.generate_key().decode()


class Known:
    """A token that was opened, and what was found out about it at some version of the records."""

    __slots__ = ("caller", "documents", "error", "payload", "role_ids", "token", "version")

    def __init__(self, token: str, payload: Payload) -> None:
        self.token = token
        self.payload = payload
        self.version = -1
        self.caller = Caller()
        self.role_ids: tuple[str, ...] = ()
        self.error = ""
        self.documents: dict[tuple[int, bool], bytes] = {}


class Authenticator:
    """Tokens to callers, from memory. What a token says is opened once; whether it still holds is looked at
    each time that anything has changed since."""

    def __init__(self, store: Store, config: Config) -> None:
        self.store = store
        self.config = config
        self.keys = Keys(store)
        self.assignments = Assignments(store)
        store.table(APPLICATION_CREDENTIALS).subscribe(self.assignments.changed)
        store.table(TRUSTS).subscribe(self.assignments.changed)
        self._revocations = store.table(REVOCATIONS)
        self._known: dict[str, Known] = {}
        self._service_token = ("", 0.0)

    def authenticate(self, token: str) -> Caller:
        """Raises Unauthenticated."""
        return self.know(token).caller

    def know(self, token: str, *, allow_expired_s: float = 0.0) -> Known:
        """The token with its caller. Raises Unauthenticated."""
        known = self._known.get(token)
        if known is None:
            known = self._open(token)
        payload = known.payload
        if payload.expires_us + allow_expired_s * 1e6 <= time.time() * 1e6:
            raise Unauthenticated(_REFUSED)
        for audit_id in payload.audit_ids:
            revocation = self._revocations.get(audit_id)
            if revocation is not None and (revocation.chain or audit_id == payload.audit_ids[0]):
                raise Unauthenticated(_REFUSED)
        if known.version != self.assignments.version:
            self._judge(known)
        if known.error:
            raise Unauthenticated(_REFUSED, cause=known.error)
        return known

    def service_token(self) -> str:
        """For calls in the name of the cloud's own services. Raises Unavailable while there is no key."""
        token, until = self._service_token
        if time.time() < until:
            return token
        now = time.time_ns() // 1000
        token = self.seal(
            Payload(
                user_id=SERVICE_USER,
                methods=("password",),
                issued_us=now,
                expires_us=now + _SERVICE_LIFETIME_S * 1_000_000,
                audit_ids=(tokens.new_audit_id(),),
                scope=tokens.SYSTEM,
                service=True,
            )
        )
        self._service_token = (token, time.time() + _SERVICE_LIFETIME_S / 2)
        return token

    def seal(self, payload: Payload) -> str:
        """The token of the payload."""
        return self.keys.seal(payload.pack())

    def _open(self, token: str) -> Known:
        if not token or len(token) > 1024:
            raise Unauthenticated(_REFUSED)
        try:
            payload = tokens.unpack(self.keys.open(token))
        except (InvalidToken, ValueError, UnicodeError) as error:
            raise Unauthenticated(_REFUSED) from error
        while len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        known = self._known[token] = Known(token, payload)
        return known

    def _judge(self, known: Known) -> None:
        known.version = self.assignments.version
        known.documents.clear()
        try:
            known.caller, known.role_ids = self.judge(known.payload, known.token)
            known.error = ""
        except Unauthenticated as error:
            known.error = error.message

    # -- what a payload is worth now

    def judge(self, payload: Payload, token: str = "") -> tuple[Caller, tuple[str, ...]]:
        """The caller and the ids of its roles. Raises Unauthenticated with what is wrong."""
        if payload.service:
            return _service_caller(payload, token), ()
        user = self.live_user(payload.user_id)
        if micros(user.tokens_after) > payload.issued_us:
            raise Unauthenticated("The user's tokens of that time are void.")
        project_id = project_name = project_domain = domain_id = ""
        if payload.scope in (tokens.PROJECT, tokens.DOMAIN):
            scope = self.live_project(payload.scope_id)
            for place in (scope, self.store.find(PROJECTS, scope.spec.domain_id)):
                if place is not None and micros(place.tokens_after) > payload.issued_us:
                    raise Unauthenticated("The scope's tokens of that time are void.")
            if payload.scope == tokens.PROJECT:
                project_id, project_name = scope.meta.id, scope.meta.name
                project_domain = scope.spec.domain_id
            else:
                domain_id = scope.meta.id
        role_ids = self.scope_roles(payload)
        names = []
        for role_id in role_ids:
            role = self.store.find(ROLES, role_id)
            if role is not None:
                names.append(role.meta.name)
        caller = Caller(
            user_id=user.meta.id,
            user_name=user.meta.name,
            user_domain_id=user.spec.domain_id,
            project_id=project_id,
            project_name=project_name,
            project_domain_id=project_domain,
            domain_id=domain_id,
            system=payload.scope == tokens.SYSTEM,
            roles=frozenset(names),
            token=token,
            audit_ids=payload.audit_ids,
            trust_id=payload.trust_id,
            app_cred_id=payload.app_cred_id,
            access=self._access(payload.app_cred_id) if payload.app_cred_id else None,
        )
        return caller, role_ids

    def scope_roles(self, payload: Payload) -> tuple[str, ...]:
        """The roles of the payload's user on its scope. Raises Unauthenticated when there is none."""
        target = payload.target()
        if payload.app_cred_id:
            return self._app_cred_roles(payload, target)
        if payload.trust_id:
            return self._trust_roles(payload, target)
        if not target:
            return ()
        role_ids = self.assignments.roles(payload.user_id, target)
        if not role_ids:
            raise Unauthenticated("The user has no role on the scope.")
        return role_ids

    def _app_cred_roles(self, payload: Payload, target: str) -> tuple[str, ...]:
        found = self.store.find(APPLICATION_CREDENTIALS, payload.app_cred_id)
        if found is None or found.user_id != payload.user_id:
            raise Unauthenticated("The application credential is gone.")
        if found.HasField("expire_time") and micros(found.expire_time) <= time.time() * 1e6:
            raise Unauthenticated("The application credential has expired.")
        return self._still(payload.user_id, target, [role.id for role in found.roles])

    def _access(self, app_cred_id: str) -> tuple[Rule, ...] | None:
        found = self.store.get(APPLICATION_CREDENTIALS, app_cred_id)
        if not found.restricts and not found.access_rule_ids:
            return None
        rules = (self.store.find(ACCESS_RULES, id_) for id_ in found.access_rule_ids)
        return tuple(Rule(rule.service, rule.method, rule.path) for rule in rules if rule is not None)

    def _trust_roles(self, payload: Payload, target: str) -> tuple[str, ...]:
        trust = self.live_trust(payload.trust_id)
        if payload.user_id not in (trust.trustor_user_id, trust.trustee_user_id):
            raise Unauthenticated("The trust is somebody else's.")
        self.live_user(trust.trustor_user_id)
        self.live_user(trust.trustee_user_id)
        if not target:
            return ()
        return self._still(trust.trustor_user_id, target, [role.id for role in trust.roles])

    def _still(self, user_id: str, target: str, wanted: list[str]) -> tuple[str, ...]:
        """The wanted roles with what they imply, if the user still has all of the wanted."""
        held = self.assignments.roles(user_id, target)
        if not set(wanted) <= set(held) or not wanted:
            raise Unauthenticated("The user has no longer the roles that were passed on.")
        return tuple(role for role in self.assignments.implied(wanted) if role in held)

    def live_user(self, user_id: str) -> user_pb2.User:
        """The user, enabled and in an enabled domain. Raises Unauthenticated."""
        user = self.store.find(USERS, user_id)
        if user is None or not user.spec.enabled:
            raise Unauthenticated("The user is disabled or gone.")
        domain = self.store.find(PROJECTS, user.spec.domain_id)
        if domain is None or not domain.spec.enabled:
            raise Unauthenticated("The user's domain is disabled or gone.")
        return user

    def live_project(self, project_id: str) -> project_pb2.Project:
        """The project or domain, enabled and in an enabled domain. Raises Unauthenticated."""
        project = self.store.find(PROJECTS, project_id)
        if project is None or not project.spec.enabled:
            raise Unauthenticated("The scope is disabled or gone.")
        if project.spec.domain_id:
            domain = self.store.find(PROJECTS, project.spec.domain_id)
            if domain is None or not domain.spec.enabled:
                raise Unauthenticated("The scope's domain is disabled or gone.")
        return project

    def live_trust(self, trust_id: str) -> trust_pb2.Trust:
        """The trust, not expired. Raises Unauthenticated."""
        trust = self.store.find(TRUSTS, trust_id)
        if trust is None or trust.meta.HasField("delete_time"):
            raise Unauthenticated("The trust is gone.")
        if trust.HasField("expire_time") and micros(trust.expire_time) <= time.time() * 1e6:
            raise Unauthenticated("The trust has expired.")
        return trust


def _service_caller(payload: Payload, token: str) -> Caller:
    return Caller(
        user_id=SERVICE_USER,
        user_name=SERVICE_USER,
        user_domain_id="default",
        system=True,
        roles=_SERVICE_ROLES,
        token=token,
        audit_ids=payload.audit_ids,
    )


def micros(stamp: object) -> int:
    """A protobuf Timestamp in microseconds since 1970; 0 when unset."""
    return int(stamp.seconds * 1_000_000 + stamp.nanos // 1000)  # type: ignore[attr-defined]
