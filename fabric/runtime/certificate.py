"""The small certificate authority of one cloud: its processes and etcd know each other by it."""

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFETIME = datetime.timedelta(days=3650)
LIFETIME = datetime.timedelta(days=365)
_BACKDATED = datetime.timedelta(hours=1)  # for who has a slow clock


@dataclass(frozen=True)
class KeyPair:
    """Files in PEM: a certificate and its private key (mode 0600)."""

    certificate: Path
    key: Path

    @classmethod
    def at(cls, directory: Path, file: str) -> Self:
        """<file>.pem and <file>.key."""
        return cls(directory / f"{file}.pem", directory / f"{file}.key")


@dataclass(frozen=True)
class Validity:
    """From when to when a certificate holds."""

    begin: datetime.datetime
    end: datetime.datetime

    @classmethod
    def of(cls, file: Path) -> Self:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        return cls(certificate.not_valid_before_utc + _BACKDATED, certificate.not_valid_after_utc)

    @property
    def lifetime(self) -> datetime.timedelta:
        return self.end - self.begin

    def has_ended(self) -> bool:
        return self.end < datetime.datetime.now(datetime.UTC)

    def is_due(self, now: datetime.datetime) -> bool:
        """Whether it should be renewed: a third of its lifetime is left."""
        return self.end - now < self.lifetime / 3

    def ends_soon(self, now: datetime.datetime) -> bool:
        """Whether it should have been renewed for long."""
        return self.end - now < self.lifetime / 4


@dataclass(frozen=True)
class Authority:
    """ca.pem and ca.key in a directory; whoever has the key may add machines."""

    directory: Path
    lifetime: datetime.timedelta = LIFETIME  # of what it signs

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def key(self) -> Path:
        return self.directory / "ca.key"

    def ensure(self) -> None:
        """Make the authority unless it is there."""
        if self.certificate.exists():
            return
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("fabric")
        unsigned = (
            _unsigned(name, name, key.public_key(), AUTHORITY_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(sign_certificates=True), critical=True)
        )
        write_private(self.key, _private(key))
        write_private(self.certificate, _pem(unsigned.sign(key, hashes.SHA256())))

    def ensure_pair(self, file: str, common: str, alternatives: Sequence[str]) -> KeyPair:
        """The pair of files, good for a client of this name and for a server at the alternatives; not ended."""
        pair = KeyPair.at(self.directory, file)
        if not _says(pair.certificate, common, alternatives) or Validity.of(pair.certificate).has_ended():
            request = make_request(pair.key)
            write_private(pair.certificate, self.sign(request, common, alternatives))
        return pair

    def sign(self, request: bytes, common: str, alternatives: Sequence[str]) -> bytes:
        """The certificate (PEM) of a request's key. What else the request says is not believed.

        Raises ValueError: it is no request, or was not made by who has the key.
        """
        asked = x509.load_pem_x509_csr(request)
        key = asked.public_key()
        if not asked.is_signature_valid or not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("the request is not signed with its own elliptic curve key")
        authority = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        signer = serialization.load_pem_private_key(self.key.read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        unsigned = (
            _unsigned(_name(common), authority.subject, key, self.lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            # etcd's own HTTP proxy is a client of the server with the server's certificate
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
        )
        if alternatives:
            names = [_alternative(alternative) for alternative in alternatives]
            unsigned = unsigned.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _pem(unsigned.sign(signer, hashes.SHA256()))

    def renew(self, certificate: bytes, request: bytes) -> bytes:
        """A certificate (PEM) that says the same for longer; who asks has signed the request with its key.

        Raises ValueError: the certificate is not ours, has ended, or is of another key.
        """
        old = x509.load_pem_x509_certificate(certificate)
        asked = x509.load_pem_x509_csr(request)
        try:
            old.verify_directly_issued_by(x509.load_pem_x509_certificate(self.certificate.read_bytes()))
        except InvalidSignature as error:
            raise ValueError("the certificate is of another authority") from error
        if old.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
            raise ValueError("the certificate has ended")
        if asked.public_key() != old.public_key():
            raise ValueError("the request is of another key")
        common = str(old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        return self.sign(request, common, [str(name.value) for name in _alternatives(old)])


def make_request(key_file: Path) -> bytes:
    """A new private key in the file, and the request (PEM) to certify it."""
    key = ec.generate_private_key(ec.SECP256R1())
    write_private(key_file, _private(key))
    return request_again(key_file)


def request_again(key_file: Path) -> bytes:
    """The request (PEM) to certify the private key in the file."""
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    request = x509.CertificateSigningRequestBuilder().subject_name(_name("fabric")).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate (PEM), hexadecimal."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex()


def serial(certificate: bytes) -> str:
    """The serial number of a certificate (PEM), hexadecimal."""
    return f"{x509.load_pem_x509_certificate(certificate).serial_number:x}"


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, and never readable for others."""
    new = path.with_suffix(f".{os.getpid()}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    new.replace(path)


def _says(path: Path, common: str, alternatives: Sequence[str]) -> bool:
    if not path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if certificate.subject != _name(common):
        return False
    names = _alternatives(certificate)
    return all(_alternative(alternative) in names for alternative in alternatives)


def _alternatives(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _alternative(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not sign_certificates,  # QEMU asks for it, though these keys encipher none
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
