"""What a token carries, sealed with Fernet: everything that names it, nothing that can change."""

import base64
import dataclasses
import secrets
from typing import Any

import msgpack  # type: ignore[import-untyped]

METHODS = (
    "password",
    "token",
    "application_credential",
    "totp",
    "external",
    "oauth1",
    "mapped",
    "saml2",
    "openid",
)
UNSCOPED, PROJECT, DOMAIN, SYSTEM, TRUST = range(5)
_SERVICE = 1  # flags: made for calls between services


@dataclasses.dataclass(frozen=True)
class Payload:
    """Times: microseconds since 1970. audit_ids: its own, then that of the first token it came from."""

    user_id: str
    methods: tuple[str, ...]
    issued_us: int
    expires_us: int
    audit_ids: tuple[str, ...]
    scope: int = UNSCOPED
    scope_id: str = ""  # of the project or domain
    trust_id: str = ""
    app_cred_id: str = ""
    service: bool = False

    def target(self) -> str:
        """The scope as assignments name it; "" for an unscoped token."""
        match self.scope:
            case 1:
                return f"project:{self.scope_id}"
            case 2:
                return f"domain:{self.scope_id}"
            case 3:
                return "system"
        return ""

    def pack(self) -> bytes:
        """The bytes to seal; at most 127 of them for ids that are UUIDs, so that a token has less than 255."""
        methods = sum(1 << METHODS.index(method) for method in self.methods)
        fields: list[Any] = [
            _SERVICE if self.service else 0,
            self.scope,
            methods,
            _short(self.user_id),
            _short(self.scope_id),
            self.issued_us,
            self.expires_us // 1_000_000,
            b"".join(base64.urlsafe_b64decode(audit + "==") for audit in self.audit_ids),
        ]
        if self.trust_id or self.app_cred_id:
            fields += [1 if self.trust_id else 2, _short(self.trust_id or self.app_cred_id)]
        return bytes(msgpack.packb(fields))


def unpack(raw: bytes) -> Payload:
    """Raises ValueError for what pack did not make."""
    try:
        flags, scope, methods, user, scope_id, issued_us, expires_s, audits, *more = msgpack.unpackb(raw)
    except (TypeError, msgpack.UnpackException) as error:
        raise ValueError("not a token's payload") from error
    extra = _long(more[1]) if more else ""
    return Payload(
        user_id=_long(user),
        methods=tuple(name for bit, name in enumerate(METHODS) if methods >> bit & 1),
        issued_us=issued_us,
        expires_us=expires_s * 1_000_000,
        audit_ids=tuple(_audit(audits[at : at + 16]) for at in range(0, len(audits), 16)),
        scope=scope,
        scope_id=_long(scope_id),
        trust_id=extra if more and more[0] == 1 else "",
        app_cred_id=extra if more and more[0] == 2 else "",
        service=bool(flags & _SERVICE),
    )


def new_audit_id() -> str:
    """A random id of 22 characters."""
    return _audit(secrets.token_bytes(16))


def _audit(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _short(id_: str) -> bytes | str:
    if len(id_) == 32:
        try:
            raw = bytes.fromhex(id_)
        except ValueError:
            return id_
        if raw.hex() == id_:
            return raw
    return id_


def _long(id_: bytes | str) -> str:
    return id_.hex() if isinstance(id_, bytes) else id_
