"""Keypairs: of a user, by name."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fabric.compute.collection import KEYPAIRS
from fabric.compute.v1 import keypair_pb2 as pb
from fabric.runtime import query
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, InvalidArgument, NotFound, StaleRevision
from fabric.runtime.policy import Policy
from fabric.runtime.store import Store

_NAME = re.compile(r"[A-Za-z0-9 _\-.@]{1,255}")


class Keypairs:
    """The methods of KeypairService."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    async def CreateKeypair(
        self, request: pb.CreateKeypairRequest, caller: Caller
    ) -> pb.CreateKeypairResponse:
        made = pb.Keypair(
            user_id=request.keypair.user_id or caller.user_id, type=request.keypair.type or "ssh"
        )
        self._enforce("create", caller, made.user_id)
        name = request.keypair.meta.name
        if not _NAME.fullmatch(name) or name != name.strip():
            raise InvalidArgument(
                "Keypair name must be 1 to 255 letters, digits, spaces or any of _-.@", field="name"
            )
        if made.type not in ("ssh", "x509"):
            raise InvalidArgument(f"{made.type!r} is not a keypair type.", field="type")
        private_key = ""
        made.public_key = request.keypair.public_key.strip()
        if not made.public_key:
            if made.type != "ssh":
                made.public_key, private_key = generate_certificate(made.user_id)
            else:
                made.public_key, private_key = generate()
        made.fingerprint = fingerprint(made.public_key, made.type)
        made.meta.id, made.meta.name = f"{made.user_id}:{name}", name
        made.meta.request_id = caller.request_id
        owner, limit = f"user:{made.user_id}", self._store.quota(caller.project_id, "compute.key_pairs").limit
        try:
            async with self._store.transaction() as txn:
                if self._store.quota(owner, "compute.key_pairs").limit != limit:
                    txn.set_limit(owner, "compute.key_pairs", limit)  # that of the project they came with
                txn.create(KEYPAIRS, made)
        except AlreadyExists as error:
            raise AlreadyExists(f"Key pair '{name}' already exists.", reason="KEY_PAIR_EXISTS") from error
        return pb.CreateKeypairResponse(keypair=made, private_key=private_key)

    async def GetKeypair(self, request: pb.GetKeypairRequest, caller: Caller) -> pb.Keypair:
        user_id = request.user_id or caller.user_id
        self._enforce("show", caller, user_id)
        return self._find(user_id, request.name)

    async def ListKeypairs(self, request: pb.ListKeypairsRequest, caller: Caller) -> pb.ListKeypairsResponse:
        user_id = request.user_id or caller.user_id
        self._enforce("index", caller, user_id)
        asked = request.query
        if asked.marker:
            asked.marker = f"{user_id}:{asked.marker}"
        page, marker = query.select(self._store.table(KEYPAIRS).by("user_id", user_id), asked, pb.Keypair)
        return pb.ListKeypairsResponse(keypairs=page, next_marker=marker.partition(":")[2])

    async def DeleteKeypair(self, request: pb.DeleteKeypairRequest, caller: Caller) -> pb.Keypair:
        user_id = request.user_id or caller.user_id
        self._enforce("delete", caller, user_id)
        found = self._find(user_id, request.name)
        try:
            async with self._store.transaction() as txn:
                txn.delete(KEYPAIRS, found)
        except StaleRevision:
            return self._find(user_id, request.name)
        return found

    def _find(self, user_id: str, name: str) -> pb.Keypair:
        found = self._store.find(KEYPAIRS, f"{user_id}:{name}")
        if found is None:
            raise NotFound(
                f"Keypair {name} not found for user {user_id}", reason="KEYPAIR_NOT_FOUND", id=name
            )
        return found

    def _enforce(self, verb: str, caller: Caller, user_id: str) -> None:
        self._policy.enforce(caller, f"os_compute_api:os-keypairs:{verb}", {"user_id": user_id})


def generate() -> tuple[str, str]:
    """A new key: public in OpenSSH form, private in PEM."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return public.decode() + " Generated-by-fabric", private.decode()


def generate_certificate(user_id: str) -> tuple[str, str]:
    """A new certificate that signs itself, for client authentication, and its key: both PEM."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user_id[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def fingerprint(public_key: str, kind: str) -> str:
    """MD5 of the key's bytes (RFC 4716), or SHA-1 of a certificate. Raises InvalidArgument."""
    try:
        if kind == "x509":
            raw = public_key.encode()

            digest = x509.load_pem_x509_certificate(raw).fingerprint(hashes.SHA1()).hex()
        else:
            serialization.load_ssh_public_key(public_key.encode())
            digest = hashlib.md5(base64.b64decode(public_key.split()[1]), usedforsecurity=False).hexdigest()
    except (ValueError, IndexError, UnsupportedAlgorithm) as error:
        raise InvalidArgument(
            "Keypair data is invalid: failed to generate fingerprint", field="public_key"
        ) from error
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
