"""fabricctl backup: what etcd holds, as of one moment, in a file; the cloud works on meanwhile."""

import argparse
import asyncio
import sys
import tarfile
import tempfile
from pathlib import Path

from fabric.ctl.place import Place
from fabric.node.access import as_root
from fabric.runtime.certificate import write_private
from fabric.runtime.config import Config, load
from fabric.runtime.errors import FabricError
from fabric.runtime.etcd_members import Members, snapshot

SNAPSHOT, CLUSTER = "etcd.db", "cluster"  # in the file: what etcd holds, and who its members were


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = "The keys are not in it (docs/operating.md: Backup): secrets in it rest encrypted."
    parser.add_argument("file", type=Path, metavar="FILE")


def run(place: Place, arguments: argparse.Namespace) -> int:
    config = load(place.config)
    try:
        with tempfile.TemporaryDirectory(dir=place.state) as name:
            directory = Path(name)
            cluster = asyncio.run(_save(config, directory / SNAPSHOT))
            write_private(directory / CLUSTER, cluster.encode())
            new = arguments.file.with_name(f"{arguments.file.name}.new")
            new.touch(mode=0o600)
            with tarfile.open(new, "w") as archive:
                for part in (CLUSTER, SNAPSHOT):
                    archive.add(directory / part, part)
            new.replace(arguments.file)
    except (FabricError, OSError) as error:
        print(f"fabricctl backup: {error}", file=sys.stderr)
        return 1
    print(f"{arguments.file}: {arguments.file.stat().st_size} bytes")
    return 0


async def _save(config: Config, file: Path) -> str:
    async with as_root(config) as etcd:
        await snapshot(etcd, file)
        return await Members(etcd).cluster()
