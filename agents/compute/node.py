"""What the compute agent asks its machine; tests say something else."""

import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from agents.compute import taps

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class Node:
    """The defaults ask the real machine."""

    boot_id: str = field(default_factory=lambda: _BOOT_ID.read_text().strip())
    existing_taps: Callable[[Iterable[str]], frozenset[str]] = taps.existing
    tap_changes: Callable[[], AsyncIterator[None]] = taps.changes
    clock: Callable[[], float] = time.monotonic
