"""The configuration of a cloud on one machine: what is missing is made up once, what is there is kept."""

import argparse
import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from fabric.ctl.place import Place
from fabric.node.member import CONTROL, alternatives, controller_user, node_user
from fabric.runtime.certificate import Authority, KeyPair, write_private
from fabric.runtime.config import Config, load
from fabric.runtime.etcd import MEMBER
from fabric.runtime.etcd_users import ROOT_USER

PORTS = range(9400, 9500)
LOOPBACK = "127.0.0.1"
GATEWAY_PORT = 8780
PUBLIC = "public"  # the physical network that leads outside, and the first external network
_MIGRATION_PORT = 16514  # libvirt's own for TLS
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
    address: str = ""
    physical_networks: Mapping[str, str] = field(default_factory=dict)
    plain_etcd: bool = False
    tls: bool = False  # of the gateway

    @property
    def name(self) -> str:
        """The node's."""
        return self.node or socket.gethostname()


@dataclass(frozen=True)
class Ports:
    """host:port of what a machine may serve; etcd's peers are served at the port after etcd's (plan.py)."""

    controller: str
    agent: str
    etcd: str
    join: str


def add_options(parser: argparse.ArgumentParser) -> None:
    """What a new machine may be told."""
    parser.add_argument(
        "--node", default="", metavar="NAME", help="of this machine in the cloud (default: host name)"
    )
    parser.add_argument(
        "--address", default="", help=f"at which other nodes reach this machine (default: {LOOPBACK})"
    )
    parser.add_argument(
        "--listen", default="", metavar="HOST:PORT", help=f"of the API (default: the address, {GATEWAY_PORT})"
    )
    parser.add_argument("--compute-driver", default="", choices=("libvirt", "fake"), help="default: libvirt")
    parser.add_argument("--network-driver", default="", choices=("linux", "fake"), help="default: linux")
    parser.add_argument(
        "--physical-network",
        default=[],
        action="append",
        metavar="NAME=INTERFACE",
        help="a network outside the cloud that this machine has; may be repeated",
    )


def wish(arguments: argparse.Namespace, address: str = "") -> Wish:
    """What the command line asks; address: where it names none. Raises Refused."""
    networks = {}
    for text in arguments.physical_network:
        name, found, interface = text.partition("=")
        if not (name and found and interface):
            raise Refused(f"--physical-network {text}: it must be NAME=INTERFACE")
        networks[name] = interface
    return Wish(
        arguments.listen,
        arguments.compute_driver,
        arguments.network_driver,
        arguments.node,
        arguments.address or address,
        networks,
        getattr(arguments, "plain_etcd", False),
        getattr(arguments, "tls", False),
    )


def ensure(place: Place, wish: Wish) -> tuple[Config, bool]:
    """The configuration, and whether it is new. Raises Refused when the file contradicts the wish."""
    place.make()
    if place.config.exists():
        config = load(place.config)
        _agrees(place.config, config, wish)
        return config, False
    write_private(place.config, render(_sections(place, wish)).encode())
    return load(place.config), True


def upgrade(place: Place, config: Config) -> Config:
    """Certificates of a control machine that say what its file says, before any of its processes runs.

    A cloud that began when only etcd had TLS gets it everywhere.
    """
    if not (place.keys / "ca.key").exists():
        return config
    certify(place, config.node.name, config.node.address, config.node.roles)
    if config.tls.ca_file or not config.etcd.ca_file:
        return config
    text = place.config.read_text()
    addresses = (f"{config.node.address}:{port}" for port in reversed(PORTS))
    join = next(address for address in addresses if is_free(address) and address not in text)
    joining = {"join_listen": join, "authority_dir": str(place.keys)}
    text = text.replace("[controller]\n", "[controller]\n" + _keys(joining) + "\n", 1)
    tls = tls_files(place.keys / "ca.pem", KeyPair.at(place.keys, "node"))
    write_private(place.config, f"{text}\n[tls]\n{_keys(tls)}\n".encode())
    return load(place.config)


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


def gateway_address(wish: Wish) -> str:
    """Where the gateway shall listen. Raises Refused."""
    listen = wish.listen or f"{wish.address or LOOPBACK}:{GATEWAY_PORT}"
    if not is_free(listen):
        raise Refused(
            f"{listen} is in use or no address of this machine: choose another with --listen HOST:PORT"
        )
    return listen


def node_sections(place: Place, wish: Wish, agent: str, roles: Sequence[str]) -> Sections:
    """What every node has, whatever its roles."""
    return {
        "node": {
            "name": wish.name,
            "state_dir": str(place.state),
            "address": wish.address or LOOPBACK,
            "roles": list(roles),
        },
        "tls": tls_files(place.keys / "ca.pem", KeyPair.at(place.keys, "node")),
        "agent": {"listen": agent},
        "compute": {
            "driver": wish.compute_driver or "libvirt",
            "libvirt_uri": f"qemu+unix:///system?socket={place.libvirt}/libvirt-sock",
            **({"migration_listen": f"{wish.address}:{_MIGRATION_PORT}"} if wish.address else {}),
        },
        "network": {
            "driver": wish.network_driver or "linux",
            "physical_networks": dict(wish.physical_networks),
        },
    }


def gateway_section(place: Place, address: str, reached: str, listen: str, *, tls: bool) -> dict[str, str]:
    """reached: host:port for clients; tls: with the node's certificate of the cloud's own authority.

    Raises Refused.
    """
    if not tls:
        return {"listen": listen, "public_url": f"http://{reached}"}
    if reached.rpartition(":")[0] not in (LOOPBACK, address):
        raise Refused(f"--tls: the certificate is for {address}, not for {reached}: see --address")
    pair = KeyPair.at(place.keys, "node")
    files = {"cert_file": str(pair.certificate), "key_file": str(pair.key)}
    return {"listen": listen, "public_url": f"https://{reached}", **files}


def members_file(place: Place) -> dict[str, str]:
    """Of the section of etcd."""
    return {"members_file": str(place.state / "etcd-members")}


def tls_files(authority: Path, pair: KeyPair) -> dict[str, str]:
    """As the sections of TLS name them."""
    return {"ca_file": str(authority), "cert_file": str(pair.certificate), "key_file": str(pair.key)}


def _sections(place: Place, wish: Wish) -> Sections:
    ports = free_addresses(wish.address or LOOPBACK)
    listen = gateway_address(wish)
    host, _, port = listen.rpartition(":")
    host = _own_address() if host in ("0.0.0.0", "[::]") else host
    gateway = gateway_section(place, wish.address or LOOPBACK, f"{host}:{port}", listen, tls=wish.tls)
    master_key = place.keys / "master.key"
    if not master_key.exists():
        write_private(master_key, Fernet.generate_key() + b"\n")
    certify(place, wish.name, wish.address or LOOPBACK, CONTROL)
    joining = {} if wish.plain_etcd else {"join_listen": ports.join, "authority_dir": str(place.keys)}
    known_to_etcd = tls_files(place.keys / "ca.pem", KeyPair.at(place.keys, "controller"))
    outside = {
        PUBLIC: "",
        **wish.physical_networks,
    }  # unless it is told otherwise, this machine is the way out
    return {
        **node_sections(place, replace(wish, physical_networks=outside), ports.agent, CONTROL),
        "etcd": {
            "endpoints": [ports.etcd],
            **members_file(place),
            **({} if wish.plain_etcd else known_to_etcd),
        },
        "controller": {"listen": ports.controller, "master_key_file": str(master_key), **joining},
        "gateway": gateway,
        "bootstrap": {
            "admin_password": secrets.token_urlsafe(18),
            "demo_password": secrets.token_urlsafe(18),
            "public_url": gateway["public_url"],
        },
    }


def free_addresses(host: str) -> Ports:
    """Those that nobody uses. Raises Refused."""
    found: list[str] = []
    for port in range(PORTS.start, PORTS.stop, 2):
        pair = [f"{host}:{port}", f"{host}:{port + 1}"]
        if all(map(is_free, pair)):
            found += pair
        if len(found) == 6:
            return Ports(found[0], found[1], found[2], found[4])
    raise Refused(
        f"no free ports from {PORTS.start} to {PORTS.stop - 1} on {host}, or no address of this machine"
    )


def certify(place: Place, node: str, address: str, roles: Sequence[str]) -> None:
    """The authority, and the certificates of all that runs on its machine."""
    authority = Authority(place.keys)
    authority.ensure()
    authority.ensure_pair("etcd", MEMBER, [LOOPBACK, "localhost", address, MEMBER])
    authority.ensure_pair(ROOT_USER, ROOT_USER, [])
    authority.ensure_pair("controller", controller_user(node), [])
    authority.ensure_pair("node", node_user(node), alternatives(node, address, roles))


def _agrees(path: Path, config: Config, wish: Wish) -> None:
    for option, wanted, found in (
        ("--listen", wish.listen, config.gateway.listen),
        ("--compute-driver", wish.compute_driver, config.compute.driver),
        ("--network-driver", wish.network_driver, config.network.driver),
        ("--node", wish.node, config.node.name),
        ("--address", wish.address, config.node.address),
    ):
        if wanted and wanted != found:
            raise Refused(
                f"{option} {wanted}: {path} says {found}; edit it, or `fabricctl down --wipe` first"
            )
    if wish.tls and not config.gateway.cert_file:
        raise Refused(f"--tls: {path} has no [gateway] cert_file; edit it, or `fabricctl down --wipe` first")


def _own_address() -> str:
    """The address from which the default route leaves; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def render(sections: Sections) -> str:
    """TOML of strings, numbers, lists and tables of them: but for tables their JSON form is TOML too."""
    lines = ["# Written by `fabricctl`, which never changes it again; docs/configuration.md names all keys."]
    for title, keys in sections.items():
        lines += ["", f"[{title}]", _keys(keys)]
    return "\n".join(lines) + "\n"


def _keys(keys: Mapping[str, Any]) -> str:
    return "\n".join(f"{key} = {_toml(value)}" for key, value in keys.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    return json.dumps(value)
