"""The image, built once, and a key to log in with."""

import subprocess
from pathlib import Path

import pytest

from guest.build import build


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("image") / "fabric-guest.qcow2"
    build(out)
    return out


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture(scope="session")
def public_key(key: Path) -> str:
    return key.with_suffix(".pub").read_text().strip()
