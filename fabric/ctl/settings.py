"""The configuration of a cloud on one machine: what is missing is made up once, what is there is kept."""

import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from fabric.ctl.certificate import Authority
from fabric.ctl.place import Place
from fabric.runtime.config import Config, load

PORTS = range(9400, 9500)
GATEWAY = "127.0.0.1:8780"
Sections = Mapping[str, Mapping[str, Any]]


class Refused(Exception):
    """What was asked for cannot be done; the message says what would help."""


@dataclass(frozen=True)
class Wish:
    """What the command line asks of a new configuration."""

    listen: str = ""
    compute_driver: str = ""
    network_driver: str = ""
    node: str = ""
    plain_etcd: bool = False


def ensure(place: Place, wish: Wish) -> tuple[Config, bool]:
    """The configuration, and whether it is new. Raises Refused when the file contradicts the wish."""
    place.make()
    if place.config.exists():
        config = load(place.config)
        _agrees(place.config, config, wish)
        return config, False
    _write_private(place.config, render(_sections(place, wish)))
    return load(place.config), True


def is_free(address: str) -> bool:
    """Whether a server could listen at host:port."""
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError:
            return False
    return True


def _sections(place: Place, wish: Wish) -> Sections:
    controller, agent, etcd = _free_addresses()
    listen = wish.listen or GATEWAY
    if not is_free(listen):
        raise Refused(
            f"{listen} is in use or no address of this machine: choose another with --listen HOST:PORT"
        )
    host, _, port = listen.rpartition(":")
    public_url = f"http://{_own_address() if host in ('0.0.0.0', '[::]') else host}:{port}"
    master_key = place.keys / "master.key"
    if not master_key.exists():
        _write_private(master_key, Fernet.generate_key().decode() + "\n")
    return {
        "node": {"name": wish.node or socket.gethostname(), "state_dir": str(place.state)},
        "etcd": {"endpoints": [etcd], **({} if wish.plain_etcd else _etcd_tls(place))},
        "controller": {"listen": controller, "master_key_file": str(master_key)},
        "gateway": {"listen": listen, "public_url": public_url, "controllers": [controller]},
        "agent": {"listen": agent},
        "compute": {
            "driver": wish.compute_driver or "libvirt",
            "libvirt_uri": f"qemu+unix:///system?socket={place.libvirt}/libvirt-sock",
        },
        "network": {"driver": wish.network_driver or "linux"},
        "bootstrap": {
            "admin_password": secrets.token_urlsafe(18),
            "demo_password": secrets.token_urlsafe(18),
            "public_url": public_url,
        },
    }


def _free_addresses() -> list[str]:
    """Of the controller, the agent and etcd, whose peers are served at the port after (plan.py)."""
    found: list[str] = []
    for port in range(PORTS.start, PORTS.stop, 2):
        pair = [f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"]
        if all(map(is_free, pair)):
            found += pair
        if len(found) == 4:
            return found[:3]
    raise Refused(f"no free ports from {PORTS.start} to {PORTS.stop - 1} on 127.0.0.1")


def _etcd_tls(place: Place) -> dict[str, str]:
    authority = Authority(place.keys)
    authority.ensure()
    authority.ensure_pair("etcd", ["127.0.0.1", "localhost"])
    client = authority.ensure_pair("root", [])
    return {
        "ca_file": str(authority.certificate),
        "cert_file": str(client.certificate),
        "key_file": str(client.key),
    }


def _agrees(path: Path, config: Config, wish: Wish) -> None:
    for option, wanted, found in (
        ("--listen", wish.listen, config.gateway.listen),
        ("--compute-driver", wish.compute_driver, config.compute.driver),
        ("--network-driver", wish.network_driver, config.network.driver),
        ("--node", wish.node, config.node.name),
    ):
        if wanted and wanted != found:
            raise Refused(
                f"{option} {wanted}: {path} says {found}; edit it, or `fabricctl down --wipe` first"
            )


def _own_address() -> str:
    """The address from which the default route leaves; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def render(sections: Sections) -> str:
    """TOML of strings, numbers and lists of them: their JSON form is TOML too."""
    lines = [
        "# Written by `fabricctl up`, which never changes it again; docs/configuration.md names all keys."
    ]
    for title, keys in sections.items():
        lines += ["", f"[{title}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def _write_private(path: Path, text: str) -> None:
    """It holds secrets: mode 0600 from the start, whole or not at all."""
    new = path.with_name(path.name + ".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        os.fsync(file.fileno())
    new.replace(path)
