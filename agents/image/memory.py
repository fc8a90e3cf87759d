"""ImageStore in memory, of a fixed capacity: for tests."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agents.image.driver import CHUNK_BYTES, Part
from fabric.runtime.errors import NotFound, PoolFull


class MemoryStore:
    """Holds at most capacity_bytes."""

    def __init__(self, capacity_bytes: int) -> None:
        self.blobs: dict[str, bytes] = {}
        self.parts: set[str] = set()
        self._capacity_bytes = capacity_bytes

    async def ids(self) -> list[str]:
        return sorted(self.blobs)

    async def find(self, id_: str) -> int | None:
        blob = self.blobs.get(id_)
        return None if blob is None else len(blob)

    @asynccontextmanager
    async def write(self, id_: str) -> AsyncIterator[Part]:
        self.parts.add(id_)
        with tempfile.NamedTemporaryFile(prefix="image-") as file:
            try:
                yield _MemoryPart(self, id_, Path(file.name))
            finally:
                self.parts.discard(id_)

    async def read(self, id_: str, offset: int = 0, length: int = 0) -> AsyncIterator[bytes]:
        if id_ not in self.blobs:
            raise NotFound(f"The bytes {id_} are not here.", reason="BYTES_NOT_FOUND")
        blob = self.blobs[id_][offset : offset + length if length else None]
        for at in range(0, len(blob), CHUNK_BYTES):
            yield blob[at : at + CHUNK_BYTES]

    async def remove(self, id_: str) -> None:
        self.blobs.pop(id_, None)

    async def clean(self) -> None:
        self.parts.clear()

    async def free_bytes(self) -> int:
        return self._capacity_bytes - sum(map(len, self.blobs.values()))


class _MemoryPart:
    def __init__(self, store: MemoryStore, id_: str, path: Path) -> None:
        self._store, self._id, self._path = store, id_, path
        self._data = bytearray()
        self._room = store._capacity_bytes - sum(map(len, store.blobs.values()))

    @property
    def size_bytes(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        if len(self._data) + len(data) > self._room:
            raise PoolFull("There is not enough room in memory.")
        self._data += data

    async def file(self) -> Path:
        await asyncio.to_thread(self._path.write_bytes, self._data)
        return self._path

    async def keep(self) -> None:
        self._store.blobs[self._id] = bytes(self._data)
