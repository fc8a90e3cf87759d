"""fabricctl why ID: the cause of how a resource stands, and its story from the client to the hypervisor."""

import argparse
import asyncio
import sys
from pathlib import Path

from fabric.ctl.cloud_state import unread
from fabric.ctl.glance import Glance
from fabric.ctl.log_lines import log_lines
from fabric.ctl.place import Place
from fabric.ctl.story import Nodes, Story
from fabric.runtime.config import Config, load
from fabric.runtime.errors import Unavailable

_READ_S = 3.0


def add(parser: argparse.ArgumentParser) -> None:
    """The id."""
    parser.description = (
        "Reads etcd, asks the node's agent what it holds, and looks through this machine's own logs. "
        "Exit status 1: nothing is known of the id."
    )
    parser.add_argument("id", help="the id of a resource of any kind, or of a request (req-...)")


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Print the story."""
    try:
        lines = asyncio.run(ask(load(place.config), place.logs, arguments.id))
    except (Unavailable, TimeoutError) as error:
        print(f"fabricctl why: etcd does not answer: {error}", file=sys.stderr)
        lines = [f"  {line}" for line in log_lines(place.logs, [arguments.id])]
    print("\n".join(lines) if lines else f"nothing is known of {arguments.id}")
    return 0 if lines else 1


async def ask(config: Config, logs: Path, id_: str) -> list[str]:
    """The lines to print; none: nothing is known. Raises Unavailable, TimeoutError."""
    async with unread(config) as store:
        asked = Nodes(config)
        try:
            async with asyncio.timeout(_READ_S):
                story = Story(Glance(store, store.etcd), asked)
                lines = [line async for line in story.tell(id_)]
        finally:
            await asked.close()
    logged = log_lines(logs, [id_, *story.requests])
    return lines + ([f"logs in {logs}", *(f"  {line}" for line in logged)] if logged else [])
