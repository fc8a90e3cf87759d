"""fabricctl restart: our own processes anew, one after the other; guests and networks stay as they are."""

import argparse
import sys

from fabric.ctl.down import WORLD
from fabric.ctl.place import Place
from fabric.ctl.plan import ETCD, SUPERVISOR, programs
from fabric.ctl.progress import Progress, TookTooLong
from fabric.ctl.up import start
from fabric.runtime.config import load
from fabric.runtime.errors import FabricError


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = "For a new release, or another configuration. On one machine after the other."
    parser.add_argument("--etcd", action="store_true", help="etcd too, which otherwise stays as it is")


def run(place: Place, arguments: argparse.Namespace) -> int:
    if not place.config.exists():
        print("there is no cloud here")
        return 3
    config, progress = load(place.config), Progress()
    place.desk.stop(SUPERVISOR, 10)
    for program in reversed(programs(place, config)):
        if program.name not in WORLD or (arguments.etcd and program.name == ETCD):
            place.desk.stop(program.name, program.stop_timeout_s)
    try:
        start(place, config, progress)
    except (FabricError, RuntimeError, TookTooLong) as error:
        print(f"fabricctl restart: {error}\nlogs: {place.logs}", file=sys.stderr)
        return 1
    return 0
