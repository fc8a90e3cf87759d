"""Domain XML: what libvirt is told about a server, and what it says of one. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from agents.compute.driver import FoundNic, Marks
from fabric.compute import guest_agent
from fabric.compute.v1 import server_pb2 as pb

NAMESPACE = "urn:fabric:compute"
PREFIX = "fabric"
ET.register_namespace(PREFIX, NAMESPACE)

_MARK = f"{{{NAMESPACE}}}server"
_ALIAS = "ua-"  # libvirt keeps an alias of ours only with this prefix
_DISK_BUSES = {"virtio": "vd", "scsi": "sd", "sata": "sd", "ide": "hd"}
_NIC_MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "pcnet", "ne2k_pci")
_ROOT_PORTS = 32  # hot-plug places on a q35 machine
_TCG_CACHE_MIB = 128


@dataclass(frozen=True)
class DiskFile:
    path: str
    format: str
    read_only: bool = False


@dataclass(frozen=True)
class Host:
    """What of the node every domain shows."""

    node: str
    virt_type: str  # kvm, qemu
    machine: str = "pc"


def name(server_id: str) -> str:
    return f"instance-{server_id}"


def domain_xml(server: pb.Server, marks: Marks, disks: list[DiskFile], console_log: str, host: Host) -> str:
    """The whole domain; disks in the order in which the guest shall see them."""
    properties = server.spec.image.properties
    machine = properties.get("hw_machine_type") or host.machine
    domain = ET.Element("domain", type=host.virt_type)
    _text(domain, "name", name(server.meta.id))
    _text(domain, "uuid", server.meta.id)
    title = " ".join(server.meta.name.split())
    if title:
        _text(domain, "title", title)
    ET.SubElement(domain, "metadata").append(mark(host.node, marks))
    _text(domain, "memory", str(server.spec.flavor.ram_mib), unit="MiB")
    _text(domain, "vcpu", str(server.spec.flavor.vcpus))
    _firmware(domain, server, machine)
    _processor(domain, host)
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _text(domain, f"on_{event}", action)
    devices = ET.SubElement(domain, "devices")
    ET.SubElement(devices, "controller", type="usb", model="none")
    if "q35" in machine:
        ET.SubElement(devices, "controller", type="pci", index="0", model="pcie-root")
        for _ in range(_ROOT_PORTS):
            ET.SubElement(devices, "controller", type="pci", model="pcie-root-port")
    bus = properties.get("hw_disk_bus", "virtio")
    for number, disk in enumerate(disks):
        devices.append(_disk(disk, number, bus if bus in _DISK_BUSES else "virtio"))
    for nic in server.nics:
        devices.append(interface(nic, properties.get("hw_vif_model", "virtio")))
    _consoles(devices, console_log)
    if guest_agent.is_possible(server):
        channel = ET.SubElement(devices, "channel", type="unix")
        ET.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    balloon = ET.SubElement(devices, "memballoon", model="virtio")
    ET.SubElement(balloon, "stats", period="10")
    return ET.tostring(domain, encoding="unicode")


def moved(xml: str, folder: str, transfer: pb.Transfer) -> str:
    """The same domain on another node: its files are elsewhere, and the mark is that node's."""
    tree = ET.fromstring(xml)
    for element in tree.iter():
        for name, value in element.attrib.items():
            if value.startswith(f"{folder}/"):
                element.set(name, transfer.directory + value.removeprefix(folder))
    for disk in tree.iterfind("devices/disk"):
        for backing in disk.findall("backingStore"):
            disk.remove(backing)  # libvirt looks itself
    if (element_ := tree.find(f"metadata/{_MARK}")) is not None:
        element_.set("node", transfer.node)
    return ET.tostring(tree, encoding="unicode")


def disk_files(domain: ET.Element) -> Mapping[str, str]:
    """The files of its disks, by what libvirt calls them."""
    return {
        target.get("dev", ""): source.get("file", "")
        for disk in domain.iterfind("devices/disk")
        if (target := disk.find("target")) is not None and (source := disk.find("source")) is not None
    }


def writable_disks(domain: ET.Element) -> list[str]:
    """The disks that the guest writes to, as libvirt calls them."""
    return [
        target.get("dev", "")
        for disk in domain.iterfind("devices/disk")
        if disk.find("readonly") is None and (target := disk.find("target")) is not None
    ]


def interface_xml(nic: pb.Nic, model: str = "virtio") -> str:
    """The NIC alone, for hot-plugging."""
    return ET.tostring(interface(nic, model), encoding="unicode")


def interface(nic: pb.Nic, model: str) -> ET.Element:
    """A NIC on a tap that the network agent made and owns."""
    element = ET.Element("interface", type="ethernet")
    ET.SubElement(element, "mac", address=nic.mac_address)
    ET.SubElement(element, "target", dev=nic.tap, managed="no")
    ET.SubElement(element, "model", type=model if model in _NIC_MODELS else "virtio")
    if nic.mtu:
        ET.SubElement(element, "mtu", size=str(nic.mtu))
    ET.SubElement(element, "alias", name=alias(nic.port_id))
    return element


def alias(port_id: str) -> str:
    return f"{_ALIAS}{port_id}"


def mark(node: str, marks: Marks) -> ET.Element:
    """Our mark, which lives in the domain's metadata."""
    element = ET.Element(
        _MARK,
        node=node,
        generation=str(marks.generation),
        reboot_count=str(marks.reboot_count),
        rescue=str(marks.rescue),
        boot_id=marks.boot_id,
    )
    if marks.launch_time is not None:
        element.set("launch_time", marks.launch_time.astimezone(UTC).isoformat())
    return element


def mark_xml(node: str, marks: Marks) -> str:
    """The mark as virDomainSetMetadata takes it, which puts it into the namespace itself."""
    element = mark(node, marks)
    element.tag = "server"
    return ET.tostring(element, encoding="unicode")


def parse_mark(domain: ET.Element) -> tuple[str, Marks] | None:
    """The node and the marks; None: not one of ours."""
    element = domain.find(f"metadata/{_MARK}")
    if element is None:
        return None
    launched = element.get("launch_time")
    marks = Marks(
        generation=int(element.get("generation", "0")),
        reboot_count=int(element.get("reboot_count", "0")),
        boot_id=element.get("boot_id", ""),
        launch_time=datetime.fromisoformat(launched) if launched else None,
        rescue=int(element.get("rescue", "0")),
    )
    return element.get("node", ""), marks


def parse_nics(domain: ET.Element) -> tuple[FoundNic, ...]:
    """The NICs that we gave it."""
    found = []
    for element in domain.findall("devices/interface"):
        alias_element, mac, target = element.find("alias"), element.find("mac"), element.find("target")
        if alias_element is None or mac is None:
            continue
        alias_name = alias_element.get("name", "")
        if alias_name.startswith(_ALIAS):
            tap = "" if target is None else target.get("dev", "")
            found.append(FoundNic(alias_name.removeprefix(_ALIAS), mac.get("address", ""), tap))
    return tuple(found)


def _firmware(domain: ET.Element, server: pb.Server, machine: str) -> None:
    sysinfo = ET.SubElement(domain, "sysinfo", type="smbios")
    system = ET.SubElement(sysinfo, "system")
    told = {
        "manufacturer": "OpenStack Foundation",  # guests look here before they ask for metadata
        "product": "OpenStack Nova",
        "serial": server.meta.id,
        "uuid": server.meta.id,
        "family": "Virtual Machine",
    }
    for key, value in told.items():
        _text(system, "entry", value, name=key)
    firmware = ET.SubElement(domain, "os")
    _text(firmware, "type", "hvm", arch="x86_64", machine=machine)
    ET.SubElement(firmware, "boot", dev="hd")
    ET.SubElement(firmware, "smbios", mode="sysinfo")


def _processor(domain: ET.Element, host: Host) -> None:
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    clock = ET.SubElement(domain, "clock", offset="utc")
    if host.virt_type == "kvm":
        ET.SubElement(domain, "cpu", mode="host-model")
        ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
        ET.SubElement(clock, "timer", name="pit", tickpolicy="delay")
    else:
        ET.SubElement(domain, "cpu", mode="maximum")
        tcg = ET.SubElement(features, "tcg")
        _text(tcg, "tb-cache", str(_TCG_CACHE_MIB), unit="MiB")
    ET.SubElement(clock, "timer", name="hpet", present="no")


def _disk(disk: DiskFile, number: int, bus: str) -> ET.Element:
    element = ET.Element("disk", type="file", device="disk")
    ET.SubElement(element, "driver", name="qemu", type=disk.format, cache="writeback", discard="unmap")
    ET.SubElement(element, "source", file=disk.path)
    ET.SubElement(element, "target", dev=f"{_DISK_BUSES[bus]}{chr(ord('a') + number)}", bus=bus)
    if disk.read_only:
        ET.SubElement(element, "readonly")
    return element


def _consoles(devices: ET.Element, console_log: str) -> None:
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=console_log, append="on")
    ET.SubElement(serial, "target", port="0")
    graphics = ET.SubElement(devices, "graphics", type="vnc")
    ET.SubElement(graphics, "listen", type="socket")  # in libvirt's own directory: no port to race for
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", type="vga")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text
