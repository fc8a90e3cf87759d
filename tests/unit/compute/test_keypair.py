"""Keys that are made, and their fingerprints."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_public_key

from fabric.compute.keypair import fingerprint, generate, generate_certificate
from fabric.runtime.errors import InvalidArgument

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYhHGFuMJBgdGYLDhDlsYPvYKAKkNlSQVcBbKmRrFcR me"


def test_a_made_key_fits_its_private_key() -> None:
    public, private = generate()
    key = load_pem_private_key(private.encode(), None)
    assert key.public_key() == load_ssh_public_key(public.encode())


def test_a_made_certificate_fits_its_private_key() -> None:
    public, private = generate_certificate("a" * 80)
    certificate = x509.load_pem_x509_certificate(public.encode())
    assert certificate.public_key() == load_pem_private_key(private.encode(), None).public_key()
    assert len(fingerprint(public, "x509").split(":")) == 20


def test_fingerprints_are_of_the_key_alone() -> None:
    assert fingerprint(KEY, "ssh") == fingerprint(KEY.removesuffix("me") + "you", "ssh")
    assert len(fingerprint(KEY, "ssh").split(":")) == 16


@pytest.mark.parametrize("text", ["", "x", "ssh-rsa", "ssh-rsa AAAA", KEY[:40]])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="fingerprint"):
        fingerprint(text, "ssh")
