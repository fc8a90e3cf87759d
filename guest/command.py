"""Running the host's tools."""

import os
import shutil
import subprocess
from pathlib import Path

from guest.error import BuildError

_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"  # where Debian keeps mke2fs and sfdisk


def run(*command: str | Path, stdin: str = "", cwd: Path | None = None) -> str:
    """Run a tool and return what it printed. Raises BuildError with its complaint."""
    name = str(command[0])
    program = shutil.which(name, path=_PATH)
    if program is None:
        raise BuildError(f"{name} is not installed; packaging/debian-packages.txt names its package")
    result = subprocess.run(
        [program, *map(str, command[1:])],
        input=stdin,
        cwd=cwd,
        env={**os.environ, "PATH": _PATH, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        complaint = result.stderr.strip() or result.stdout.strip()
        raise BuildError(f"{name} failed ({result.returncode}): {complaint}")
    return result.stdout
