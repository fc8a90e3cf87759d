"""Whether this machine can virtualize in hardware."""

import os
from pathlib import Path

_FLAGS = {"vmx", "svm"}


def kvm_usable(cpuinfo: Path = Path("/proc/cpuinfo"), device: Path = Path("/dev/kvm")) -> bool:
    """Only with the CPU's flag and an open device: a /dev/kvm without the flag hangs unmodified guests."""
    for line in cpuinfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return bool(_FLAGS & set(value.split())) and _opens(device)
    return False


def virt_type(setting: str) -> str:
    """kvm or qemu; `auto` chooses."""
    if setting == "auto":
        return "kvm" if kvm_usable() else "qemu"
    return setting


def features(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """What the processor can do, as the kernel names it."""
    for line in cpuinfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return sorted(value.split())
    return []


def _opens(device: Path) -> bool:
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError:
        return False
    return True


def model_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What the processor calls itself."""
    for line in cpuinfo.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return ""


def ram_mib() -> int:
    """The machine's memory; libvirt adds up only what its NUMA nodes report."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
