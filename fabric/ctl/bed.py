"""A cloud of several nodes on one machine: each is a machine of its own, with wires that can be cut.

    outside ── bridge underlay ── u-<node> ═ eth0 of each node: how nodes reach each other
            └─ bridge public ──── p-<node> ═ ext0 of each node: the physical network "public"

Outside has an address on both: clients reach the API from there, and floating IPs.
"""

import ipaddress
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fabric.ctl.machine import Machine
from fabric.ctl.place import Place, place
from fabric.runtime.config import Config, load

OUTSIDE = "outside"
UP_S = 300.0
FABRICCTL = str(Path(sys.executable).parent / "fabricctl")
_HOST_LINK = "fabric-lab"


@dataclass(frozen=True)
class Shape:
    """What a lab is made of; it is kept beside the nodes."""

    nodes: int = 3
    controls: int = 1  # the first nodes: each has an etcd, a controller and a gateway
    controllers: int = 1  # the first nodes; each has a gateway too, and those beyond controls no etcd
    underlay: str = "100.64.0.0/24"
    public: str = "203.0.113.0/24"
    compute_driver: str = "libvirt"
    network_driver: str = "linux"
    guest: bool = False  # whether node1 boots the first server
    reachable: bool = False  # from the network of the machine that the lab runs on

    @property
    def names(self) -> list[str]:
        """Of the nodes."""
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    def address(self, name: str) -> str:
        """Of a node in the underlay."""
        return str(ipaddress.ip_network(self.underlay)[int(name.removeprefix("node"))])


class Lab:
    """Finds the lab of a directory, running or not. Verbs raise RuntimeError with what went wrong."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()

    @property
    def exists(self) -> bool:
        return (self.directory / "lab.json").exists()

    @property
    def shape(self) -> Shape:
        return Shape(**json.loads((self.directory / "lab.json").read_text()))

    @property
    def control(self) -> str:
        """The first node that is on and has a controller."""
        holders = self.shape.names[: self.shape.controls]
        return next((name for name in holders if self.machine(name).process is not None), holders[0])

    def machine(self, name: str) -> Machine:
        """A node, or what is outside."""
        if name != OUTSIDE and name not in self.shape.names:
            raise RuntimeError(f"there is no {name} here: {', '.join([OUTSIDE, *self.shape.names])}")
        return Machine(self.directory / name / "machine", name)

    def place(self, name: str) -> Place:
        """Where a node keeps its things."""
        return place(self.directory / name, None)

    def config(self, name: str) -> Config:
        return load(self.place(name).config)

    def fabricctl(self, name: str, *arguments: str, timeout_s: float = UP_S) -> str:
        """What fabricctl prints on a node."""
        command = (FABRICCTL, "--state-dir", str(self.directory / name), *arguments)
        return self.machine(name).run(*command, timeout_s=timeout_s)

    def up(self, shape: Shape, say: Callable[[str], None] = lambda _: None) -> None:
        """Make it, or switch on what of it is off and add the nodes that it has not yet."""
        if self.exists:
            shape = replace(self.shape, nodes=max(shape.nodes, self.shape.nodes))
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "lab.json").write_text(json.dumps(asdict(shape)))
        self._wire_outside()
        first, *others = shape.names
        if not self._is_member(first):
            self._power(first)
            guest = () if shape.guest else ("--without-guest",)
            self.fabricctl(first, "up", *guest, "--public", shape.public, *self._options(first))
        else:
            self._switch_on(first)
        say(f"{first} runs the cloud")
        with ThreadPoolExecutor(2) as pool:
            for name in pool.map(self._bring, others):
                say(f"{name} is a node of it")

    def down(self) -> None:
        """Nothing is left of it."""
        if self.exists:
            for name in [*self.shape.names, OUTSIDE]:
                self.machine(name).wipe()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, name: str) -> None:
        """Switch a node on, and bring up what it ran."""
        self._power(name)
        self.fabricctl(name, "up", "--without-guest")

    def kill(self, name: str) -> None:
        """Cut the node's power."""
        self.machine(name).kill()

    def forget(self, name: str) -> None:
        """The last node is no part of it any more; the cloud was told before (`fabricctl node remove`)."""
        self.machine(name).wipe()
        shutil.rmtree(self.directory / name)
        shape = replace(self.shape, nodes=self.shape.nodes - 1)
        (self.directory / "lab.json").write_text(json.dumps(asdict(shape)))

    def cut(self, name: str) -> None:
        """The node reaches no other, and none reaches it."""
        self.machine(OUTSIDE).run("ip", "link", "set", f"u-{name}", "down")

    def heal(self, name: str) -> None:
        """Undo the cut."""
        self.machine(OUTSIDE).run("ip", "link", "set", f"u-{name}", "up")

    def is_cut(self, name: str) -> bool:
        return "state UP" not in self.machine(OUTSIDE).run("ip", "link", "show", f"u-{name}", check=False)

    def kill_program(self, name: str, program: str, number: str = "KILL") -> None:
        """Signal one of the processes that a node's supervisor keeps."""
        self.machine(name).run("kill", f"-{number}", str(self.pid(name, program)), check=False)

    def pid(self, name: str, program: str) -> int:
        """As the node counts."""
        return int(json.loads(self.place(name).desk.pid_file(program).read_text())["pid"])

    def _options(self, name: str) -> list[str]:
        shape = self.shape
        return [
            *("--node", name, "--address", shape.address(name), "--physical-network", "public=ext0"),
            *("--compute-driver", shape.compute_driver, "--network-driver", shape.network_driver),
        ]

    def _bring(self, name: str) -> str:
        if self._is_member(name):
            self._switch_on(name)
        else:
            self._power(name)
            self._join(name)
        return name

    def _switch_on(self, name: str) -> None:
        if self.machine(name).process is None:
            self.start(name)

    def _is_member(self, name: str) -> bool:
        return self.place(name).config.exists()

    def _join(self, name: str) -> None:
        number = int(name.removeprefix("node"))
        options = ["--role", "agent"]
        if number <= self.shape.controls:
            options = ["--control"]
        elif number <= self.shape.controllers:
            options += ["--role", "controller", "--role", "gateway"]
        token = self.fabricctl("node1", "node", "token", *(["--controller"] if len(options) != 2 else []))
        self.fabricctl(name, *token.split()[1:], *options, *self._options(name))

    def _wire_outside(self) -> None:
        machine = self.machine(OUTSIDE)
        if machine.process is not None:
            return
        machine.start()
        shape = self.shape
        underlay, public = ipaddress.ip_network(shape.underlay), ipaddress.ip_network(shape.public)
        for bridge, address, network in (("underlay", underlay[-2], underlay), ("public", public[1], public)):
            machine.run("ip", "link", "add", bridge, "type", "bridge")
            machine.run("ip", "address", "add", f"{address}/{network.prefixlen}", "dev", bridge)
            machine.run("ip", "link", "set", bridge, "up")
        if shape.reachable:
            self._wire("u-host", "underlay", _HOST_LINK, 1)
            ours = f"{underlay[-3]}/{underlay.prefixlen}"
            for change in (["address", "add", ours, "dev", _HOST_LINK], ["link", "set", _HOST_LINK, "up"]):
                subprocess.run(["ip", *change], check=True)

    def _power(self, name: str) -> None:
        machine, shape = self.machine(name), self.shape
        if machine.process is not None:
            return
        machine.start()
        process = machine.process
        assert process is not None
        for prefix, bridge, device in (("u", "underlay", "eth0"), ("p", "public", "ext0")):
            self._wire(f"{prefix}-{name}", bridge, device, process.pid)
            machine.run("ip", "link", "set", device, "up")
        length = ipaddress.ip_network(shape.underlay).prefixlen
        machine.run("ip", "address", "add", f"{shape.address(name)}/{length}", "dev", "eth0")

    def _wire(self, end: str, bridge: str, other_end: str, pid: int) -> None:
        """A wire from a bridge outside to a device in the network of a process."""
        outside = self.machine(OUTSIDE)
        process = outside.process
        if process is None:
            raise RuntimeError("the lab is off: `fabricctl lab up`")
        outside.run("ip", "link", "delete", end, check=False)  # of a machine that was killed just now
        add = ["ip", "link", "add", end, "netns", str(process.pid), "type", "veth", "peer", "name", other_end]
        subprocess.run([*add, "netns", str(pid)], check=True)
        outside.run("ip", "link", "set", end, "master", bridge, "up")
