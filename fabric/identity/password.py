"""Passwords: hashing, checking, remembering for a moment, and the rules that they must meet."""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from fabric.runtime.errors import InvalidArgument

MAX_LENGTH = 4096
_REMEMBERED = 10_000


def _digest(password: str) -> bytes:
    """What bcrypt gets: fixed in length, so that its limit of 72 bytes is none."""
    return base64.b64encode(hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest())


class Passwords:
    """Hashes in threads. What was verified is remembered as a keyed digest that is bound to the hash, so that a
    changed password is forgotten with its hash."""

    def __init__(self, rounds: int, memory_s: float) -> None:
        self._rounds = rounds
        self._memory_s = memory_s
        self._key = secrets.token_bytes(32)
        self._verified: dict[bytes, float] = {}
        self._threads = ThreadPoolExecutor(2, "bcrypt")
        self._under_way: dict[bytes, asyncio.Future[bool]] = {}

    async def hash(self, password: str) -> str:
        """A salted hash."""
        made = await asyncio.get_running_loop().run_in_executor(self._threads, self._hash, _digest(password))
        return made.decode()

    async def matches(self, password: str, hashed: str) -> bool:
        """Whether the password is the one of the hash."""
        if len(password) > MAX_LENGTH or not hashed:
            return False
        name = hashlib.blake2b(
            hashed.encode() + b"\0" + password.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32
        ).digest()
        until = self._verified.get(name)
        if until is not None and until > time.monotonic():
            return True
        running = self._under_way.get(name)
        if running is None:  # those who ask the same at once get one answer
            running = self._under_way[name] = asyncio.get_running_loop().run_in_executor(
                self._threads, bcrypt.checkpw, _digest(password), hashed.encode()
            )
            running.add_done_callback(lambda _: self._under_way.pop(name, None))
        good = await asyncio.shield(running)
        if good and self._memory_s > 0:
            while len(self._verified) >= _REMEMBERED:
                del self._verified[next(iter(self._verified))]
            self._verified.pop(name, None)
            self._verified[name] = time.monotonic() + self._memory_s
        return good

    def _hash(self, digest: bytes) -> bytes:
        return bcrypt.hashpw(digest, bcrypt.gensalt(self._rounds))


def check_form(password: str, regex: str, description: str) -> None:
    """Raise InvalidArgument unless the password has the form that the operator asks for."""
    if len(password) > MAX_LENGTH:
        raise InvalidArgument(f"'password' is longer than {MAX_LENGTH} characters.", field="password")
    if regex and not re.match(regex, password):
        raise InvalidArgument(
            f"The password does not match the requirements: {description or 'see the operator'}.",
            field="password",
            reason="PASSWORD_REQUIREMENTS",
        )


async def was_used(passwords: Passwords, password: str, hashes: Sequence[str]) -> bool:
    """Whether the password is one of these former ones."""
    for hashed in hashes:
        if await passwords.matches(password, hashed):
            return True
    return False


def same(left: str, right: str) -> bool:
    """Compare secrets in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())
