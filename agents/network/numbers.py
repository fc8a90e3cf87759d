"""Small numbers for names: marks of ports, zones of networks."""

from collections.abc import Iterable, Mapping


class Numbers:
    """A name keeps its number while it is known; a freed number is given again as late as possible."""

    def __init__(self, highest: int) -> None:
        self._highest = highest
        self._numbers: dict[str, int] = {}
        self._taken: set[int] = set()
        self._last = 0

    def adopt(self, numbers: Mapping[str, int]) -> None:
        """Take over what the kernel has, where the name or the number is not already given."""
        for name, number in numbers.items():
            if name not in self._numbers and number not in self._taken:
                self._numbers[name] = number
                self._taken.add(number)
                self._last = max(self._last, number)

    def number(self, name: str) -> int:
        """The name's number, from now on. Raises OverflowError: all are taken."""
        if name not in self._numbers:
            if len(self._taken) >= self._highest:
                raise OverflowError("no number is free")
            while True:
                self._last = self._last % self._highest + 1
                if self._last not in self._taken:
                    break
            self._numbers[name] = self._last
            self._taken.add(self._last)
        return self._numbers[name]

    def free(self, name: str) -> None:
        """The name is gone."""
        self._taken.discard(self._numbers.pop(name, 0))

    def known(self) -> Iterable[str]:
        return list(self._numbers)
