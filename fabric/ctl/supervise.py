"""fabricctl supervise: the daemon that `fabricctl up` leaves behind."""

import argparse
import asyncio
import contextlib
import os
import signal

import structlog

from fabric.ctl.lock import held
from fabric.ctl.place import Place
from fabric.ctl.plan import SUPERVISOR, own_libvirtd, owns_libvirt, programs
from fabric.ctl.process import Process
from fabric.ctl.renewal import renewal
from fabric.ctl.supervisor import Supervisor, become_subreaper
from fabric.runtime import log as logging
from fabric.runtime.config import load

log = structlog.get_logger(__name__)


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = "Keep the cloud's programs running; SIGTERM ends this and leaves them running."


def run(place: Place, _: argparse.Namespace) -> int:
    config = load(place.config)
    logging.configure(SUPERVISOR, config.log.level, config.log.format)
    with held(place.run / "supervisor.lock") as won:
        if not won:
            log.warning("another supervisor runs")
            return 1
        myself = Process.of(os.getpid())
        assert myself is not None
        myself.save(place.desk.pid_file(SUPERVISOR))
        if owns_libvirt(place, config):
            own_libvirtd(place, config).configure()
        become_subreaper()
        asyncio.run(_until_told(place, Supervisor(place.desk, programs(place, config))))
        place.desk.pid_file(SUPERVISOR).unlink(missing_ok=True)
    return 0


async def _until_told(place: Place, supervisor: Supervisor) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(supervisor.run())
            tasks.create_task(renewal(place))
    log.info("supervisor stopped")
