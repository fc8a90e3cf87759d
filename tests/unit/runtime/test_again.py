"""Methods that are done again when somebody else was faster."""

import pytest

from fabric.runtime.again import again
from fabric.runtime.errors import AlreadyExists, FabricError, StaleRevision


class Counter:
    """Fails with these errors, one after the other, and then no more."""

    def __init__(self, *errors: FabricError) -> None:
        self._errors = list(errors)
        self.begun = 0

    @again
    async def take(self, amount: int) -> int:
        self.begun += 1
        if self._errors:
            raise self._errors.pop(0)
        return amount


async def test_who_was_forestalled_begins_anew() -> None:
    counter = Counter(StaleRevision("first"), StaleRevision("second"))
    assert await counter.take(3) == 3
    assert counter.begun == 3


async def test_who_is_forestalled_each_time_is_told() -> None:
    counter = Counter(*(StaleRevision(str(number)) for number in range(1000)))
    with pytest.raises(StaleRevision):
        await counter.take(3)
    assert 1 < counter.begun < 100


async def test_other_errors_are_told_at_once() -> None:
    counter = Counter(AlreadyExists("taken"))
    with pytest.raises(AlreadyExists):
        await counter.take(3)
    assert counter.begun == 1
