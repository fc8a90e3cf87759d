"""The first server of a lab, seen from outside over its floating IP, and from the libvirtds of the nodes."""

import contextlib
import itertools
import re
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, Self

import libvirt  # type: ignore[import-untyped]

from fabric.ctl import outside
from fabric.ctl.api import login
from fabric.ctl.bed import Lab
from fabric.ctl.plan import own_libvirtd
from tests.processes import wait_for
from tests.system.faults.tenant import Tenant

_EVERY_S = 0.01  # between pings
_SSH = ("-oBatchMode=yes", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR")
_TICKS = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done"


class Guest:
    """Reached from the network of the thread that asks, which must be outside."""

    def __init__(self, lab: Lab, admin: Tenant) -> None:
        self._lab = lab
        self._admin = admin
        config = lab.config("node1")
        libvirt.registerErrorHandler(lambda *_: None, None)
        demo = login(config, "demo")
        self.id: str = demo.get("compute", "/servers")["servers"][0]["id"]
        self.address = outside.ensure_floating(demo, self.id)
        self._key = str(lab.place("node1").keys / "first-server")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Of the Compute API, as administrator. Raises Refused, OSError."""
        headers = {"OpenStack-API-Version": "compute 2.59"}
        return self._admin.http.call(method, f"/compute/v2.1{path}", body, headers)

    def show(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/servers/{self.id}")["server"]
        return found

    @property
    def node(self) -> str:
        """Where the cloud says that it is."""
        return str(self.show()["OS-EXT-SRV-ATTR:host"])

    def migrate(self) -> str:
        """Begin a live migration to another node; the node."""
        here = self.node
        target = next(node for node in self._lab.shape.names if node != here)
        live = {"host": target, "block_migration": "auto"}
        self.call("POST", f"/servers/{self.id}/action", {"os-migrateLive": live})
        return target

    def phase(self) -> str:
        """Of its latest migration."""
        return str(self._latest()["status"])

    def break_off(self) -> None:
        """Have its latest migration end where it began. Raises Refused: it is too late, or too early."""
        self.call("DELETE", f"/servers/{self.id}/migrations/{self._latest()['id']}")

    def _latest(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/os-migrations?instance_uuid={self.id}")["migrations"][0]
        return found

    def arrived(self, node: str) -> bool:
        """Whether it has come to rest there."""
        server = self.show()
        at_rest = server["status"] == "ACTIVE" and server["OS-EXT-STS:task_state"] is None
        return at_rest and server["OS-EXT-SRV-ATTR:host"] == node

    def answers(self) -> bool:
        return self._ssh("true").returncode == 0

    def run(self, command: str) -> str:
        """What a command in it prints."""
        done = self._ssh(command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _ssh(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._words(command), capture_output=True, text=True, timeout=30, check=False)

    def _words(self, command: str) -> list[str]:
        return [
            "ssh",
            "-F",
            "none",
            *_SSH,
            "-oConnectTimeout=5",
            f"-i{self._key}",
            f"root@{self.address}",
            command,
        ]

    @contextlib.contextmanager
    def counting(self) -> Iterator["Lines"]:
        """One ssh connection on which the guest counts."""
        wait_for(lambda: self._ssh("true").returncode == 0, 60, "the guest to know its keys")
        with Lines(self._words(_TICKS)) as lines:
            wait_for(lambda: len(lines.told) > 5, 30, "the guest to count")
            yield lines

    @contextlib.contextmanager
    def pinged(self) -> Iterator["Lines"]:
        """Every 10 ms; each line has its time."""
        with Lines(["ping", "-n", "-D", "-i", str(_EVERY_S), self.address], "bytes from") as lines:
            wait_for(lambda: len(lines.told) > 20, 30, "replies")
            yield lines

    def copies(self, *nodes: str) -> list[str]:
        """On which of the nodes its processors run; asked in this order."""
        return [node for node in nodes if self._state(node) == libvirt.VIR_DOMAIN_RUNNING]

    def holders(self) -> list[str]:
        """The nodes whose libvirtd knows it."""
        return [node for node in self._lab.shape.names if self._state(node) is not None]

    def _state(self, node: str) -> int | None:
        """None: the node's libvirtd does not know it."""
        uri = own_libvirtd(self._lab.place(node), self._lab.config(node)).uri
        with (
            contextlib.suppress(libvirt.libvirtError),
            contextlib.closing(libvirt.openReadOnly(uri)) as there,
        ):
            return int(there.lookupByUUIDString(self.id).state()[0])
        return None


class Lines:
    """What a command says line by line, until it is ended."""

    def __init__(self, command: list[str], word: str = "") -> None:
        """word: lines without it do not count."""
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._word = word
        self.told: list[str] = []
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if self._word in line:
                self.told.append(line.rstrip())

    def go_on(self, more: int = 20) -> None:
        """Return when there are so many more lines."""
        least = len(self.told) + more
        wait_for(lambda: len(self.told) >= least, 30, f"{more} more lines")


def silence_s(replies: list[str]) -> float:
    """The longest time between two replies of a ping, beyond that between two pings."""
    before, after = _silence(replies)
    return after - before - _EVERY_S


def answered_again(replies: list[str]) -> float:
    """When the longest silence was over, of time.time()."""
    return _silence(replies)[1]


def _silence(replies: list[str]) -> tuple[float, float]:
    times = [float(found[1]) for line in replies if (found := re.match(r"\[([0-9.]+)\].*icmp_seq", line))]
    return max(itertools.pairwise(times), key=lambda pair: pair[1] - pair[0])
