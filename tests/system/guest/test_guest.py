"""What the guest does with a config drive, and when disks, interfaces and buttons come and go."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.guest.machine import Machine, wait_for

_FACTS = {
    "uuid": "5b1c1f0e-0f3e-4c43-9b3c-0c6f3a1f7a55",
    "hostname": "first.example.org",
    "name": "first",
    "admin_pass": 'a "quoted\\ pass',
    "files": [{"path": "/etc/injected/file", "content_path": "/content/0000"}],
}
_SCRIPT = "#!/bin/sh\necho user data says $((40 + 2))\ndate >>/home/cirros/user-data-ran\n"


@pytest.fixture(scope="module")
def machine(image: Path, public_key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    content = tmp_path_factory.mktemp("config")
    latest = content / "openstack/latest"
    latest.mkdir(parents=True)
    facts = _FACTS | {"public_keys": {"mine": public_key + "\n"}}
    (latest / "meta_data.json").write_text(json.dumps(facts))
    (latest / "user_data").write_text(_SCRIPT)
    (content / "openstack/content").mkdir()
    (content / "openstack/content/0000").write_text("injected\n")
    machine = Machine(tmp_path_factory.mktemp("machine"), image)
    machine.insert_config_drive(content)
    machine.start()
    try:
        machine.wait_for_console("fabric-guest: ready")
        yield machine
    finally:
        machine.stop()


def test_the_console_reports_what_was_done(machine: Machine) -> None:
    for fact in (
        "kernel 6",
        "eth0 10.0.2.15/24 by DHCP",
        "metadata from config drive /dev/vdb",
        "hostname first",
        "1 public keys installed for cirros and root: ecdsa-sha2-nistp256",
        "sshd listening on port 22",
        "user data script ended with status 0",
        "ready first 10.0.2.15/24",
    ):
        assert any("fabric-guest: " in line and fact in line for line in machine.console.splitlines()), fact
    machine.wait_for_console("first login:")
    assert "user data says 42" in machine.console


def test_the_metadata_is_applied(machine: Machine, key: Path) -> None:
    assert machine.ssh("hostname", key=key) == "first\n"
    assert machine.ssh("whoami", key=key, user="root") == "root\n"
    assert machine.ssh("cat /etc/injected/file", key=key) == "injected\n"
    salted = machine.ssh("sudo awk -F: '$1 == \"root\" { print $2 }' /etc/shadow", key=key).strip()
    salt = salted.split("$")[2]
    again = machine.ssh(f"printf %s 'a \"quoted\\ pass' | mkpasswd -P 0 -m sha512 -S {salt}", key=key)
    assert again.strip() == salted


def test_the_agents_password_is_that_of_root_and_of_who_logs_in(machine: Machine, key: Path) -> None:
    given = "printf 'root:a:new \\\\ one\\n' | sudo /usr/lib/fabric/agent.d/chpasswd; sudo cat /etc/shadow"
    hashes = {line.split(":")[0]: line.split(":")[1] for line in machine.ssh(given, key=key).splitlines()}
    for user in ("root", "cirros"):
        salt = hashes[user].split("$")[2]
        again = machine.ssh(f"printf %s 'a:new \\ one' | mkpasswd -P 0 -m sha512 -S {salt}", key=key)
        assert again.strip() == hashes[user]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("lsblk -lb --nodeps", "disk"),
        ("lsblk --nodeps --noheadings --output NAME", "vdb"),
        ("cat /proc/partitions", "vda2"),
        ("ip -o link | awk '/eth0/ {print $2}'", "eth0:"),
        ("ip -4 -o addr | awk '/eth0/ {print $4}'", "10.0.2.15/24"),
        ("ip addr show eth0 | awk '/ether/ {print $2}'", "52:54:00"),
        ("sudo mount $(blkid -L config-2 -o device) /mnt; ls /mnt; sudo umount /mnt", "openstack"),
        ("cat /etc/resolv.conf", "nameserver 10.0.2.3"),
        ("sudo /bin/kill -USR1 $(cat /var/run/udhcpc.eth0.pid) && echo renewed", "renewed"),
        ("sudo /sbin/dhcpcd --rebind && echo renewed", "renewed"),
        ("sudo ping -I eth0 -c1 -w1 -s56 10.0.2.2", "1 packets received"),
        ("ping -c1 -w1 127.0.0.1 && ping6 -c1 -w1 ::1", "1 packets received"),
        ("sudo nc -p 81 -lk -e echo foolish & sleep 1; echo bar | nc -w 1 127.0.0.1 81", "foolish"),
        ("sudo nc -u -p 82 -lk -e echo foolish & sleep 1; echo bar | nc -w 1 -u 127.0.0.1 82", "foolish"),
        ("curl -V", "curl"),
        ("sudo -s whoami; echo x | sudo tee /root/x", "root"),
        ("cut -f1 -d. /proc/uptime; uname -a; uptime; df /; sync", "Linux first"),
        ("mkfs.ext4 -V 2>&1; which mkfs.vfat wget md5sum dd", "mke2fs"),
    ],
)
def test_what_users_and_tempest_run_works(machine: Machine, key: Path, command: str, answer: str) -> None:
    prologue = "set -eu -o pipefail; PATH=$PATH:/sbin:/usr/sbin; "
    assert answer in machine.ssh(prologue + command, key=key)


def test_a_disk_that_is_plugged_in_can_be_used(machine: Machine, key: Path, tmp_path: Path) -> None:
    file = tmp_path / "extra.raw"
    with file.open("wb") as writing:
        writing.truncate(64 << 20)
    machine.qmp("blockdev-add", **{"driver": "file", "node-name": "extra", "filename": str(file)})
    machine.qmp("device_add", driver="virtio-blk-pci", drive="extra", id="extra", serial="volume-1")
    wait_for("vdc", lambda: "vdc" in machine.ssh("cat /proc/partitions", key=key) or None)
    assert machine.ssh("cat /sys/block/vdc/serial", key=key).strip() == "volume-1"
    for kind in ("ext4", "vfat"):
        machine.ssh(f"sudo mkfs -t {kind} /dev/vdc", key=key)
        machine.ssh('sudo mount /dev/vdc /mnt && sudo sh -c "date >/mnt/timestamp; sync"', key=key)
        assert machine.ssh("cat /mnt/timestamp && sudo umount /mnt", key=key)
    machine.qmp("device_del", id="extra")
    wait_for("end of vdc", lambda: "vdc" not in machine.ssh("cat /proc/partitions", key=key) or None)


def test_an_interface_that_is_plugged_in_gets_its_address(machine: Machine, key: Path) -> None:
    machine.qmp("netdev_add", type="user", id="second", net="10.0.9.0/24")
    began = time.monotonic()
    machine.qmp("device_add", driver="virtio-net-pci", netdev="second", id="nic2", mac="52:54:00:00:00:02")
    machine.wait_for_console("eth1 10.0.9.15/24 by DHCP")
    assert time.monotonic() - began < 20  # 3 s on a machine of one's own
    assert machine.ssh("ip route | awk '/^default/ { print $5; exit }'", key=key) == "eth0\n"
    _check_options_are_honoured(machine, key)
    machine.qmp("device_del", id="nic2")
    machine.wait_for_console("eth1 removed")
    clients = machine.ssh("ls /run/udhcpc.*; ps | grep '[u]dhcpc -b'", key=key)
    assert "eth1" not in clients
    assert "eth0" in clients


def test_files_survive_a_reboot_and_user_data_is_not_run_again(machine: Machine, key: Path) -> None:
    host_key = machine.ssh("sudo md5sum /etc/dropbear/*", key=key)
    machine.ssh("echo kept >kept; sudo reboot", key=key)
    wait_for("second boot", lambda: machine.console.count("fabric-guest: ready") == 2 or None, 60)
    assert machine.ssh("cat kept; wc -l <user-data-ran", key=key).split() == ["kept", "1"]
    assert machine.ssh("sudo md5sum /etc/dropbear/*", key=key) == host_key
    assert "recovery" not in machine.ssh("sudo dmesg", key=key)  # the root was unmounted


def test_the_power_button_ends_it_cleanly(machine: Machine) -> None:
    began = time.monotonic()
    machine.qmp("system_powerdown")
    wait_for("end of the machine", lambda: None if machine.running else True)
    assert time.monotonic() - began < 20  # 2 s on a machine of one's own
    assert "power button pressed" in machine.console


def _check_options_are_honoured(machine: Machine, key: Path) -> None:
    """QEMU's own DHCP server cannot send these options: say them to the client's script as udhcpc does."""
    lease = "interface=eth1 ip=10.0.9.15 mask=24 router=10.0.9.9 mtu=1400 dns=10.0.9.3"
    routes = "169.254.169.254/32 10.0.9.2 10.5.0.0/16 0.0.0.0 10.6.0.0/16 192.168.77.1"
    machine.ssh(f"sudo env {lease} staticroutes='{routes}' /usr/lib/fabric/dhcp renew", key=key)
    table = machine.ssh("ip route", key=key)
    for route in (
        "169.254.169.254 via 10.0.9.2",
        "10.5.0.0/16 dev eth1",
        "10.6.0.0/16 via 192.168.77.1",
        "default via 10.0.2.2",
    ):
        assert route in table
    assert "10.0.9.9" not in table  # classless routes replace the router option
    assert "mtu 1400" in machine.ssh("ip link show eth1", key=key)
    assert "10.0.9.3" in machine.ssh("cat /etc/resolv.conf", key=key)
