"""The Debian packages that the guest is made of: which, their digests, the files taken from them."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guest.command import run
from guest.error import BuildError

KERNEL = "KERNEL"
_KERNEL_METAPACKAGE = "linux-image-cloud-amd64"


@dataclass(frozen=True)
class Wanted:
    """A line of packages.txt."""

    name: str
    globs: tuple[str, ...]


@dataclass(frozen=True)
class Archive:
    """A package file as apt would fetch it now."""

    name: str
    file_name: str
    sha256: str


def read_wanted(text: str) -> list[Wanted]:
    """Parse packages.txt; the kernel's name is looked up in the package lists."""
    wanted = []
    for line in text.splitlines():
        name, *globs = line.split("#")[0].split() or [""]
        if name:
            wanted.append(Wanted(_kernel() if name == KERNEL else name, tuple(globs)))
    return wanted


def resolve(names: Sequence[str]) -> list[Archive]:
    """Where apt has the packages, in the order of the names. Raises BuildError when apt does not know one."""
    lines = run("apt-get", "--print-uris", "download", *names).splitlines()
    found = re.findall(r"^'\S+' (\S+) \d+ SHA256:(\w+)$", "\n".join(lines), re.MULTILINE)
    archives = {
        name: Archive(name, file_name, sha256)
        for file_name, sha256 in found
        for name in (file_name.split("_")[0],)
    }
    missing = [name for name in names if name not in archives]
    if missing:
        raise BuildError(f"apt does not know {', '.join(missing)}; run apt-get update")
    return [archives[name] for name in names]


def fetch(archives: Sequence[Archive], directory: Path) -> None:
    """Have every package file in the directory, whole; what is there already is not fetched again."""
    directory.mkdir(parents=True, exist_ok=True)
    lacking = [archive for archive in archives if not _is_whole(archive, directory)]
    if lacking:
        options = ("-q", "-o", "APT::Sandbox::User=")
        run("apt-get", *options, "download", *(archive.name for archive in lacking), cwd=directory)
    broken = [archive.file_name for archive in lacking if not _is_whole(archive, directory)]
    if broken:
        raise BuildError(f"downloaded, but not with the digest of the package lists: {', '.join(broken)}")


def unpack(archive: Archive, directory: Path, into: Path) -> Path:
    """Unpack one package file below its name; nothing is installed and no maintainer script runs."""
    target = into / archive.name
    target.mkdir(parents=True)
    run("dpkg-deb", "--extract", directory / archive.file_name, target)
    return target


def _kernel() -> str:
    match = re.search(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", _KERNEL_METAPACKAGE))
    if match is None:
        raise BuildError(f"apt does not know {_KERNEL_METAPACKAGE}; run apt-get update (amd64 only)")
    return match[1]


def _is_whole(archive: Archive, directory: Path) -> bool:
    try:
        with (directory / archive.file_name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == archive.sha256
    except FileNotFoundError:
        return False
