"""Time-based one-time passwords (RFC 6238): SHA-1, 6 digits, 30 seconds, as authenticator apps make them."""

import base64
import binascii
import hashlib
import hmac

STEP_S = 30


def passcode(seed: str, at: float) -> str:
    """The passcode of a base32 seed at a time. Raises ValueError for a seed that is none."""
    try:
        key = base64.b32decode(seed.upper() + "=" * (-len(seed) % 8))
    except binascii.Error as error:
        raise ValueError("the seed is not base32") from error
    digest = hmac.new(key, int(at // STEP_S).to_bytes(8, "big"), hashlib.sha1).digest()
    start = digest[-1] & 15
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


def matches(seed: str, given: str, at: float) -> bool:
    """Whether it is the passcode of this time step or of the one before."""
    try:
        return any(
            hmac.compare_digest(passcode(seed, at - late).encode(), given.encode()) for late in (0, STEP_S)
        )
    except ValueError:
        return False
