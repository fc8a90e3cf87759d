"""Tickets: what a controller lets their bearer do at an agent; signed, agents hold only the public key."""

import base64
import time
from collections.abc import Mapping
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fabric.runtime.codec import master_keys
from fabric.runtime.errors import PermissionDenied, Unavailable

PUBLIC_KEY = "/fabric/keys/tickets"  # the etcd key that holds the public key (JSON string, base64)


class Signer:
    """Makes tickets; every controller with the same master key makes the same kind."""

    def __init__(self, master_key: bytes) -> None:
        seed = HKDF(SHA256(), 32, salt=None, info=b"fabric tickets").derive(
            base64.urlsafe_b64decode(master_key)
        )
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    @classmethod
    def of(cls, master_key_file: str | Path) -> "Signer":
        """The signer of the first key in the master key file."""
        return cls(master_keys(master_key_file)[0])

    @property
    def public_key(self) -> bytes:
        """The value of PUBLIC_KEY."""
        return orjson.dumps(base64.b64encode(self._key.public_key().public_bytes_raw()).decode())

    def sign(self, claims: Mapping[str, str], lifetime_s: float | None = None) -> str:
        """A ticket for what the claims say ({"image": id, "may": "read"}); without a lifetime it lasts."""
        body = dict(claims)
        if lifetime_s is not None:
            body["until"] = str(int(time.time() + lifetime_s))
        payload = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        return ".".join(
            base64.urlsafe_b64encode(part).decode() for part in (payload, self._key.sign(payload))
        )


class Verifier:
    """Looks at tickets, and takes none before it has learned the key."""

    def __init__(self, public_key: bytes | None = None) -> None:
        self._key: Ed25519PublicKey | None = None
        if public_key is not None:
            self.learn(public_key)

    def learn(self, public_key: bytes) -> None:
        """The value of PUBLIC_KEY."""
        self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(orjson.loads(public_key)))

    def check(self, ticket: str, **wanted: str) -> Mapping[str, str]:
        """The ticket's claims if it is ours, still valid and says what is wanted.

        Raises PermissionDenied, Unavailable.
        """
        if self._key is None:
            raise Unavailable("The agent has not yet found a controller's key.")
        try:
            payload, signature = (base64.urlsafe_b64decode(part) for part in ticket.split("."))
            self._key.verify(signature, payload)
            claims: dict[str, str] = orjson.loads(payload)
        except (ValueError, InvalidSignature) as error:
            raise PermissionDenied("The ticket is not valid.") from error
        if int(claims.get("until", "0") or 0) and time.time() > int(claims["until"]):
            raise PermissionDenied("The ticket has expired.")
        if any(claims.get(name) != value for name, value in wanted.items()):
            raise PermissionDenied("The ticket is for something else.")
        return claims
