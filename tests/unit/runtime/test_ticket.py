"""Tickets."""

import base64

import pytest
from cryptography.fernet import Fernet

from fabric.runtime.errors import PermissionDenied
from fabric.runtime.ticket import Signer, Verifier

SIGNER = Signer(Fernet.generate_key())
VERIFIER = Verifier(SIGNER.public_key)


def test_a_ticket_opens_what_it_names() -> None:
    assert VERIFIER.check(SIGNER.sign({"image": "i", "may": "read"}), image="i", may="read")["may"] == "read"


@pytest.mark.parametrize(
    "ticket",
    [
        "",
        "nonsense",
        "a.b.c",
        SIGNER.sign({"image": "other", "may": "read"}),
        SIGNER.sign({"image": "i", "may": "write"}),
        SIGNER.sign({"image": "i", "may": "read"}, lifetime_s=-5),
        Signer(Fernet.generate_key()).sign({"image": "i", "may": "read"}),
        base64.urlsafe_b64encode(b'{"image":"i","may":"read"}').decode()
        + "."
        + SIGNER.sign({"image": "i"}).split(".")[1],
    ],
)
def test_any_other_ticket_is_refused(ticket: str) -> None:
    with pytest.raises(PermissionDenied):
        VERIFIER.check(ticket, image="i", may="read")
