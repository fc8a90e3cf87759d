"""Methods that are done again when somebody else was faster."""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from fabric.runtime.errors import StaleRevision

P = ParamSpec("P")
R = TypeVar("R")

_TRIES = 12


def again(method: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The method reads, decides and commits, and does so anew while others change what it has read.

    A transaction that was forestalled has waited until what was written can be read. Raises StaleRevision: others were
    faster each time.
    """

    @functools.wraps(method)
    async def do(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(_TRIES - 1):
            with suppress(StaleRevision):
                return await method(*args, **kwargs)
        return await method(*args, **kwargs)

    return do
