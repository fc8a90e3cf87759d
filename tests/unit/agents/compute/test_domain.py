from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pycdlib
import pytest

from agents.compute import configdrive, cpu
from agents.compute.domain import DiskFile, Host, domain_xml, mark_xml, parse_mark, parse_nics
from agents.compute.driver import FoundNic, Marks
from agents.compute.metadata import documents
from tests.unit.agents.compute.wants import PORT_ID, SERVER_ID, a_nic, a_want

MARKS = Marks(generation=3, reboot_count=1, boot_id="b", launch_time=datetime(2026, 1, 2, 3, tzinfo=UTC))
DISKS = [DiskFile("/s/disk.qcow2", "qcow2"), DiskFile("/s/config.iso", "raw", read_only=True)]


def tree(host: Host | None = None, **properties: str) -> ET.Element:
    want = a_want(nics=(a_nic(),))
    want.server.meta.name = "a <b> & 'c'\n"
    want.server.spec.image.properties.update(properties)
    return ET.fromstring(domain_xml(want.server, MARKS, DISKS, "/s/console.log", host or Host("n1", "qemu")))


def test_what_is_written_is_found_again() -> None:
    xml = tree()
    assert parse_mark(xml) == ("n1", MARKS)
    assert parse_nics(xml) == (FoundNic(PORT_ID, "fa:16:3e:00:00:01", "tap5b0f2b6e-11"),)
    assert xml.findtext("uuid") == SERVER_ID
    assert xml.findtext("title") == "a <b> & 'c'"


def test_a_domain_without_our_mark_is_not_ours() -> None:
    assert parse_mark(ET.fromstring("<domain><metadata/></domain>")) is None


def test_the_mark_alone_has_no_namespace_of_its_own() -> None:
    assert mark_xml("n1", Marks()).startswith("<server ")


def test_disks_are_in_the_guests_order_and_the_config_drive_cannot_be_written() -> None:
    disks = tree().findall("devices/disk")
    assert [disk.find("target").get("dev") for disk in disks] == ["vda", "vdb"]  # type: ignore[union-attr]
    assert [disk.find("readonly") is not None for disk in disks] == [False, True]


def test_the_tap_is_left_to_who_made_it() -> None:
    target = tree().find("devices/interface/target")
    assert target is not None
    assert target.attrib == {"dev": "tap5b0f2b6e-11", "managed": "no"}


def test_an_image_may_choose_buses_and_machine_only_from_what_is_known() -> None:
    xml = tree(hw_disk_bus="ide", hw_vif_model="e1000", hw_machine_type="q35")
    assert xml.find("devices/disk/target").get("bus") == "ide"  # type: ignore[union-attr]
    assert xml.find("devices/interface/model").get("type") == "e1000"  # type: ignore[union-attr]
    assert len(xml.findall("devices/controller[@model='pcie-root-port']")) >= 24
    xml = tree(hw_disk_bus="'/><evil", hw_vif_model="evil")
    assert xml.find("devices/disk/target").get("bus") == "virtio"  # type: ignore[union-attr]
    assert xml.find("devices/interface/model").get("type") == "virtio"  # type: ignore[union-attr]


def test_a_guest_has_a_port_for_its_agent_unless_its_image_has_none() -> None:
    port = "devices/channel/target[@name='org.qemu.guest_agent.0']"
    assert tree().find(port) is not None
    assert tree(hw_qemu_guest_agent="no").find(port) is None


@pytest.mark.parametrize(("flags", "device", "usable"), [
    ("fpu svm", True, True), ("fpu vmx", True, True), ("fpu", True, False), ("fpu svm", False, False),
])  # fmt: skip
def test_kvm_needs_both_the_flag_and_the_device(
    tmp_path: Path, flags: str, device: bool, usable: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    if device:
        (tmp_path / "kvm").touch()
    assert cpu.kvm_usable(tmp_path / "cpuinfo", tmp_path / "kvm") is usable


def test_the_config_drive_holds_the_documents(tmp_path: Path) -> None:
    told = documents(a_want(user_data=b"#!/bin/sh\n"), random_seed=b"x" * 512)
    path = tmp_path / "config.iso"
    configdrive.write(path, told)
    assert path.stat().st_mode & 0o777 == 0o600
    iso = pycdlib.PyCdlib()
    iso.open(str(path))
    assert iso.pvd.volume_identifier.decode().strip() == "config-2"
    for name, content in (
        ("/openstack/latest/meta_data.json", told.openstack["meta_data.json"]),
        ("/openstack/2018-08-27/user_data", b"#!/bin/sh\n"),
        ("/ec2/latest/meta-data.json", told.ec2_json()),
    ):
        with iso.open_file_from_iso(rr_path=name) as file:
            assert file.read() == content
    iso.close()
