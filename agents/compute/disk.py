"""Disk images, by way of qemu-img."""

import asyncio
import struct
from dataclasses import dataclass
from pathlib import Path

import orjson

from agents.compute.driver import ImageUnusable
from fabric.runtime.errors import PoolFull

GIB = 1 << 30
MIB = 1 << 20
FORMATS = ("raw", "qcow2")
_PAGE = 4096
_ADDRESS_SPACE_BYTES = 4 * GIB  # what qemu-img may use on an image that somebody crafted
_CPU_TIME_S = 30
_WITH_US = (
    "setpriv",
    "--pdeathsig",
    "KILL",
)  # a copy that goes on without us would be in its own successor's way


@dataclass(frozen=True)
class ImageInfo:
    format: str
    virtual_size_bytes: int


async def inspect(path: Path, disk_format: str) -> ImageInfo:
    """Look at an image of the said format. Raises ImageUnusable also for one that refers to other files."""
    output = await _qemu_img("info", "--output=json", "-f", disk_format, str(path), limited=True)
    facts = orjson.loads(output)
    specific = facts.get("format-specific", {}).get("data", {})
    for field in ("backing-filename", "full-backing-filename"):
        if facts.get(field):
            raise ImageUnusable("the image has a backing file", image=path.name)
    if specific.get("data-file"):
        raise ImageUnusable("the image has an external data file", image=path.name)
    return ImageInfo(facts["format"], facts["virtual-size"])


async def create(path: Path, size_bytes: int) -> None:
    """An empty qcow2. Raises PoolFull."""
    await _qemu_img("create", "-q", "-f", "qcow2", str(path), str(size_bytes))


async def create_overlay(path: Path, base: str, base_format: str, size_bytes: int) -> None:
    """A qcow2 that shows base (relative to path's directory) and takes the writes. Raises PoolFull."""
    await _qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", base_format, str(path), str(size_bytes))


async def grow(path: Path, size_bytes: int) -> None:
    """Make a qcow2 that nobody uses larger. Raises PoolFull."""
    await _qemu_img("resize", "-q", "-f", "qcow2", str(path), str(size_bytes))


async def copy(source: Path, target: Path, source_format: str = "qcow2") -> None:
    """All that an image that nobody writes to shows, as a qcow2 of its own. Raises PoolFull."""
    await _qemu_img("convert", "-q", "-f", source_format, "-O", "qcow2", str(source), str(target))


def empty_qcow2() -> bytes:
    """The smallest whole qcow2 (version 2): 64 KiB of nothing, in clusters of 512 bytes."""
    cluster = 512
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 9, 1 << 16, 0, 2, 3 * cluster, cluster, 1, 0, 0
    )
    table, counts = struct.pack(">Q", 2 * cluster), struct.pack(">4H", 1, 1, 1, 1)
    return b"".join(part.ljust(cluster, b"\0") for part in (header, table, counts, b""))


def virtual_size_bytes(path: Path) -> int:
    """What the guest sees of a qcow2: its header's bytes 24 to 31."""
    with path.open("rb") as file:
        file.seek(24)
        return int.from_bytes(file.read(8), "big")


def create_swap(path: Path, size_bytes: int) -> None:
    """A sparse raw file that is formatted as swap space (version 1)."""
    with path.open("xb") as file:
        file.truncate(size_bytes)
        header = struct.pack("<III", 1, size_bytes // _PAGE - 1, 0)  # version, last page, bad pages
        file.seek(1024)
        file.write(header)
        file.seek(_PAGE - 10)
        file.write(b"SWAPSPACE2")


async def _qemu_img(*arguments: str, limited: bool = False) -> bytes:
    prefix = ("prlimit", f"--as={_ADDRESS_SPACE_BYTES}", f"--cpu={_CPU_TIME_S}") if limited else _WITH_US
    process = await asyncio.create_subprocess_exec(
        *prefix,
        "qemu-img",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        message = errors.decode(errors="replace").strip() or f"qemu-img ended with {process.returncode}"
        if "No space left" in message:
            raise PoolFull("the node's disk has no room", detail=message)
        raise ImageUnusable(message)
    return output
