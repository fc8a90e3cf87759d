"""Mutual TLS between the processes of a cloud, as the configuration names its files."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from fabric.runtime.certificate import serial
from fabric.runtime.config import Tls
from fabric.runtime.errors import Unauthenticated

CONTROLLER = "controller"  # the name that every controller's certificate has, besides its addresses
KEYS = "/fabric/keys/"  # what every process may read of etcd
WITHDRAWN = "CERTIFICATE_WITHDRAWN"  # the reason of who is refused
REFUSED = f"{KEYS}refused"  # below it: the serial numbers of certificates that hold no more

_LOOK_S = 1.0  # how often a file that may have been renewed is looked at

Refused = Callable[[str], bool]  # whether the certificate of this serial number (hexadecimal) holds no more


@dataclass
class Identity:
    """What shows to servers who calls, as its files say now: certificates are renewed while processes run."""

    ca_file: str
    cert_file: str
    key_file: str
    _version: int = field(default=0, init=False)
    _looked: float = field(default=0.0, init=False)

    @property
    def version(self) -> int:
        """Another one when the certificate is."""
        now = time.monotonic()
        if now - self._looked > _LOOK_S and self.cert_file:
            self._version, self._looked = Path(self.cert_file).stat().st_mtime_ns, now
        return self._version

    def credentials(self) -> grpc.ChannelCredentials:
        """Of a channel that is opened now."""
        return grpc.ssl_channel_credentials(
            *(
                Path(file).read_bytes() if file else None
                for file in (self.ca_file, self.key_file, self.cert_file)
            )
        )


@dataclass(frozen=True)
class Stranger:
    """Shows nothing, and believes who has a certificate of this authority (PEM)."""

    authority: bytes
    version: int = 0

    def credentials(self) -> grpc.ChannelCredentials:
        """Of a channel that is opened now."""
        return grpc.ssl_channel_credentials(self.authority)


def server_credentials(tls: Tls) -> grpc.ServerCredentials | None:
    """Callers must show a certificate of the authority; None: no TLS is configured."""
    if not tls.ca_file:
        return None
    return _renewed_credentials(tls, Path(tls.ca_file).read_bytes())


def open_credentials(tls: Tls) -> grpc.ServerCredentials:
    """For a server whose callers have no certificate yet."""
    return _renewed_credentials(tls, None)


def _renewed_credentials(tls: Tls, authority: bytes | None) -> grpc.ServerCredentials:
    """Each handshake shows the certificate that the file has by then. authority: callers must be known to it."""

    def configuration() -> grpc.ServerCertificateConfiguration:
        pair = (Path(tls.key_file).read_bytes(), Path(tls.cert_file).read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], authority)

    return grpc.dynamic_ssl_server_credentials(configuration(), configuration, authority is not None)


def identity(tls: Tls) -> Identity | None:
    """Of a client; None: no TLS is configured."""
    return Identity(tls.ca_file, tls.cert_file, tls.key_file) if tls.ca_file else None


def channel_credentials(tls: Tls) -> grpc.ChannelCredentials | None:
    """Of a client that soon ends; None: no TLS is configured."""
    found = identity(tls)
    return None if found is None else found.credentials()


class PeerCheck:
    """Whether the certificates of callers still hold; each is read once."""

    def __init__(self, refused: Refused) -> None:
        self._refused = refused
        self._serials: dict[bytes, str] = {}

    def __call__(self, context: Any) -> None:
        """Raises Unauthenticated."""
        shown = context.auth_context().get("x509_pem_cert")
        if not shown:
            return  # no TLS here
        number = self._serials.get(shown[0])
        if number is None:
            number = self._serials[shown[0]] = serial(shown[0])
        if self._refused(number):
            raise Unauthenticated("The certificate was withdrawn.", reason=WITHDRAWN)
