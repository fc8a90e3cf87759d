"""What a leader's loop wakes by."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from fabric.runtime.store import Collection, Store

Changed = Callable[[str], None]


@contextlib.contextmanager
def following(store: Store, *parts: tuple[Collection[Any], Changed]) -> Iterator[None]:
    """Until the end call back with the id of each record that changes, and at once with those that are there."""
    with contextlib.ExitStack() as ends:
        for collection, changed in parts:
            ends.callback(store.table(collection).subscribe(changed))
        yield
