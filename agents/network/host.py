"""What the node must offer: kernel parts, programs, settings. Mended where we may, else named all at once."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import structlog

from agents.network import netns
from agents.network.libnftables import Nftables
from fabric.runtime.errors import FabricError, FailedPrecondition

log = structlog.get_logger(__name__)

_MODULES = {
    "bridge": Path("/sys/module/bridge"),
    "br_netfilter": Path("/proc/sys/net/bridge"),
    "tun": Path("/dev/net/tun"),
    "veth": Path("/sys/module/veth"),
    "nf_conntrack": Path("/proc/sys/net/netfilter"),
}
_NEEDED = {
    "br_netfilter": "bridged frames pass no security group without it (CONFIG_BRIDGE_NETFILTER)",
    "tun": "servers have no network device without it (CONFIG_TUN)",
}
_SYSCTLS = {  # of this network namespace: bridged packets are shown to nftables
    Path("/proc/sys/net/bridge/bridge-nf-call-iptables"): "1",
    Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables"): "1",
}
_PROBE = "add table bridge fabric_probe\nadd table inet fabric_probe\n"


def prepare() -> None:
    """Load modules, set sysctls; blocking. Raises FailedPrecondition that names all that is missing."""
    problems = list(_problems())
    if problems:
        for problem in problems:
            log.error("the node cannot host networks", problem=problem)
        raise FailedPrecondition(
            "the node cannot host networks: " + "; ".join(problems), reason="NODE_UNFIT", count=len(problems)
        )


def _problems() -> Iterator[str]:
    if os.geteuid() != 0:
        yield "the agent must run as root"
        return
    for module, evidence in _MODULES.items():
        if not evidence.exists():
            _load(module)
        if not evidence.exists() and module in _NEEDED:
            yield f"kernel module {module} is missing: {_NEEDED[module]}"
    for path, value in _SYSCTLS.items():
        if path.exists() and (problem := _set(path, value)):
            yield problem
    if shutil.which("dnsmasq") is None:
        yield "the program dnsmasq is missing: install the package dnsmasq-base"
    if problem := netns.scratch(_probe):
        yield problem


def _probe() -> str:
    """What is wrong with nftables, tried in a namespace of its own; empty: nothing."""
    try:
        nftables = Nftables()
    except FabricError as error:
        return error.message
    try:
        nftables.apply(_PROBE)
    except FabricError as error:
        return f"the kernel has no nftables for the bridge and inet families: {error.facts['output']}"
    finally:
        nftables.close()
    return ""


def _load(module: str) -> None:
    program = shutil.which("modprobe")
    if program is not None:
        subprocess.run([program, "--quiet", module], check=False, timeout=20, stderr=subprocess.DEVNULL)


def _set(path: Path, value: str) -> str:
    """What is wrong; empty: nothing."""
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError as error:
        return f"{path} cannot be set to {value}: {error.strerror}"
    return ""
