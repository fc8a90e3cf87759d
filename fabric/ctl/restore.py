"""fabricctl restore: etcd as a backup has it. On every machine with an etcd, while all of them are stopped."""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from fabric.ctl.backup import CLUSTER, SNAPSHOT
from fabric.ctl.place import Place
from fabric.ctl.plan import ETCD, etcd_peer, programs
from fabric.ctl.settings import Refused
from fabric.runtime.config import Config, load


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = "On every machine with an etcd, between `fabricctl down` on all of them and `up`."
    parser.add_argument("file", type=Path, metavar="FILE", help="of `fabricctl backup`")
    parser.add_argument(
        "--alone", action="store_true", help="the etcd of this machine is the only one that is left"
    )


def run(place: Place, arguments: argparse.Namespace) -> int:
    config = load(place.config)
    try:
        if ETCD not in config.node.roles:
            raise Refused("this machine has no etcd")
        if any(place.desk.find(program.name) for program in programs(place, config)):
            raise Refused("the cloud runs here: `fabricctl down` comes first")
        _restore(place, config, arguments.file, alone=arguments.alone)
    except (Refused, OSError, tarfile.TarError, KeyError) as error:
        print(f"fabricctl restore: {error}", file=sys.stderr)
        return 1
    print(
        f"{place.state / 'etcd'} is as of {arguments.file}; what was there is beside it; now `fabricctl up`"
    )
    return 0


def _restore(place: Place, config: Config, file: Path, *, alone: bool) -> None:
    """Raises Refused, OSError, TarError, KeyError."""
    data, before = place.state / "etcd", place.state / "etcd.before"
    own = f"{'https' if config.etcd.ca_file else 'http'}://{etcd_peer(config.etcd.endpoints[0])}"
    with tempfile.TemporaryDirectory(dir=place.state) as name, tarfile.open(file) as archive:
        for part in (CLUSTER, SNAPSHOT):
            stream = archive.extractfile(part)
            assert stream is not None
            with stream, (Path(name) / part).open("wb") as target:
                shutil.copyfileobj(stream, target)
        cluster = f"{config.node.name}={own}" if alone else (Path(name) / CLUSTER).read_text()
        command = [
            *("etcdctl", "snapshot", "restore", str(Path(name) / SNAPSHOT), f"--data-dir={name}/etcd"),
            *(f"--name={config.node.name}", f"--initial-cluster={cluster}"),
            f"--initial-advertise-peer-urls={own}",
        ]
        done = subprocess.run(
            command,
            env={"ETCDCTL_API": "3", "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Refused(done.stderr.strip().splitlines()[-1])
        shutil.rmtree(before, ignore_errors=True)
        if data.exists():
            data.replace(before)
        (Path(name) / "etcd").replace(data)
    if config.etcd.members_file:
        Path(config.etcd.members_file).unlink(missing_ok=True)
