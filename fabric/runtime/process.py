"""What the controller's and the agent's process are: configuration, logs, and an end when told to."""

import argparse
import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
import uvloop

from fabric.runtime import config, log

_CYCLES_EVERY = 20_000  # new objects: a cloud in memory has few cycles, and looking for them takes long


def seldom_look_for_cycles() -> None:
    """As fits a process that makes many objects and few cycles."""
    gc.set_threshold(_CYCLES_EVERY)


def main(
    name: str,
    about: str,
    serve: Callable[[config.Config, asyncio.Event], Awaitable[None]],
    parser: argparse.ArgumentParser | None = None,
    given: argparse.Namespace | None = None,
) -> None:
    """Serve with the configuration of --config; SIGTERM and SIGINT set the event.

    parser: with other options; what they say is in given when serve is called.
    """
    parser = parser or argparse.ArgumentParser(prog=name, description=about)
    parser.add_argument("--config", type=Path, default=Path("/etc/fabric/fabric.toml"))
    try:
        settings = config.load(parser.parse_args(namespace=given).config)
    except config.ConfigError as error:
        parser.error(str(error))
    log.configure(name, settings.log.level, settings.log.format)

    seldom_look_for_cycles()

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(settings, stop)
        structlog.get_logger(__name__).info("process stopped")

    uvloop.run(run())
