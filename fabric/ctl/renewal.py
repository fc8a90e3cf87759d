"""When the supervisor has certificates renewed (renew.py), in a process of its own: it seldom does."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from fabric.ctl.place import Place
from fabric.ctl.program import Program
from fabric.runtime.certificate import Validity

_LONGEST = timedelta(hours=1)  # between looks
_SHORTEST = timedelta(seconds=1)

log = structlog.get_logger(__name__)


async def renewal(place: Place) -> None:
    """Never returns."""
    program = Program("renew", (sys.executable, "-m", "fabric.ctl", *place.options, "renew"))
    while True:
        if _is_any_due(place):
            log.info("certificates are renewed")
            await place.desk.start(program).gone()
        pause = min([_LONGEST, *(Validity.of(file).lifetime / 10 for file in certificates(place))])
        await asyncio.sleep(max(pause, _SHORTEST).total_seconds())


def _is_any_due(place: Place) -> bool:
    now = datetime.now(UTC)
    return any(Validity.of(file).is_due(now) for file in certificates(place))


def certificates(place: Place) -> list[Path]:
    """Of this machine; the authority's own is for the whole cloud."""
    return sorted(file for file in place.keys.glob("*.pem") if file.stem != "ca")
