"""Claims C1 and C5 with real guests: kill -9 of any process of a cloud that `fabricctl up` has made."""

import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agents.compute.stray import qemus_below
from fabric.runtime.config import load
from tests.size import size
from tests.system.ctl.machine import Machine
from tests.system.faults.namespace import entered
from tests.system.faults.storm import SEED, complaints, within_target
from tests.system.faults.tenant import Churn, Interfaces, Servers, Tenant

ROUNDS = size("FABRIC_REAL_FAULT_ROUNDS", 8, 200)
VICTIMS = ("gateway", "controller", "agent", "libvirtd", "virtlogd", "dnsmasq", "etcd")
CLEAN_S = 60.0


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with TemporaryDirectory(prefix="fabric-real-") as directory:  # short: sockets live in it
        machine = Machine(Path(directory) / "cloud")
        try:
            done = machine.fabricctl("up", timeout_s=400)
            assert done.returncode == 0, done.stdout + done.stderr
            yield machine
        finally:
            machine.close()


@pytest.mark.timeout(600 + 10 * ROUNDS)
def test_guests_do_not_notice_and_servers_reach_their_targets_whatever_is_killed(machine: Machine) -> None:
    print(f"FABRIC_FAULT_SEED={SEED} FABRIC_REAL_FAULT_ROUNDS={ROUNDS}")
    config = load(machine.directory / "fabric.toml")
    with (
        entered(machine.pid),
        pinged(machine) as replies,
        Tenant(config.bootstrap.public_url, "admin", config.bootstrap.admin_password) as admin,
        Tenant(config.bootstrap.public_url, "demo", config.bootstrap.demo_password) as demo,
    ):
        admin.make_network()
        admin.make_image(b"\0" * 2**20)
        servers, interfaces = Servers(admin), of_the_first_server(demo)
        worker = Churn(admin, servers, SEED, most=4, pause_s=0.3)
        plugs = Churn(demo, interfaces, SEED + 1, most=3, pause_s=1.0)
        worker.start()
        plugs.start()
        try:
            chance = random.Random(SEED)
            for _ in range(ROUNDS):
                time.sleep(chance.uniform(0.3, 2.0))
                kill(machine, chance.choice(VICTIMS))
        finally:
            worker.end()
            plugs.end()
        within_target(lambda: complaints(admin, servers, [worker]) or complaints(demo, interfaces, [plugs]))
        assert worker.surprises == []
        assert plugs.surprises == []
        print(f"{len(worker.gone)} servers came and went, {len(plugs.gone)} interfaces of one that stays")
        assert machine.fabricctl("sweep").stdout == "clean\n"
        for id_ in servers.all(admin.http):
            servers.delete(admin.http, id_)
        within_target(lambda: str(list(servers.all(admin.http))).strip("[]"), CLEAN_S)
        assert machine.fabricctl("sweep").stdout == "clean\n"
        assert len(qemus_below(machine.directory / "state" / "libvirt")) == 1  # the first server's
        assert replies()


def of_the_first_server(demo: Tenant) -> Interfaces:
    (first,) = demo.http.call("GET", "/compute/v2.1/servers")["servers"]
    (network,) = demo.http.call("GET", "/network/v2.0/networks?name=demo")["networks"]
    demo.network = network["id"]
    return Interfaces(demo, first["id"])


def kill(machine: Machine, victim: str) -> None:
    """kill -9; the supervisor, or the agent for a dnsmasq, starts it again."""
    if victim == "dnsmasq":
        for pid in dnsmasqs(machine):
            os.kill(pid, signal.SIGKILL)
    elif machine.desk.find(victim) is not None:  # else it is just being started again
        machine.kill(victim)


def dnsmasqs(machine: Machine) -> list[int]:
    """Those of this cloud."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"dnsmasq" in words[0] and any(f"{machine.directory}/".encode() in word for word in words):
                found.append(int(path.name))
    return found


@contextmanager
def pinged(machine: Machine) -> Iterator[Callable[[], bool]]:
    """Pings the first server from its network's DHCP namespace; gives a function that asserts no loss."""
    openrc = load(machine.directory / "fabric.toml").bootstrap
    with Tenant(openrc.public_url, "demo", openrc.demo_password) as demo:
        (first,) = demo.http.call("GET", "/compute/v2.1/servers/detail")["servers"]
        (network,) = demo.http.call("GET", "/network/v2.0/networks?name=demo")["networks"]
    address = next(iter(first["addresses"].values()))[0]["addr"]
    inside = ["nsenter", "--target", str(machine.pid), "--net", "--mount", "ip", "netns", "exec"]
    ping = ["ping", "-n", "-i", "0.2", "-W", "10", address]
    process = subprocess.Popen([*inside, f"fabric-{network['id']}", *ping], stdout=subprocess.PIPE, text=True)

    def check() -> bool:
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=15)[0]
        print(told.splitlines()[-2:])
        match = re.search(r"(\d+) packets transmitted, (\d+) received", told)
        assert match, json.dumps(told[-500:])
        assert int(match[1]) - int(match[2]) <= 1, told[-300:]  # one may be under way at the end
        return int(match[1]) > 20

    try:
        yield check
    finally:
        process.kill()
        process.communicate()
