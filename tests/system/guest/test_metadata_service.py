"""The guest without a config drive: the metadata service in both its formats, cloud-config, a larger disk."""

import json
from pathlib import Path

from tests.system.guest.machine import Machine

_NETWORKS = {
    "links": [{"id": "tap1", "type": "ovs", "ethernet_mac_address": "52:54:00:12:34:56", "mtu": 1500}],
    "networks": [
        {
            "link": "tap1",
            "type": "ipv4",
            "ip_address": "192.168.50.5",
            "netmask": "255.255.240.0",
            "routes": [{"network": "10.7.0.0", "netmask": "255.255.0.0", "gateway": "192.168.50.1"}],
        },
        {"link": "tap1", "type": "ipv4_dhcp"},
        {
            "link": "tap1",
            "type": "ipv6_dhcpv6-stateful",
            "ip_address": "fd00:5::5",
            "netmask": "ffff:ffff:ffff:ffff::",
            "routes": [],
        },
    ],
}
_CONFIG = """\
#cloud-config
hostname: cloudy   # wins over the metadata
password: changed
package_update: true
write_files:
  - path: /etc/made/by-cloud-config
    permissions: "0640"
    content: |
      first "line"
        second
runcmd:
  - echo "made $(wc -l </etc/made/by-cloud-config) lines"
  - [sh, -c, 'echo one, two']
"""


def test_openstack_format_cloud_config_and_a_larger_disk(
    image: Path, key: Path, public_key: str, tmp_path: Path
) -> None:
    latest = tmp_path / "www/openstack/latest"
    latest.mkdir(parents=True)
    facts = {"uuid": "a", "hostname": "plain", "public_keys": {"mine": public_key}}
    (latest / "meta_data.json").write_text(json.dumps(facts))
    (latest / "user_data").write_text(_CONFIG)
    (latest / "network_data.json").write_text(json.dumps(_NETWORKS))
    machine = Machine(tmp_path, image, size="1G")
    machine.serve_metadata(tmp_path / "www")
    machine.start()
    try:
        machine.wait_for_console("fabric-guest: ready cloudy 169.254.")
        assert "metadata from metadata service, OpenStack format" in machine.console
        assert "cloud-config key package_update is not supported: ignored" in machine.console
        assert "made 2 lines\n" in machine.console  # what the kernel says may come between them
        assert "one, two\n" in machine.console
        made = machine.ssh("sudo cat /etc/made/*; sudo stat -c %a /etc/made/*; hostname", key=key)
        assert made == 'first "line"\n  second\n640\ncloudy\n'
        assert int(machine.ssh("df -m / | awk 'NR == 2 { print $2 }'", key=key)) > 900
        networks = machine.ssh("ip addr; ip route", key=key)
        assert "192.168.50.5/20" in networks
        assert "fd00:5::5/64" in networks
        assert "10.7.0.0/16 via 192.168.50.1" in networks
        fetched = machine.ssh("curl -s http://169.254.169.254/openstack/latest/meta_data.json", key=key)
        assert json.loads(fetched) == facts
    finally:
        machine.stop()


def test_ec2_format(image: Path, key: Path, public_key: str, tmp_path: Path) -> None:
    latest = tmp_path / "www/latest"
    for path, text in {
        "meta-data/instance-id": "i-00000001",
        "meta-data/hostname": "classic.novalocal",
        "meta-data/public-keys/index.html": "0=mine",
        "meta-data/public-keys/0/openssh-key": public_key + "\n",
        "user-data": "#!/bin/sh\necho classic user data\n",
    }.items():
        (latest / path).parent.mkdir(parents=True, exist_ok=True)
        (latest / path).write_text(text)
    machine = Machine(tmp_path, image)
    machine.serve_metadata(tmp_path / "www")
    machine.start()
    try:
        machine.wait_for_console("fabric-guest: ready classic 169.254.")
        assert "metadata from metadata service, EC2 format" in machine.console
        assert "classic user data" in machine.console
        assert machine.ssh("hostname", key=key) == "classic\n"
    finally:
        machine.stop()
