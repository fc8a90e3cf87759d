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
_AGAIN = timedelta(minutes=1)

log = structlog.get_logger(__name__)


async def renewal(place: Place) -> None:
    """Never returns."""
    while True:
        try:
            pause = await _look(place)
        except (OSError, ValueError) as error:  # a file that is no certificate, a full disk
            log.error("certificates cannot be looked after", cause=str(error))
            pause = _AGAIN
        await asyncio.sleep(pause.total_seconds())


async def _look(place: Place) -> timedelta:
    """Renew what is due; returns when to look again."""
    program = Program("renew", (sys.executable, "-m", "fabric.ctl", *place.options, "renew"))
    if _is_any_due(place):
        log.info("certificates are renewed")
        await place.desk.start(program).gone()
    pause = min([_LONGEST, *(Validity.of(file).lifetime / 10 for file in certificates(place))])
    return max(pause, _SHORTEST)


def _is_any_due(place: Place) -> bool:
    now = datetime.now(UTC)
    return any(Validity.of(file).is_due(now) for file in certificates(place))


def certificates(place: Place) -> list[Path]:
    """Of this machine; the authority's own is for the whole cloud."""
    return sorted(file for file in place.keys.glob("*.pem") if file.stem != "ca")
