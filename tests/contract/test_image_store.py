"""What every ImageStore does."""

import asyncio
import os
from pathlib import Path

import pytest

from agents.image.directory import DirectoryStore
from agents.image.driver import ImageStore
from agents.image.memory import MemoryStore
from fabric.runtime.errors import NotFound, PoolFull

MIB = 1 << 20


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ImageStore:
    return MemoryStore(64 * MIB) if request.param == "memory" else DirectoryStore(tmp_path / "images")


async def put(store: ImageStore, id_: str, data: bytes) -> None:
    async with store.write(id_) as part:
        for at in range(0, len(data), MIB):
            await asyncio.to_thread(part.append, data[at : at + MIB])
        assert part.size_bytes == len(data)
        await part.keep()


async def get(store: ImageStore, id_: str, offset: int = 0, length: int = 0) -> bytes:
    return b"".join([piece async for piece in store.read(id_, offset, length)])


async def test_what_was_kept_is_read_back(store: ImageStore) -> None:
    data = os.urandom(3 * MIB + 5)
    await put(store, "a", data)
    assert await store.ids() == ["a"]
    assert await store.find("a") == len(data)
    assert await get(store, "a") == data


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (MIB - 1, 2), (2 * MIB, 0), (5, 2 * MIB), (9 * MIB, 3)]
)
async def test_ranges_are_cut_to_what_is_there(store: ImageStore, offset: int, length: int) -> None:
    data = os.urandom(3 * MIB)
    await put(store, "a", data)
    assert await get(store, "a", offset, length) == data[offset : offset + length if length else None]


async def test_an_empty_blob_is_a_blob(store: ImageStore) -> None:
    await put(store, "a", b"")
    assert await store.find("a") == 0
    assert await get(store, "a") == b""


async def test_what_was_not_kept_was_never_there(store: ImageStore) -> None:
    async with store.write("a") as part:
        part.append(b"x")
        assert (await part.file()).read_bytes() == b"x"
        assert await store.find("a") is None
        assert await store.ids() == []
    assert await store.find("a") is None


async def test_what_breaks_leaves_nothing(store: ImageStore) -> None:
    with pytest.raises(ZeroDivisionError):
        await put_and_break(store)
    assert await store.ids() == []


async def put_and_break(store: ImageStore) -> None:
    async with store.write("a") as part:
        part.append(b"x")
        _ = 1 / 0


async def test_keeping_replaces_and_readers_go_on(store: ImageStore) -> None:
    old, new = os.urandom(2 * MIB), os.urandom(2 * MIB)
    await put(store, "a", old)
    reader = store.read("a")
    first = await anext(reader)
    await put(store, "a", new)
    assert first + b"".join([piece async for piece in reader]) == old
    assert await get(store, "a") == new


async def test_remove_twice_is_remove_once(store: ImageStore) -> None:
    await put(store, "a", b"x")
    await store.remove("a")
    await store.remove("a")
    assert await store.find("a") is None
    with pytest.raises(NotFound):
        await get(store, "a")


async def test_room_is_told(store: ImageStore) -> None:
    assert await store.free_bytes() > 0
    await store.clean()


async def test_a_full_store_says_so() -> None:
    store = MemoryStore(10)
    async with store.write("a") as part:
        with pytest.raises(PoolFull):
            part.append(b"x" * 11)


async def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(tmp_path)
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 4:
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    async with store.write("a") as part:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(PoolFull):
            part.append(b"x" * 11)


async def test_parts_of_a_crash_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    store = DirectoryStore(tmp_path)
    assert await store.ids() == ["b"]
    await store.clean()
    assert os.listdir(tmp_path) == ["b"]


@pytest.mark.parametrize("id_", ["", "../x", "a/b", ".hidden", "x.part"])
async def test_a_blob_never_leaves_its_directory(tmp_path: Path, id_: str) -> None:
    with pytest.raises(ValueError, match="is not a blob's id"):
        await DirectoryStore(tmp_path).remove(id_)
