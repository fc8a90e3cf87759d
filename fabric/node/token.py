"""What lets a machine join: a secret that the cloud keeps only the digest of, and whom to tell it. No I/O."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from fabric.node.v1 import node_pb2 as pb
from fabric.runtime.errors import InvalidArgument, PermissionDenied

_SHAPE = re.compile(r"fabric1\.([0-9a-f]{12})\.([\w-]{43})\.([0-9a-f]{64})")


@dataclass(frozen=True)
class Token:
    """What its bearer holds: fabric1.<id>.<secret>.<fingerprint of the authority's certificate>."""

    id: str
    secret: str
    fingerprint: str  # SHA-256 of the DER form, hexadecimal

    @classmethod
    def new(cls, fingerprint: str) -> Self:
        return cls(secrets.token_hex(6), secrets.token_urlsafe(32), fingerprint)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises InvalidArgument."""
        match = _SHAPE.fullmatch(text.strip())
        if match is None:
            raise InvalidArgument("This is no join token: `fabricctl node token` prints one.", field="token")
        return cls(*match.groups())

    def __str__(self) -> str:
        return f"fabric1.{self.id}.{self.secret}.{self.fingerprint}"

    @property
    def digest(self) -> str:
        """What the cloud keeps of it."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


def issued(token: Token, *, ttl: timedelta, uses: int, controller: bool) -> pb.JoinToken:
    """The record of a new token."""
    record = pb.JoinToken(digest=token.digest, uses_left=uses, controller=controller)
    record.meta.id = token.id
    record.expire_time.FromDatetime(datetime.now(UTC) + ttl)
    return record


def check(token: Token, record: pb.JoinToken | None, *, controller: bool, now: datetime) -> None:
    """Whether it lets a machine join, as a controller too. Raises PermissionDenied."""
    if record is None or not hmac.compare_digest(record.digest, token.digest):
        raise PermissionDenied("The join token is not known; it may have been used already.")
    if now > record.expire_time.ToDatetime(UTC):
        raise PermissionDenied("The join token has expired.")
    if controller and not record.controller:
        raise PermissionDenied("The join token is not for controllers: `fabricctl node token --controller`.")
