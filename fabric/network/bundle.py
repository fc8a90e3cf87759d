"""What nodes are told of together: each thing of a network or a group is in one of its bundles. No I/O."""

from collections.abc import Iterable

_MOST = 32


class Bundles:
    """A thing stays in the bundle that it came into, so that a change of one thing is a change of one bundle.

    Bundles are <owner>.<number>; things have one owner and are known by ids that no two of them share.
    """

    def __init__(self) -> None:
        self._bundle_of: dict[str, str] = {}
        self._things: dict[str, dict[str, None]] = {}  # by bundle
        self._numbers: dict[str, set[int]] = {}  # by owner
        self._open: dict[str, set[int]] = {}  # by owner: numbers of those that have room

    def put(self, owner: str, thing: str) -> str:
        """The bundle of the thing: where it is, or the first that has room."""
        bundle = self._bundle_of.get(thing)
        if bundle is None:
            room = self._open.get(owner)
            number = min(room) if room else max(self._numbers.get(owner, ()), default=-1) + 1
            bundle = self.restore(f"{owner}.{number}", thing)
        return bundle

    def restore(self, bundle: str, thing: str) -> str:
        """Put a thing where it was told of before, unless it is somewhere; returns where it is."""
        if (known := self._bundle_of.get(thing)) is not None:
            return known
        owner, _, number = bundle.rpartition(".")
        things = self._things.setdefault(bundle, {})
        things[thing] = None
        self._bundle_of[thing] = bundle
        self._file(owner, int(number), len(things))
        return bundle

    def drop(self, thing: str) -> str | None:
        """Forget the thing; returns the bundle that it was in."""
        bundle = self._bundle_of.pop(thing, None)
        if bundle is not None:
            owner, _, number = bundle.rpartition(".")
            things = self._things[bundle]
            del things[thing]
            self._file(owner, int(number), len(things))
        return bundle

    def things(self, bundle: str) -> list[str]:
        """What is in the bundle, always in the same order."""
        return sorted(self._things.get(bundle, ()))

    def of_owner(self, owner: str) -> list[str]:
        """The bundles of an owner."""
        return [f"{owner}.{number}" for number in self._numbers.get(owner, ())]

    def ids(self) -> Iterable[str]:
        """All bundles."""
        return list(self._things)

    def _file(self, owner: str, number: int, size: int) -> None:
        for numbers, holds in ((self._numbers, size > 0), (self._open, 0 < size < _MOST)):
            if holds:
                numbers.setdefault(owner, set()).add(number)
            elif number in (left := numbers.get(owner, set())):
                left.discard(number)
                if not left:
                    del numbers[owner]
        if not size:
            del self._things[f"{owner}.{number}"]
