"""fabricctl: the command for who operates the machines of a cloud."""

import argparse
import importlib
import os
import sys
from pathlib import Path

from fabric.ctl.place import place
from fabric.runtime import log
from fabric.runtime.config import ConfigError

COMMANDS = {
    "up": "start the cloud on this machine, or find it running",
    "down": "stop it; --wipe: leave nothing",
    "restart": "its processes anew, for a new release; guests and networks stay as they are",
    "join": "make this machine a node of a cloud that runs elsewhere",
    "node": "the nodes of the cloud: tokens to join, list, drain, remove",
    "lab": "a cloud of several nodes on this machine",
    "backup": "what etcd holds, in a file",
    "restore": "etcd as a backup has it",
    "renew": "make the certificates of this machine anew before they end",
    "status": "its processes, nodes and contents",
    "sweep": "whether anything is leaked, lost or claimed twice",
    "why": "how a resource came to stand as it does",
    "openrc": "the environment for clients",
    "supervise": "what `up` leaves behind: keeps the processes running",
}


def main() -> None:
    """A command is a module of this package with add(parser) and run(place, arguments) -> exit status."""
    sys.exit(run(sys.argv[1:]))


def run(argv: list[str]) -> int:
    """Only the chosen command's module is imported: `up` on a running cloud answers at once."""
    parser = argparse.ArgumentParser(prog="fabricctl", description=__doc__)
    parser.add_argument("--state-dir", type=Path, help="everything below this directory, not in the system's")
    parser.add_argument(
        "--config", type=Path, help="default: /etc/fabric/fabric.toml, or in the state directory"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        for option in ("--state-dir", "--config"):  # also after the command
            command.add_argument(option, type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if argv and name in argv:
            importlib.import_module(f"fabric.ctl.{name}").add(command)
    arguments = parser.parse_args(argv)
    module = importlib.import_module(f"fabric.ctl.{arguments.command}")
    log.configure("fabricctl", "warning", "console")
    os.environ["no_grpc_proxy"] = "127.0.0.1,localhost,::1"  # noqa: SIM112 (its name; a proxy is not for these)
    try:
        return int(module.run(place(arguments.state_dir, arguments.config), arguments))
    except ConfigError as error:
        print(f"fabricctl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    main()
