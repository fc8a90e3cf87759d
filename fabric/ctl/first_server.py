"""The main job of `fabricctl up`: an image, flavors, a network, and a server that answers on it.

All by the public API, as demo (as admin: what only an administrator may do). Each step first looks whether
its result is there, so that a run which was cut off goes on where it stopped.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from fabric.ctl import outside
from fabric.ctl.api import ApiError, Body, Cloud, login
from fabric.ctl.place import Place
from fabric.ctl.progress import Progress
from fabric.ctl.reach import ssh_banner
from fabric.ctl.settings import PUBLIC
from fabric.runtime.config import Config

FLAVORS = {  # name: RAM in MiB, vCPUs, disk in GB
    "m1.nano": (128, 1, 1),
    "m1.micro": (256, 1, 1),
    "m1.tiny": (512, 1, 1),
    "m1.small": (2048, 1, 20),
    "m1.medium": (4096, 2, 40),
    "m1.large": (8192, 4, 80),
    "m1.xlarge": (16384, 8, 160),
}
IMAGE, NETWORK, SUBNET, ROUTER, KEY, SERVER = "fabric-guest", "demo", "demo-v4", "demo", "demo", "first"
CIDR = "10.10.0.0/24"
LOGIN_S, ACTIVE_S, ANSWERS_S, BUILD_S = 30, 120, 120, 900


@dataclass(frozen=True)
class Answering:
    """The server that is there now, and how to get into it."""

    id: str
    login: str  # a command line


class GuestImage:
    """Is built beside whatever else goes on."""

    def __init__(self, place: Place) -> None:
        self.path = place.state / "guest.qcow2"
        self._log = place.logs / "guest-image.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not self.path.exists():
            with self._log.open("ab") as log:
                command = [sys.executable, "-m", "guest.build", "--out", str(self.path)]
                self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self, progress: Progress) -> Path:
        """Raises RuntimeError when it could not be built, TookTooLong."""
        if self._process is not None:
            process = self._process
            if progress.wait(lambda: f"the guest image ({self._log})", process.poll, BUILD_S) != 0:
                raise RuntimeError(f"the guest image could not be built, see {self._log}")
        return self.path


def run(place: Place, config: Config, image: GuestImage, progress: Progress) -> Answering:
    """Raises ApiError, RuntimeError, TookTooLong."""
    admin = login_admin(config, progress)
    demo = _login(config, "demo", progress)
    with progress.stage("flavors, network, router, security group, keypair"):
        for flavor, (ram, vcpus, disk) in FLAVORS.items():
            _flavor(admin, flavor, ram, vcpus, disk)
        network_id = _network(demo)
        routed = outside.ensure_router(demo, ROUTER, SUBNET)
        _open_ports(demo)
        key = _key(demo, place.keys / "first-server")
    with progress.stage("building the guest image"):
        path = image.wait(progress)
    with progress.stage("uploading the guest image"):
        image_id = _image(admin, path)
    with progress.stage("booting the first server"):
        server_id = _server(demo, image_id, network_id)
        server = progress.wait(
            lambda: f"server {server_id} to be ACTIVE, it is {_show(demo, server_id)['status']}",
            lambda: _active(demo, server_id),
            ACTIVE_S,
        )
    address = next(iter(server["addresses"].values()))[0]["addr"]
    _wait_for_answer(progress, "its network", address, network_id)
    if not routed or config.network.physical_networks.get(PUBLIC) != "":  # this machine is not its way out
        return Answering(server_id, f"ip netns exec fabric-{network_id} ssh -i {key} root@{address}")
    floating = outside.ensure_floating(demo, server_id)
    _wait_for_answer(progress, "its floating IP", floating)
    return Answering(server_id, f"ssh -i {key} root@{floating}")


def _wait_for_answer(progress: Progress, way: str, address: str, network_id: str = "") -> None:
    """network_id: from inside of that network. Raises TookTooLong."""
    with progress.stage(f"waiting for its answer over {way}"):
        banner = progress.wait(
            lambda: f"an answer of ssh at {address}", lambda: ssh_banner(address, network_id), ANSWERS_S
        )
        progress.say(f"  {address} answers: {banner}")


def login_admin(config: Config, progress: Progress) -> Cloud:
    """As the administrator. Raises TookTooLong."""
    return _login(config, "admin", progress)


def _login(config: Config, user: str, progress: Progress) -> Cloud:
    """A cloud that has just begun may still be making its first users."""
    last: list[ApiError] = []

    def attempt() -> Cloud | None:
        try:
            return login(config, user)
        except ApiError as error:
            last[:] = [error]
            return None

    return progress.wait(lambda: f"the login of {user}: {last[0]}", attempt, LOGIN_S)


def _flavor(admin: Cloud, name: str, ram: int, vcpus: int, disk: int) -> None:
    if admin.find("compute", "/flavors", name) is None:
        body = {"name": name, "ram": ram, "vcpus": vcpus, "disk": disk, "os-flavor-access:is_public": True}
        admin.post("compute", "/flavors", {"flavor": body})


def _network(demo: Cloud) -> str:
    network = demo.find("network", "/v2.0/networks", NETWORK)
    if network is None:
        network = demo.post("network", "/v2.0/networks", {"network": {"name": NETWORK}})["network"]
    if demo.find("network", "/v2.0/subnets", SUBNET) is None:
        body = {"name": SUBNET, "network_id": network["id"], "ip_version": 4, "cidr": CIDR}
        demo.post("network", "/v2.0/subnets", {"subnet": body})
    return str(network["id"])


def _open_ports(demo: Cloud) -> None:
    """Ping and ssh into the project's default security group."""
    groups = demo.get("network", f"/v2.0/security-groups?name=default&project_id={demo.project_id}")
    group = groups["security_groups"][0]
    rules = {(rule["direction"], rule["protocol"]) for rule in group["security_group_rules"]}
    ssh: Body = {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
    for rule in ({"protocol": "icmp"}, ssh):
        if ("ingress", rule["protocol"]) not in rules:
            body = {"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4", **rule}
            demo.post("network", "/v2.0/security-group-rules", {"security_group_rule": body})


def _key(demo: Cloud, path: Path) -> Path:
    if not path.exists():
        private = ed25519.Ed25519PrivateKey.generate()
        text = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(text)
    if all(row["keypair"]["name"] != KEY for row in demo.get("compute", "/os-keypairs")["keypairs"]):
        loaded = serialization.load_ssh_private_key(path.read_bytes(), None)
        public = loaded.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        demo.post("compute", "/os-keypairs", {"keypair": {"name": KEY, "public_key": public.decode()}})
    return path


def _image(admin: Cloud, path: Path) -> str:
    image = admin.find("image", f"/v2/images?name={IMAGE}", IMAGE)
    if image is None:
        body = {"name": IMAGE, "disk_format": "qcow2", "container_format": "bare", "visibility": "public"}
        image = admin.post("image", "/v2/images", body)
    if image["status"] == "queued":
        admin.upload("image", f"/v2/images/{image['id']}/file", path)
    return str(image["id"])


def _server(demo: Cloud, image_id: str, network_id: str) -> str:
    server = demo.find("compute", "/servers", SERVER)
    if server is None:
        flavors = demo.get("compute", "/flavors")["flavors"]
        flavor = next(flavor["id"] for flavor in flavors if flavor["name"] == "m1.nano")
        body = {
            "name": SERVER,
            "imageRef": image_id,
            "flavorRef": flavor,
            "key_name": KEY,
            "networks": [{"uuid": network_id}],
        }
        server = demo.post("compute", "/servers", {"server": body})["server"]
    return str(server["id"])


def _show(demo: Cloud, server_id: str) -> Body:
    server: Body = demo.get("compute", f"/servers/{server_id}")["server"]
    return server


def _active(demo: Cloud, server_id: str) -> Body | None:
    server = _show(demo, server_id)
    if server["status"] == "ERROR":
        raise RuntimeError(f"server {server_id} is in ERROR: {json.dumps(server.get('fault', {}))}")
    return server if server["status"] == "ACTIVE" else None
