"""What a file is: its head, then qemu-img, which works on untrusted bytes under limits of time and memory."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import orjson

from fabric.image.format import HEAD_BYTES, Problem, problem_of_format, problem_of_head

_TIMEOUT_S = 60.0
_LIMITS = ("prlimit", "--cpu=30", f"--as={1 << 30}", "--")
_UNREADABLE = "raw"


@dataclass(frozen=True)
class Found:
    """format as qemu-img calls it; problem: why no image may be made of it."""

    format: str
    virtual_size_bytes: int
    problem: Problem | None


async def inspect(path: Path, disk_format: str) -> Found:
    """Look at a local file that is said to be of the format."""
    head = await asyncio.to_thread(_head, path)
    problem = problem_of_head(head)
    if problem is not None:
        return Found(_UNREADABLE, 0, problem)
    facts = await _qemu_img_info(path)
    found = str(facts.get("format", _UNREADABLE))
    size = facts.get("virtual-size", 0)
    if facts.get("backing-filename") or facts.get("full-backing-filename"):
        problem = Problem("BACKING_FILE", "The image has a backing file, which is not allowed.")
    elif _data_file(facts):
        problem = Problem("DATA_FILE", "The image has an external data file, which is not allowed.")
    else:
        problem = problem_of_format(found, disk_format)
    return Found(found, size if isinstance(size, int) else 0, problem)


def _data_file(facts: dict[str, object]) -> bool:
    specific = facts.get("format-specific")
    data = specific.get("data") if isinstance(specific, dict) else None
    return isinstance(data, dict) and bool(data.get("data-file"))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


async def _qemu_img_info(path: Path) -> dict[str, object]:
    """Its report; nothing when it cannot make sense of the bytes."""
    process = await asyncio.create_subprocess_exec(
        *_LIMITS,
        "qemu-img",
        "info",
        "--force-share",
        "--output=json",
        str(path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            out, _ = await process.communicate()
    except (TimeoutError, asyncio.CancelledError) as error:
        process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            return {}
        raise
    if process.returncode != 0:
        return {}
    facts = orjson.loads(out)
    return facts if isinstance(facts, dict) else {}
