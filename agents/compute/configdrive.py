"""The config drive: an ISO 9660 disk labelled config-2 with the metadata documents."""

import io
from pathlib import Path

import pycdlib

from agents.compute.metadata import Documents

LABEL = "config-2"
VERSIONS = ("latest", "2018-08-27", "2020-10-14")


def write(path: Path, told: Documents) -> None:
    """Write the disk; it may hold secrets, so that only the owner may read it."""
    files = {
        f"openstack/{version}/{name}": text for version in VERSIONS for name, text in told.openstack.items()
    }
    files |= {f"openstack/content/{name}": content for name, content in told.contents.items()}
    files["ec2/latest/meta-data.json"] = told.ec2_json()
    if "user_data" in told.openstack:
        files["ec2/latest/user-data"] = told.openstack["user_data"]
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=4, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    try:
        known: set[str] = set()
        for name, content in sorted(files.items()):
            parts = name.split("/")
            for depth in range(1, len(parts)):
                folder = "/" + "/".join(parts[:depth])
                if folder not in known:
                    known.add(folder)
                    iso.add_directory(folder, rr_name=parts[depth - 1], joliet_path=folder)
            iso.add_fp(
                io.BytesIO(content), len(content), f"/{name}", rr_name=parts[-1], joliet_path=f"/{name}"
            )
        path.touch(mode=0o600, exist_ok=False)
        iso.write(str(path))
    finally:
        iso.close()
