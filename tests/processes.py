"""A cloud of real processes in a directory of its own, for tests and benchmarks that kill and measure them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from cryptography.fernet import Fernet

from fabric.runtime.certificate import Authority
from fabric.runtime.tls import CONTROLLER
from tests.functional.etcd import EtcdProcess, free_port
from tests.http_client import Http

ROOT = Path(__file__).resolve().parent.parent
MODULES = {"controller": "fabric.controller", "gateway": "gateway", "agent": "agents"}
PASSWORD = "admin-secret"
DEMO_PASSWORD = "demo-secret"


class ProcessCloud:
    """etcd, controller, gateway and agent of one node, each killable by name; ended by pid, whatever happens."""

    def __init__(self, directory: Path, *, driver: str = "fake", extra: str = "", compute: str = "") -> None:
        """extra: more TOML; compute: another [compute] section. driver: of compute and network, fake or real."""
        self.directory = directory
        self._etcd = EtcdProcess()
        self._driver = driver
        self._extra = extra
        self._compute = compute
        self._ports = {name: free_port() for name in MODULES}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._nodes: dict[str, Path] = {}  # further nodes: their configurations
        self.url = f"http://127.0.0.1:{self._ports['gateway']}"
        self.config = directory / "fabric.toml"
        self.logs = directory / "log"  # as `fabricctl --state-dir` has it

    def start(self) -> None:
        """Start everything and wait until a token can be had."""
        self.logs.mkdir(parents=True, exist_ok=True)
        (self.directory / "master.key").write_bytes(Fernet.generate_key() + b"\n")
        authority = Authority(self.directory)
        authority.ensure()
        authority.ensure_pair("node", "node.node1", ["127.0.0.1", CONTROLLER])
        self._etcd.start()
        self.config.write_text(self._toml())
        for name in MODULES:
            self.start_process(name)
        self.wait_for_service()

    def start_process(self, name: str) -> None:
        """Start one of them again."""
        if name == "etcd":
            self._etcd.start()
            return
        log = (self.logs / f"{name}.log").open("ab")
        module, config = MODULES.get(name, MODULES["agent"]), self._nodes.get(name, self.config)
        words = [sys.executable, "-m", module, "--config", str(config)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        self._running[name] = subprocess.Popen(words, stdout=log, stderr=log, cwd=ROOT, env=environment)
        log.close()

    def add_node(self, name: str) -> None:
        """Start the agent of one more node; to the other methods it is a process with the node's name."""
        self._nodes[name] = self.directory / f"{name}.toml"
        text = self._toml().replace('name = "node1"', f'name = "{name}"')
        text = text.replace(f"{self.directory}/state", f"{self.directory}/{name}")
        text = text.replace(f":{self._ports['agent']}", f":{free_port()}")
        self._nodes[name].write_text(text)
        self.start_process(name)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End one of them: at once, or as the signal says."""
        if name == "etcd":
            self._etcd.kill()
            return
        process = self._running.pop(name, None)
        if process is not None:
            process.send_signal(number)
            process.wait(30)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send one of them a signal that it outlives: SIGSTOP, SIGCONT."""
        self._running[name].send_signal(number)

    @property
    def etcd(self) -> str:
        """etcd's endpoint."""
        return self._etcd.endpoint

    def restart(self, name: str) -> None:
        """kill -9 and start again."""
        self.kill(name)
        self.start_process(name)

    def stop(self) -> None:
        """End all of them."""
        for name in (*self._nodes, "agent", "gateway", "controller"):
            self.kill(name)
        for manifest in self.directory.rglob("fence.json"):  # guards wait for their agents, else
            manifest.unlink()
        self._etcd.close()

    def wait_for_service(self, timeout_s: float = 60) -> None:
        """Return when the first users can log in."""
        wait_for(self._login_works, timeout_s, f"the cloud in {self.directory} to answer")

    def rss_bytes(self) -> Mapping[str, int]:
        """Resident memory by process."""
        found = {name: psutil.Process(p.pid).memory_info().rss for name, p in self._running.items()}
        return found | {"etcd": psutil.Process(self._etcd.pid).memory_info().rss}

    def cpu_s(self) -> float:
        """CPU time that all of them have used."""
        pids = [*(process.pid for process in self._running.values()), self._etcd.pid]
        return sum(cpu_s(pid) for pid in pids)

    def _login_works(self) -> bool:
        for name, process in self._running.items():
            if process.poll() is not None:
                log = (self.logs / f"{name}.log").read_text()[-2000:]
                raise RuntimeError(f"{name} ended with {process.returncode}:\n{log}")
        try:
            with Http(self.url) as http:
                http.login("admin", PASSWORD, "admin")
                http.login("demo", DEMO_PASSWORD, "demo")  # the last that the bootstrap makes
        except (OSError, RuntimeError):
            return False
        return True

    def _toml(self) -> str:
        real = self._driver != "fake"
        return f"""
[node]
name = "node1"
state_dir = "{self.directory}/state"
[etcd]
endpoints = ["{self._etcd.endpoint}"]
[tls]
ca_file = "{self.directory}/ca.pem"
cert_file = "{self.directory}/node.pem"
key_file = "{self.directory}/node.key"
[controller]
listen = "127.0.0.1:{self._ports["controller"]}"
master_key_file = "{self.directory}/master.key"
policy_dir = "{self.directory}/policy.d"
[gateway]
listen = "127.0.0.1:{self._ports["gateway"]}"
[agent]
listen = "127.0.0.1:{self._ports["agent"]}"
orphan_grace_s = 5
{self._compute or self._plain_compute()}
[network]
driver = "{"linux" if real else "fake"}"
[bootstrap]
admin_password = "{PASSWORD}"
demo_password = "{DEMO_PASSWORD}"
public_url = "{self.url}"
{self._extra}
"""

    def _plain_compute(self) -> str:
        return f"""
[compute]
driver = "{"libvirt" if self._driver != "fake" else "fake"}"
fake_vcpus = 100000
fake_ram_mib = 100000000
fake_disk_gb = 10000000
"""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def cpu_s(pid: int) -> float:
    """CPU time that the process has used."""
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def wait_for(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Return when the condition holds. Raises TimeoutError that says what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(0.05)
