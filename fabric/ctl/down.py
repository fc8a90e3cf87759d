"""fabricctl down: stop the cloud of this machine in order; with --wipe leave nothing of it."""

import argparse
import shutil
from pathlib import Path

from fabric.ctl import leftover
from fabric.ctl.guests import Guests
from fabric.ctl.place import Place
from fabric.ctl.plan import ETCD, SUPERVISOR, owns_libvirt, programs
from fabric.ctl.program import Program
from fabric.ctl.progress import Progress
from fabric.runtime.config import Config, load


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wipe", action="store_true", help="leave nothing: no data, no configuration, no logs"
    )
    parser.add_argument(
        "--guest-timeout",
        type=float,
        default=30,
        metavar="SECONDS",
        help="how long guests may take to shut down (default: %(default)s)",
    )


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Supervisor first: nothing comes back. Then who changes the world, then the world, then etcd."""
    progress = Progress()
    if not place.config.exists():
        print("there is no cloud here")
        return 0
    config = load(place.config)
    desk = place.desk
    stop_supervisor = desk.stop(SUPERVISOR, 10)
    plan = programs(place, config)
    ran = stop_supervisor is not None or any(desk.find(program.name) for program in plan)
    for program in reversed([program for program in plan if program.name not in WORLD]):
        _stop(progress, place, program)
    _end_guests(progress, place, config, arguments.guest_timeout, wipe=arguments.wipe)
    leftover.dismiss_guards(config)
    leftover.remove_networks(config, progress.say)
    for program in reversed([program for program in plan if program.name in WORLD]):
        _stop(progress, place, program)
    if arguments.wipe:
        _wipe(progress, place)
    elif ran:
        progress.say(f"stopped; the data is in {place.state}")
    else:
        progress.say("it did not run")
    return 0


WORLD = (ETCD, "virtlogd", "libvirtd")  # needed until the guests are off


def _stop(progress: Progress, place: Place, program: Program) -> None:
    ended = place.desk.stop(program.name, program.stop_timeout_s)
    if ended is not None:
        progress.say(f"{program.name} {'stopped' if ended else 'did not stop in time and was killed'}")


def _end_guests(progress: Progress, place: Place, config: Config, timeout_s: float, *, wipe: bool) -> None:
    if config.compute.driver != "libvirt":
        return
    with Guests.connect(config.compute.libvirt_uri) as guests:
        if guests is not None:
            guests.shut_down(0 if wipe else timeout_s, progress)
            if wipe:
                guests.undefine()
    if wipe and owns_libvirt(place, config):
        leftover.kill_qemus(place.libvirt)  # of a libvirtd that did not run


def _wipe(progress: Progress, place: Place) -> None:
    for path in (place.state, place.logs, place.run):
        shutil.rmtree(path, ignore_errors=True)
    place.config.unlink(missing_ok=True)
    for parent in {place.config.parent, place.state.parent}:
        _remove_empty(parent)
    progress.say("nothing is left")


def _remove_empty(directory: Path) -> None:
    """The configuration's directory, or the one of a cloud with --state-dir; never what holds more."""
    try:
        directory.rmdir()
    except OSError:
        return
