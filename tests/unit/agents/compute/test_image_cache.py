import asyncio
import hashlib
import os
import subprocess
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from agents.compute.driver import ImageUnusable
from agents.compute.image_cache import ImageCache
from fabric.compute.v1.server_pb2 import ImageSource
from fabric.runtime.errors import NotFound, Unavailable

MIB = 1 << 20


class Glance:
    """Where images come from; counts how often each was asked for."""

    def __init__(self) -> None:
        self.images: dict[str, bytes] = {}
        self.fetches: list[str] = []
        self.breaks = False

    async def fetch(self, source: ImageSource) -> AsyncIterator[bytes]:
        self.fetches.append(source.image_id)
        if source.image_id not in self.images:
            raise NotFound(f"Image {source.image_id} is not on this node.")
        content = self.images[source.image_id]
        for start in range(0, len(content), 64 << 10):
            await asyncio.sleep(0)
            if self.breaks and start:
                raise Unavailable("the image agent went away")
            yield content[start : start + (64 << 10)]

    def source(self, image_id: str, content: bytes, disk_format: str = "raw") -> ImageSource:
        self.images[image_id] = content
        digest = hashlib.sha512(content).hexdigest()
        return ImageSource(image_id=image_id, size_bytes=len(content), sha512=digest, disk_format=disk_format)


@pytest.fixture
def glance() -> Glance:
    return Glance()


@pytest.fixture
def cache(tmp_path: Path, glance: Glance) -> ImageCache:
    return ImageCache(tmp_path / "images", glance.fetch, max_bytes=3 * MIB, max_age=timedelta(days=1))


def a_qcow2(path: Path, options: str) -> bytes:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-o", options, path, "1M"], check=True)
    return path.read_bytes()


def left(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "images"))


async def test_an_image_is_fetched_once_for_all_who_ask(
    cache: ImageCache, glance: Glance, tmp_path: Path
) -> None:
    source = glance.source("i1", os.urandom(MIB))
    assert cache.find("i1") is None
    paths = await asyncio.gather(*(cache.ensure(source) for _ in range(5)))
    assert {path.read_bytes() for path in paths} == {glance.images["i1"]}
    assert glance.fetches == ["i1"]
    assert cache.find("i1") == paths[0]
    assert left(tmp_path) == ["i1"]


async def test_an_image_that_is_gone_is_not_waited_for(cache: ImageCache, tmp_path: Path) -> None:
    with pytest.raises(ImageUnusable, match="is not on this node"):
        await cache.ensure(ImageSource(image_id="i1", disk_format="raw"))
    assert left(tmp_path) == []


@pytest.mark.parametrize("wrong", ["sha512", "shorter", "longer"])
async def test_other_bytes_than_promised_are_refused(
    cache: ImageCache, glance: Glance, tmp_path: Path, wrong: str
) -> None:
    source = glance.source("i1", bytes(MIB))
    if wrong == "sha512":
        glance.images["i1"] = b"x" + bytes(MIB - 1)
    else:
        glance.images["i1"] = bytes(MIB - 1 if wrong == "shorter" else MIB + 1)
    with pytest.raises(ImageUnusable):
        await cache.ensure(source)
    assert left(tmp_path) == []


async def test_a_broken_fetch_leaves_nothing_and_can_be_repeated(
    cache: ImageCache, glance: Glance, tmp_path: Path
) -> None:
    source = glance.source("i1", bytes(MIB))
    glance.breaks = True
    with pytest.raises(Unavailable):
        await cache.ensure(source)
    assert left(tmp_path) == []
    glance.breaks = False
    assert await cache.ensure(source)


async def test_one_who_waits_may_give_up_without_stopping_the_others(
    cache: ImageCache, glance: Glance
) -> None:
    source = glance.source("i1", bytes(MIB))
    first, second = (asyncio.create_task(cache.ensure(source)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert glance.fetches == ["i1"]


@pytest.mark.parametrize("option", ["backing_file=/etc/passwd,backing_fmt=raw", "data_file={tmp}/data.raw"])
async def test_a_qcow2_that_refers_to_other_files_is_refused(
    cache: ImageCache, glance: Glance, tmp_path: Path, option: str
) -> None:
    evil = a_qcow2(tmp_path / "evil.qcow2", option.format(tmp=tmp_path))
    with pytest.raises(ImageUnusable, match="file"):
        await cache.ensure(glance.source("i1", evil, "qcow2"))
    assert left(tmp_path) == []


async def test_a_file_of_another_format_than_said_is_refused(cache: ImageCache, glance: Glance) -> None:
    with pytest.raises(ImageUnusable):
        await cache.ensure(glance.source("i1", os.urandom(MIB), "qcow2"))
    with pytest.raises(ImageUnusable, match="vmdk"):
        await cache.ensure(glance.source("i2", os.urandom(MIB), "vmdk"))


async def test_an_id_cannot_lead_out_of_the_directory(cache: ImageCache, glance: Glance) -> None:
    with pytest.raises(ImageUnusable):
        cache.find("../etc/passwd")


async def test_the_least_lately_used_go_first_and_what_is_in_use_stays(
    cache: ImageCache, glance: Glance, tmp_path: Path
) -> None:
    for number in range(5):
        path = await cache.ensure(glance.source(f"i{number}", os.urandom(MIB)))
        used_at = time.time() - 100 * (5 - number)
        os.utime(path, (used_at, used_at))
    os.link(tmp_path / "images/i0", tmp_path / "base")
    assert sorted(cache.sweep()) == ["i1"]
    assert left(tmp_path) == ["i0", "i2", "i3", "i4"]


async def test_what_is_too_old_goes(cache: ImageCache, glance: Glance, tmp_path: Path) -> None:
    path = await cache.ensure(glance.source("i1", os.urandom(MIB)))
    os.utime(path, (time.time() - 90000, time.time()))
    (tmp_path / "images/i2.part").write_bytes(b"left by a crash")
    assert cache.sweep() == ["i1"]
    assert left(tmp_path) == []
