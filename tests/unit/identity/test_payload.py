"""What a token carries."""

import base64
import uuid

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from fabric.identity import payload
from fabric.identity.payload import METHODS, Payload, new_audit_id, unpack

IDS = st.one_of(st.uuids().map(lambda id_: id_.hex), st.text(min_size=1, max_size=64), st.just("default"))
PAYLOADS = st.builds(
    Payload,
    user_id=IDS,
    methods=st.lists(st.sampled_from(METHODS), min_size=1, unique=True).map(
        lambda names: tuple(sorted(names, key=METHODS.index))
    ),
    issued_us=st.integers(0, 2**52),
    expires_us=st.integers(0, 2**33).map(lambda seconds: seconds * 1_000_000),
    audit_ids=st.lists(st.builds(new_audit_id), min_size=1, max_size=2).map(tuple),
    scope=st.integers(0, 4),
    scope_id=st.one_of(st.just(""), IDS),
    trust_id=st.one_of(st.just(""), IDS),
    service=st.booleans(),
)


@given(PAYLOADS)
def test_what_is_packed_is_unpacked(made: Payload) -> None:
    assert unpack(made.pack()) == made


def test_a_token_fits_into_255_characters() -> None:
    made = Payload(
        user_id=uuid.uuid4().hex,
        methods=("password", "token"),
        issued_us=2**51,
        expires_us=2**52,
        audit_ids=(new_audit_id(), new_audit_id()),
        scope=payload.PROJECT,
        scope_id=uuid.uuid4().hex,
        trust_id=uuid.uuid4().hex,
    )
    assert len(Fernet(Fernet.generate_key()).encrypt(made.pack())) < 255


@given(st.binary(max_size=80))
def test_other_bytes_are_refused_with_value_error(raw: bytes) -> None:
    try:
        unpack(raw)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        (payload.UNSCOPED, ""),
        (payload.PROJECT, "project:x"),
        (payload.DOMAIN, "domain:x"),
        (payload.SYSTEM, "system"),
    ],
)
def test_the_scope_is_named_as_assignments_name_it(scope: int, target: str) -> None:
    assert Payload("u", ("password",), 0, 0, (), scope, "x").target() == target


def test_audit_ids_are_random_and_urlsafe() -> None:
    made = {new_audit_id() for _ in range(100)}
    assert len(made) == 100
    assert all(len(base64.urlsafe_b64decode(id_ + "==")) == 16 for id_ in made)
