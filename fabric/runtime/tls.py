"""Mutual TLS between the processes of a cloud, as the configuration names its files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from fabric.runtime.certificate import serial
from fabric.runtime.config import Tls
from fabric.runtime.errors import Unauthenticated

CONTROLLER = "controller"  # the name that every controller's certificate has, besides its addresses
KEYS = "/fabric/keys/"  # what every process may read of etcd
REFUSED = f"{KEYS}refused"  # below it: the serial numbers of certificates that hold no more

Refused = Callable[[str], bool]  # whether the certificate of this serial number (hexadecimal) holds no more


def server_credentials(tls: Tls) -> grpc.ServerCredentials | None:
    """Callers must show a certificate of the authority; None: no TLS is configured."""
    if not tls.ca_file:
        return None
    pair = (Path(tls.key_file).read_bytes(), Path(tls.cert_file).read_bytes())
    return grpc.ssl_server_credentials([pair], Path(tls.ca_file).read_bytes(), require_client_auth=True)


def open_credentials(tls: Tls) -> grpc.ServerCredentials:
    """For a server whose callers have no certificate yet."""
    return grpc.ssl_server_credentials([(Path(tls.key_file).read_bytes(), Path(tls.cert_file).read_bytes())])


def channel_credentials(tls: Tls) -> grpc.ChannelCredentials | None:
    """Of a client; None: no TLS is configured."""
    if not tls.ca_file:
        return None
    return grpc.ssl_channel_credentials(
        *(Path(file).read_bytes() for file in (tls.ca_file, tls.key_file, tls.cert_file))
    )


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
            raise Unauthenticated("The certificate was withdrawn.", reason="CERTIFICATE_WITHDRAWN")
