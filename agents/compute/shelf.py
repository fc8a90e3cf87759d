"""Fake domains in a directory, one file each: they stay when their agent's process ends."""

import base64
import os
from collections.abc import Iterator, MutableMapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from agents.compute.driver import Found, FoundNic, Marks

_END = ".json"


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
            found = os.stat(self._path(server_id))
            file = found.st_ino, found.st_mtime_ns
            read = self._read.get(server_id)
            if read is None or read[0] != file:
                with open(self._path(server_id), "rb") as held:
                    domain = _parsed(orjson.loads(held.read()))
                read = self._read[server_id] = file, domain
        except FileNotFoundError as error:
            self._read.pop(server_id, None)
            raise KeyError(server_id) from error
        return read[1]

    def __setitem__(self, server_id: str, domain: FakeDomain) -> None:
        new = f"{self._directory}/{server_id}.new"
        with open(new, "wb") as file:
            file.write(orjson.dumps(asdict(domain), default=_plain))
        os.rename(new, self._path(server_id))

    def __delitem__(self, server_id: str) -> None:
        try:
            os.unlink(self._path(server_id))
        except FileNotFoundError as error:
            raise KeyError(server_id) from error

    def __iter__(self) -> Iterator[str]:
        return iter([name[: -len(_END)] for name in os.listdir(self._directory) if name.endswith(_END)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _path(self, server_id: str) -> str:
        return f"{self._directory}/{server_id}{_END}"


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
