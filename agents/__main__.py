"""fabric-agent --config FILE."""

import argparse
import asyncio
import signal
from pathlib import Path

import structlog
import uvloop

from agents.compose import run
from fabric.runtime import config, log


def main() -> None:
    """Run until SIGTERM or SIGINT; servers, networks and images stay as they are."""
    parser = argparse.ArgumentParser(prog="fabric-agent", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("/etc/fabric/fabric.toml"))
    try:
        settings = config.load(parser.parse_args().config)
    except config.ConfigError as error:
        parser.error(str(error))
    log.configure("fabric-agent", settings.log.level, settings.log.format)
    uvloop.run(_run(settings))


async def _run(settings: config.Config) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(settings, stop=stop)
    structlog.get_logger(__name__).info("agent stopped")


if __name__ == "__main__":
    main()
