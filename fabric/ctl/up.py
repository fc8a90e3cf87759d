"""fabricctl up: the cloud of this machine, from nothing or where it stopped, to a server that answers."""

import argparse
import ipaddress
import os
import shlex
import subprocess
import sys
from pathlib import Path

from fabric.ctl import etcd_member, first_server, outside, settings
from fabric.ctl.api import ApiError, api_url
from fabric.ctl.health import Check, checks
from fabric.ctl.lock import held
from fabric.ctl.place import Place
from fabric.ctl.plan import SUPERVISOR
from fabric.ctl.progress import Progress, TookTooLong
from fabric.runtime.config import Config
from fabric.runtime.errors import FabricError

HEALTHY_S = 60
Subnet = ipaddress.IPv4Network | None


def add(parser: argparse.ArgumentParser) -> None:
    settings.add_options(parser)
    parser.add_argument("--plain-etcd", action="store_true", help="no TLS between etcd and its clients")
    parser.add_argument(
        "--tls",
        action="store_true",
        help="the API over https, with a certificate of the cloud's own authority",
    )
    parser.add_argument(
        "--public",
        type=ipaddress.IPv4Network,
        metavar="CIDR",
        help="subnet of the external network (default: one of 172.24.0.0/16 that is free here)",
    )
    parser.add_argument(
        "--without-guest", action="store_true", help="start the cloud only, boot no server, later neither"
    )


def run(place: Place, arguments: argparse.Namespace) -> int:
    progress = Progress()
    try:
        config, new = settings.ensure(place, settings.wish(arguments))
        may_run(config)
        with held(place.run / "up.lock") as won:
            if not won:
                raise settings.Refused("another `fabricctl up` is at work here")
            if not place.desk.find(SUPERVISOR):
                config = settings.upgrade(place, config)
            if arguments.without_guest:
                _done(place).touch()
            guest = _wants_guest(place, config)
            if not guest and _runs(place, config):
                print(f"the cloud runs already at {api_url(config)}; `fabricctl status` tells more")
                print("\n".join(_usage(place)))
                return 0
            return _bring_up(place, config, progress, arguments.public, new=new, guest=guest)
    except (settings.Refused, ApiError, FabricError, RuntimeError, TookTooLong) as error:
        print(f"fabricctl up: {error}\nlogs: {place.logs}", file=sys.stderr)
        return 1


def _bring_up(
    place: Place, config: Config, progress: Progress, public: Subnet, *, new: bool, guest: bool
) -> int:
    progress.say(f"{'new configuration' if new else 'configuration'} {place.config}, logs in {place.logs}")
    image = first_server.GuestImage(place)
    if guest:
        image.start()
    start(place, config, progress)
    _lead_outside(place, config, progress, public)
    lines = []
    if guest:
        answering = first_server.run(place, config, image, progress)
        _done(place).touch()
        lines = ["", f"the first server {answering.id} answers; to log in:", f"  {answering.login}"]
    print("\n".join(["", *progress.summary(), *lines, *_usage(place)]))
    return 0


def _lead_outside(place: Place, config: Config, progress: Progress, public: Subnet) -> None:
    """Of a cloud that was founded here, once: what its owner deleted is not made again."""
    done = _outside_done(place)
    if config.bootstrap.admin_password and not done.exists():
        with progress.stage("the external network, the default subnet pool"):
            admin = first_server.login_admin(config, progress)
            outside.ensure_public(admin, public)
            outside.ensure_pool(admin)
        done.touch()


def may_run(config: Config) -> None:
    """Raises Refused."""
    if os.geteuid() != 0 and (config.compute.driver, config.network.driver) != ("fake", "fake"):
        raise settings.Refused(
            "guests and networks need root; others may use --compute-driver fake --network-driver fake"
        )


def start(place: Place, config: Config, progress: Progress) -> None:
    """All that this machine runs, until it is healthy. Raises RuntimeError, TookTooLong, FabricError."""
    with progress.stage("starting the processes"):
        supervisor = None if place.desk.find(SUPERVISOR) else _start_supervisor(place)
        _wait_for_health(place, config, progress, supervisor)
        etcd_member.ensure_vote(config)


def _runs(place: Place, config: Config) -> bool:
    if not place.desk.find(SUPERVISOR):
        return False
    return all(check() == "ok" for check in checks(place, config).values())


def _wants_guest(place: Place, config: Config) -> bool:
    """Whether the main job can be done here and was not yet, or not to its end."""
    founded_here = bool(config.bootstrap.admin_password)
    return founded_here and config.compute.driver == "libvirt" and not _done(place).exists()


def mark_founded(place: Place) -> None:
    """The cloud was founded elsewhere: this machine boots no first server and makes no external network."""
    for mark in (_done(place), _outside_done(place)):
        mark.touch()


def _outside_done(place: Place) -> Path:
    return place.state / "outside.done"


def _done(place: Place) -> Path:
    """Marks that the main job was done once, or is not wanted: what its owner deleted is not made again."""
    return place.state / "first-server.done"


def _start_supervisor(place: Place) -> subprocess.Popen[bytes]:
    """In a session of its own, so that it outlives us and our terminal."""
    command = [sys.executable, "-m", "fabric.ctl", *place.options, "supervise"]
    with place.desk.log_file(SUPERVISOR).open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )


def _wait_for_health(
    place: Place, config: Config, progress: Progress, supervisor: subprocess.Popen[bytes] | None
) -> None:
    """Raises RuntimeError when the supervisor ended, TookTooLong."""
    pending = checks(place, config)
    verdicts: dict[str, str] = {}

    def look() -> bool | None:
        if supervisor is not None and supervisor.poll() is not None:
            raise RuntimeError(f"the supervisor ended at once:\n{_end_of_log(place, SUPERVISOR)}")
        for name, check in list(pending.items()):
            verdicts[name] = _first_line(check)
            if verdicts[name] == "ok":
                del pending[name]
                progress.say(f"  {name} is ready")
        return None if pending else True

    try:
        progress.wait(lambda: ", ".join(f"{name} ({verdicts[name]})" for name in pending), look, HEALTHY_S)
    except TookTooLong as error:
        ends = [f"--- {name}\n{_end_of_log(place, name)}" for name in pending]
        raise TookTooLong("\n".join([str(error), *ends])) from error


def _end_of_log(place: Place, name: str) -> str:
    try:
        text = place.desk.log_file(name).read_text(errors="replace")
    except FileNotFoundError:
        return "(it was not started yet)"
    return "\n".join(text.splitlines()[-8:])


def _first_line(check: Check) -> str:
    return check().partition("\n")[0]


def _usage(place: Place) -> list[str]:
    me = " ".join(
        [shlex.quote(str(Path(sys.argv[0]))), *(place.options if place.state.name == "state" else [])]
    )
    return [
        "",
        f'use it      eval "$({me} openrc)"   then: openstack server list   (openrc demo: as demo)',
        f"look at it  {me} status   logs: {place.logs}",
        f"stop it     {me} down     (--wipe: with all its data)",
    ]
