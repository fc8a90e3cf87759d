"""What this machine's own logs say of a request or resource: no server is asked."""

import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_READ_BYTES = 8 * 1024 * 1024  # of the end of each log
_LONGEST = 300
_LOUD = ("warning", "error", "critical")
_LEFT_OUT = ("timestamp", "level", "event", "process", "exception")


def log_lines(directory: Path, words: Sequence[str], most: int = 20) -> list[str]:
    """The lines with one of the words, in the order of time; what went well is left out first."""
    found = [entry for path in sorted(directory.glob("*.log")) for entry in _entries(path, words)]
    found.sort(key=lambda entry: str(entry.get("timestamp", "")))
    loud = [entry for entry in found if entry.get("level") in _LOUD or entry.get("event") == "call refused"]
    if len(found) > most:
        found = loud[-most:] or found[-most:]
    return [_line(entry) for entry in found]


def _entries(path: Path, words: Sequence[str]) -> Iterator[dict[str, Any]]:
    wanted = [word.encode() for word in words if word]
    with path.open("rb") as file:
        size = path.stat().st_size
        if not size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            for start, end in sorted({span for word in wanted for span in _spans(text, word, size)}):
                try:
                    entry = json.loads(text[start:end])
                except ValueError:
                    continue  # another program's log, or a line that rotation has cut
                if isinstance(entry, dict) and not _only_looked(entry):
                    entry.setdefault("process", path.stem)
                    yield entry


def _only_looked(entry: dict[str, Any]) -> bool:
    """A read that went well: clients poll, and it changed nothing."""
    return entry.get("method") in ("GET", "HEAD") and int(entry.get("status", 500)) < 400


def _spans(text: mmap.mmap, word: bytes, size: int) -> Iterator[tuple[int, int]]:
    at = text.find(word, max(0, size - _READ_BYTES))
    while at >= 0:
        start = text.rfind(b"\n", 0, at) + 1
        end = text.find(b"\n", at)
        end = size if end < 0 else end
        yield start, end
        at = text.find(word, end)


def _line(entry: dict[str, Any]) -> str:
    facts = " ".join(f"{key}={value}" for key, value in entry.items() if key not in _LEFT_OUT)
    cause = str(entry.get("exception", "")).strip().rpartition("\n")[2]
    process = str(entry["process"]).removeprefix("fabric-")
    line = f"{entry.get('timestamp', '')} {process}: {entry.get('event', '')} {facts} {cause}".rstrip()
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
