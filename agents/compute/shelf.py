"""Fake domains in a directory, one file each: they stay when their agent's process ends."""

import base64
from collections.abc import Iterator, MutableMapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from agents.compute.driver import Found, FoundNic, Marks


@dataclass
class FakeDomain:
    found: Found
    ram_mib: int = 0
    console: bytes = b""
    disk: bytes = b""


class Shelf(MutableMapping[str, FakeDomain]):
    """A domain appears, changes and goes as a whole; what was read is shared: replace it, do not change it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[str, tuple[tuple[int, int], FakeDomain]] = {}  # of which file, and what it said
        directory.mkdir(parents=True, exist_ok=True)

    def __getitem__(self, server_id: str) -> FakeDomain:
        try:
            found = self._path(server_id).stat()
            file = found.st_ino, found.st_mtime_ns
            read = self._read.get(server_id)
            if read is None or read[0] != file:
                domain = _parsed(orjson.loads(self._path(server_id).read_bytes()))
                read = self._read[server_id] = file, domain
        except FileNotFoundError as error:
            self._read.pop(server_id, None)
            raise KeyError(server_id) from error
        return read[1]

    def __setitem__(self, server_id: str, domain: FakeDomain) -> None:
        new = self._directory / f"{server_id}.new"
        new.write_bytes(orjson.dumps(asdict(domain), default=_plain))
        new.rename(self._path(server_id))

    def __delitem__(self, server_id: str) -> None:
        try:
            self._path(server_id).unlink()
        except FileNotFoundError as error:
            raise KeyError(server_id) from error

    def __iter__(self) -> Iterator[str]:
        return iter([path.stem for path in self._directory.glob("*.json")])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _path(self, server_id: str) -> Path:
        return self._directory / f"{server_id}.json"


def _plain(value: Any) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


def _parsed(raw: dict[str, Any]) -> FakeDomain:
    found, marks = raw["found"], raw["found"]["marks"]
    launched = marks["launch_time"]
    found["marks"] = Marks(**marks | {"launch_time": datetime.fromisoformat(launched) if launched else None})
    found["copies"] = tuple(found.get("copies", ()))
    found["nics"] = tuple(FoundNic(**nic) for nic in found["nics"])
    return FakeDomain(
        Found(**found), raw["ram_mib"], base64.b64decode(raw["console"]), base64.b64decode(raw["disk"])
    )
