"""fabric-agent: what runs on a node. When it stops, servers, networks and images stay as they are."""

import asyncio

from agents.compose import run
from fabric.runtime import process
from fabric.runtime.config import Config


def main() -> None:
    """fabric-agent --config FILE."""
    process.main("fabric-agent", __doc__ or "", _run)


async def _run(config: Config, stop: asyncio.Event) -> None:
    await run(config, stop=stop)


if __name__ == "__main__":
    main()
