"""fabricctl lab: a cloud of several nodes on this machine, to try, break and mend."""

import argparse
import sys
from pathlib import Path

from fabric.ctl.bed import OUTSIDE, Lab, Shape
from fabric.ctl.place import Place
from fabric.ctl.progress import Progress

DEFAULT = Shape()


def add(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", help="make it, or switch on what of it is off")
    up.add_argument("--nodes", type=int, default=DEFAULT.nodes, help=f"default: {DEFAULT.nodes}")
    up.add_argument(
        "--controllers", type=int, default=1, help="how many of them run a controller and a gateway"
    )
    up.add_argument(
        "--controls",
        type=int,
        default=DEFAULT.controls,
        help="how many of them run an etcd, a controller and a gateway; 3 survive the loss of one",
    )
    up.add_argument(
        "--underlay", default=DEFAULT.underlay, help=f"of the nodes (default: {DEFAULT.underlay})"
    )
    up.add_argument("--public", default=DEFAULT.public, help=f"for floating IPs (default: {DEFAULT.public})")
    up.add_argument("--compute-driver", default=DEFAULT.compute_driver, choices=("libvirt", "fake"))
    up.add_argument("--network-driver", default=DEFAULT.network_driver, choices=("linux", "fake"))
    up.add_argument("--guest", action="store_true", help="node1 boots a first server")
    up.add_argument("--reachable", action="store_true", help="this machine's own network reaches the API too")
    verbs.add_parser("down", help="leave nothing of it")
    verbs.add_parser("status", help="which nodes are on, and what the cloud says of them")
    verbs.add_parser("openrc", help="the environment for clients")
    for verb, summary in VERBS.items():
        verbs.add_parser(verb, help=summary).add_argument("node")
    execute = verbs.add_parser("exec", help="run a command on a node, or outside")
    execute.add_argument("node")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND")


VERBS = {
    "kill": "cut a node's power",
    "start": "switch it on again",
    "cut": "cut a node off from the others",
    "heal": "undo that",
}


def run(place: Place, arguments: argparse.Namespace) -> int:
    lab = Lab(directory(place))
    try:
        return _do(lab, arguments)
    except RuntimeError as error:
        print(f"fabricctl lab: {error}", file=sys.stderr)
        return 1


def directory(place: Place) -> Path:
    """Of the lab of this place."""
    return place.state.parent if place.state.name == "state" else place.state.with_name("fabric-lab")


def _do(lab: Lab, arguments: argparse.Namespace) -> int:
    if arguments.verb == "up":
        return _up(lab, arguments)
    if not lab.exists:
        print("there is no lab here; `fabricctl lab up` makes one")
        return 0 if arguments.verb == "down" else 3
    match arguments.verb:
        case "down":
            lab.down()
        case "status":
            _status(lab)
        case "openrc":
            print(lab.fabricctl(lab.control, "openrc"), end="")
        case "exec":
            lab.machine(arguments.node).replace(arguments.argv)
        case verb:
            lab.machine(arguments.node)
            getattr(lab, verb)(arguments.node)
    return 0


def _up(lab: Lab, arguments: argparse.Namespace) -> int:
    controls = max(1, min(arguments.controls, arguments.nodes))
    shape = Shape(
        arguments.nodes,
        controls,
        max(controls, min(arguments.controllers, arguments.nodes)),
        arguments.underlay,
        arguments.public,
        arguments.compute_driver,
        arguments.network_driver,
        arguments.guest,
        arguments.reachable,
    )
    progress = Progress()
    with progress.stage(f"a lab in {lab.directory}"):
        lab.up(shape, progress.say)
    me = f"{sys.argv[0]} --state-dir {lab.directory} lab"
    client = "openstack" if shape.reachable else f"{me} exec {OUTSIDE} openstack"
    print(f'\nuse it      eval "$({me} openrc)"   then: {client} server list')
    print(f"break it    {me} kill node2   start node2   cut node2   heal node2")
    print(f"stop it     {me} down")
    return 0


def _status(lab: Lab) -> None:
    for name in lab.shape.names:
        state = "off" if lab.machine(name).process is None else "cut off" if lab.is_cut(name) else "on"
        print(f"{name:<10} {lab.shape.address(name):<16} {state}")
    print(f"\n{lab.fabricctl(lab.control, 'status')}", end="")
