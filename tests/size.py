"""How large tests of claims are: fit for CI, or with FABRIC_FULL=1 as CLAIMS.md says (docs/claims.md)."""

import os

FULL = bool(os.environ.get("FABRIC_FULL"))


def size(name: str, ci: int, full: int) -> int:
    """The variable of that name goes before FABRIC_FULL."""
    return int(os.environ.get(name) or (full if FULL else ci))
