"""What the authority signs again, and when."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fabric.runtime.certificate import Authority, KeyPair, Validity, make_request, request_again, serial

DAY = timedelta(days=1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path, lifetime=3 * DAY)
    made.ensure()
    return made


def test_certificate_is_due_when_a_third_of_its_lifetime_is_left(authority: Authority) -> None:
    found = Validity.of(authority.ensure_pair("node", "node.a", ["10.0.0.1"]).certificate)
    now = datetime.now(UTC)
    assert abs(found.lifetime - 3 * DAY) < timedelta(seconds=1)
    assert not found.is_due(now + 1.9 * DAY)
    assert found.is_due(now + 2.1 * DAY)
    assert not found.ends_soon(now + 2.1 * DAY)
    assert found.ends_soon(now + 2.5 * DAY)


def test_renewed_certificate_says_the_same_of_the_same_key(authority: Authority, tmp_path: Path) -> None:
    names = ["10.0.0.1", "a", "controller"]
    pair = authority.ensure_pair("node", "node.a", names)
    key, old = pair.key.read_bytes(), pair.certificate.read_bytes()
    new = authority.renew(old, request_again(pair.key))
    assert serial(new) != serial(old)
    pair.certificate.write_bytes(new)
    assert authority.ensure_pair("node", "node.a", names) == pair
    assert (pair.key.read_bytes(), pair.certificate.read_bytes()) == (key, new)


def test_pair_that_has_ended_is_made_anew(authority: Authority, tmp_path: Path) -> None:
    pair = Authority(tmp_path, lifetime=-DAY / 100).ensure_pair("node", "node.a", ["a"])
    assert Validity.of(pair.certificate).has_ended()
    assert not Validity.of(authority.ensure_pair("node", "node.a", ["a"]).certificate).has_ended()


def test_what_does_not_hold_is_not_renewed(authority: Authority, tmp_path: Path) -> None:
    pair = authority.ensure_pair("node", "node.a", [])
    request, old = request_again(pair.key), pair.certificate.read_bytes()
    with pytest.raises(ValueError, match="another key"):
        authority.renew(old, make_request(tmp_path / "other.key"))
    with pytest.raises(ValueError, match="has ended"):
        authority.renew(Authority(tmp_path, lifetime=-DAY / 100).sign(request, "node.a", []), request)
    (tmp_path / "stranger").mkdir()
    stranger = Authority(tmp_path / "stranger")
    stranger.ensure()
    with pytest.raises(ValueError, match="another authority"):
        authority.renew(stranger.sign(request, "node.a", []), request)
    assert KeyPair.at(tmp_path, "node") == pair
