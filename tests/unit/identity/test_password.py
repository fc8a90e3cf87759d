"""Passwords."""

import pytest

from fabric.identity.password import MAX_LENGTH, Passwords, check_form, was_used
from fabric.runtime.errors import InvalidArgument

ROUNDS = 4  # bcrypt's least: tests need not wait


async def test_only_the_password_matches_its_hash() -> None:
    passwords = Passwords(ROUNDS, 60)
    hashed = await passwords.hash("secret")
    assert await passwords.matches("secret", hashed)
    assert not await passwords.matches("Secret", hashed)
    assert not await passwords.matches("secret", "")
    assert not await passwords.matches("x" * (MAX_LENGTH + 1), hashed)


async def test_a_password_longer_than_bcrypt_reads_counts_to_its_end() -> None:
    passwords = Passwords(ROUNDS, 60)
    hashed = await passwords.hash("a" * 100 + "b")
    assert not await passwords.matches("a" * 100 + "c", hashed)
    assert await passwords.matches("a" * 100 + "b", hashed)


async def test_a_verified_password_is_quick_for_a_while_and_only_with_its_hash() -> None:
    passwords = Passwords(ROUNDS, 60)
    hashed, other = await passwords.hash("secret"), await passwords.hash("other")
    assert await passwords.matches("secret", hashed)
    assert not await passwords.matches("secret", other)
    passwords._threads.shutdown()  # nothing is worked out any more
    assert await passwords.matches("secret", hashed)
    with pytest.raises(RuntimeError):
        await passwords.matches("secret", other)


async def test_nothing_is_remembered_when_the_operator_says_so() -> None:
    passwords = Passwords(ROUNDS, 0)
    hashed = await passwords.hash("secret")
    assert await passwords.matches("secret", hashed)
    assert passwords._verified == {}


async def test_former_passwords_are_found() -> None:
    passwords = Passwords(ROUNDS, 60)
    former = [await passwords.hash(text) for text in ("one", "two")]
    assert await was_used(passwords, "two", former)
    assert not await was_used(passwords, "three", former)


def test_the_form_that_the_operator_asks_for() -> None:
    check_form("abcdefg1", r"^(?=.*\d).{7,}$", "")
    with pytest.raises(InvalidArgument, match="seven and a digit"):
        check_form("abc", r"^(?=.*\d).{7,}$", "seven and a digit")
    with pytest.raises(InvalidArgument):
        check_form("x" * (MAX_LENGTH + 1), "", "")
