"""`fabricctl up`, `down` and what happens to processes in between, on a machine of its own."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fabric.ctl.process import Process
from fabric.runtime.config import load
from tests.system.ctl.machine import Machine, processes_below

PROGRAMS = ("etcd", "virtlogd", "libvirtd", "controller", "gateway", "agent")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with TemporaryDirectory(prefix="fabric-up-") as directory:  # short: sockets live in it
        machine = Machine(Path(directory) / "cloud")
        try:
            yield machine
        finally:
            machine.close()


@pytest.fixture
def cloud(machine: Machine) -> Machine:
    """The machine with a healthy cloud."""
    done = machine.fabricctl("up", "--without-guest", "--tls")
    assert done.returncode == 0, done.stdout + done.stderr
    return machine


def until(look: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_another(machine: Machine, name: str, earlier: Process) -> bool:
    return machine.desk.find(name) not in (None, earlier)


def test_second_up_finds_the_cloud_in_no_time(cloud: Machine) -> None:
    began = time.monotonic()
    done = cloud.fabricctl("up")
    assert done.returncode == 0
    assert "runs already" in done.stdout
    assert time.monotonic() - began < 20  # alone it takes less than 2


def test_status_shows_each_process_and_that_it_is_healthy(cloud: Machine) -> None:
    done = cloud.fabricctl("status")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in PROGRAMS:
        assert f" {cloud.process(name).pid} " in next(
            line for line in done.stdout.splitlines() if line.startswith(f"{name} ")
        )


def test_a_client_reaches_the_api_over_https_and_knows_whom_it_reaches(cloud: Machine) -> None:
    openstack = Path(sys.executable).parent / "openstack"
    fabricctl = f"{openstack.parent / 'fabricctl'} --state-dir {cloud.directory}"
    told = cloud.run("sh", "-c", f'eval "$({fabricctl} openrc)" && {openstack} catalog list -f value')
    assert told.returncode == 0, told.stderr
    assert "https://127.0.0.1:" in told.stdout
    assert "http://" not in told.stdout
    stranger = cloud.run(
        "sh", "-c", f'eval "$({fabricctl} openrc)" && unset OS_CACERT && {openstack} token issue'
    )
    assert stranger.returncode != 0
    assert "SSL exception" in stranger.stderr


def test_a_project_is_given_a_network_without_saying_more(cloud: Machine) -> None:
    openstack = Path(sys.executable).parent / "openstack"
    fabricctl = f"{openstack.parent / 'fabricctl'} --state-dir {cloud.directory}"
    check = f"{openstack} network auto allocated topology create --check-resources"
    told = cloud.run("sh", "-c", f'eval "$({fabricctl} openrc demo)" && {check}')
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_killed_process_is_back_at_once_and_the_cloud_is_healthy(cloud: Machine, name: str) -> None:
    killed = cloud.kill(name)
    until(lambda: is_another(cloud, name, killed), timeout_s=20)
    until(lambda: cloud.fabricctl("status").returncode == 0, timeout_s=60)


def test_processes_outlive_the_supervisor_and_up_adopts_them(cloud: Machine) -> None:
    before = {name: cloud.process(name) for name in PROGRAMS}
    cloud.kill("supervisor")
    assert cloud.fabricctl("up", "--without-guest").returncode == 0
    assert {name: cloud.process(name) for name in PROGRAMS} == before
    killed = cloud.kill("gateway")
    until(lambda: is_another(cloud, "gateway", killed), timeout_s=20)


def test_restart_makes_our_processes_anew_and_no_others(cloud: Machine) -> None:
    before = {name: cloud.process(name) for name in PROGRAMS}
    done = cloud.fabricctl("restart")
    assert done.returncode == 0, done.stdout + done.stderr
    others = {name for name, process in before.items() if cloud.process(name) != process}
    assert others == {"controller", "gateway", "agent"}


def test_backup_brings_back_what_was_deleted_after_it(cloud: Machine, tmp_path: Path) -> None:
    keys, file = cloud.directory / "state/keys", str(tmp_path / "backup")

    def etcdctl(*words: str) -> str:
        endpoint = f"--endpoints=https://{load(cloud.directory / 'fabric.toml').etcd.endpoints[0]}"
        pair = (f"--cacert={keys}/ca.pem", f"--cert={keys}/root.pem", f"--key={keys}/root.key")
        return cloud.run("env", "ETCDCTL_API=3", "etcdctl", endpoint, *pair, *words).stdout

    etcdctl("put", "/fabric/test/one", "{}")
    saved = cloud.fabricctl("backup", file)
    assert saved.returncode == 0, saved.stderr
    etcdctl("del", "/fabric/test/one")
    assert "`fabricctl down` comes first" in cloud.fabricctl("restore", file).stderr
    cloud.fabricctl("down")
    restored = cloud.fabricctl("restore", file)
    assert restored.returncode == 0, restored.stderr
    assert cloud.fabricctl("up", "--without-guest").returncode == 0
    assert "/fabric/test/one" in etcdctl("get", "--keys-only", "/fabric/test/one")
    etcdctl("del", "/fabric/test/one")
    assert cloud.fabricctl("status").returncode == 0


def test_wish_that_contradicts_the_configuration_is_refused(cloud: Machine) -> None:
    done = cloud.fabricctl("up", "--compute-driver", "fake")
    assert done.returncode == 1
    assert "--compute-driver fake" in done.stderr


def test_down_leaves_the_data_and_wipe_nothing(cloud: Machine) -> None:
    configuration = (cloud.directory / "fabric.toml").read_text()
    assert cloud.fabricctl("down").returncode == 0
    assert processes_below(cloud.directory) == []
    assert cloud.fabricctl("status").returncode == 1
    assert cloud.fabricctl("up", "--without-guest").returncode == 0
    assert (cloud.directory / "fabric.toml").read_text() == configuration
    cloud.kill("supervisor")
    assert cloud.fabricctl("down", "--wipe").returncode == 0
    assert processes_below(cloud.directory) == []
    assert not cloud.directory.exists()
    assert cloud.links() == []
    assert cloud.run("ls", "/run/netns").stdout == ""
