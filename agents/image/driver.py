"""What keeps the bytes of images on a node."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

CHUNK_BYTES = 1 << 18  # in a few copies for each who reads slowly


class Part(Protocol):
    """Bytes that are on their way in; not there for readers until kept."""

    @property
    def size_bytes(self) -> int:
        """How many there are so far."""

    def append(self, data: bytes) -> None:
        """Add to the end; blocks, so call it in a thread. Raises PoolFull."""

    async def file(self) -> Path:
        """A local file that has what was appended so far."""

    async def keep(self) -> None:
        """Make the bytes safe and visible, all at once; survives a power failure. Raises PoolFull."""


class ImageStore(Protocol):
    """Blobs by id. Each verb names an end state, so repeating it after a lost reply is safe."""

    async def ids(self) -> list[str]:
        """What is here as a whole."""

    async def find(self, id_: str) -> int | None:
        """Size in bytes; None: it is not here."""

    def write(self, id_: str) -> AbstractAsyncContextManager[Part]:
        """Take new bytes; what is not kept when the block ends is dropped. Replaces what the id had."""

    def read(self, id_: str, offset: int = 0, length: int = 0) -> AsyncIterator[bytes]:
        """The bytes from offset, at most length of them (0: all), in pieces. Raises NotFound."""

    async def remove(self, id_: str) -> None:
        """Make it not exist."""

    async def clean(self) -> None:
        """Drop what a crash left behind; only while nothing is written."""

    async def free_bytes(self) -> int:
        """How much more fits."""
