"""What lets a machine join, and until when."""

from datetime import UTC, datetime, timedelta

import pytest

from fabric.node.token import Token, check, issued
from fabric.runtime.errors import InvalidArgument, PermissionDenied

FINGERPRINT = "ab" * 32


def test_token_is_read_back_and_its_record_does_not_tell_it() -> None:
    token = Token.new(FINGERPRINT)
    assert Token.parse(f" {token}\n") == token
    record = issued(token, ttl=timedelta(hours=1), uses=1, controller=False)
    assert token.secret not in str(record)
    check(token, record, controller=False, now=datetime.now(UTC))


@pytest.mark.parametrize("text", ["", "fabric1.x.y.z", f"fabric2.{'0' * 12}.{'a' * 43}.{FINGERPRINT}"])
def test_other_text_is_no_token(text: str) -> None:
    with pytest.raises(InvalidArgument, match="no join token"):
        Token.parse(text)


def test_token_holds_for_its_secret_its_time_and_its_roles_only() -> None:
    token = Token.new(FINGERPRINT)
    record = issued(token, ttl=timedelta(hours=1), uses=1, controller=False)
    now = datetime.now(UTC)
    for other, known, controller, when, told in (
        (Token(token.id, "x" * 43, FINGERPRINT), record, False, now, "not known"),
        (token, None, False, now, "not known"),
        (token, record, False, now + timedelta(hours=2), "expired"),
        (token, record, True, now, "not for controllers"),
    ):
        with pytest.raises(PermissionDenied, match=told):
            check(other, known, controller=controller, now=when)
