"""Records by create time, kept in order, so that a page of them costs what the page costs."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

M = TypeVar("M")
Key = tuple[int, int, str]  # seconds and nanoseconds of the create time, id


def key_of(message: Any) -> Key:
    """Where the record stands."""
    meta = message.meta
    return meta.create_time.seconds, meta.create_time.nanos, meta.id


class InOrder(Generic[M]):
    """The oldest first. values: by id; what is not there any more has been taken out before."""

    def __init__(self, messages: Iterable[M], values: Mapping[str, M]) -> None:
        self._keys = sorted(map(key_of, messages))
        self._values = values

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, message: M) -> None:
        """It is there."""
        insort(self._keys, key_of(message))

    def remove(self, message: M) -> None:
        """It is there no longer."""
        key = key_of(message)
        at = bisect_left(self._keys, key)
        if self._keys[at : at + 1] == [key]:
            del self._keys[at]

    def walk(self, after: M | None, *, descending: bool) -> Iterator[M]:
        """From one of them (None: from the end) on, without it."""
        if descending:
            start = len(self._keys) if after is None else bisect_left(self._keys, key_of(after))
            places: Iterable[int] = range(start - 1, -1, -1)
        else:
            places = range(0 if after is None else bisect_right(self._keys, key_of(after)), len(self._keys))
        return (self._values[self._keys[at][2]] for at in places)

    def find(self, id_: str) -> M | None:
        """The one with the id."""
        found = self._values.get(id_)
        if found is None:
            return None
        at = bisect_left(self._keys, key_of(found))
        return found if self._keys[at : at + 1] == [key_of(found)] else None
