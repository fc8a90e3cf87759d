"""Sending a running domain to the libvirtd of another node, its disks included."""

from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import libvirt  # type: ignore[import-untyped]

from agents.compute import domain
from agents.compute.driver import ChangedMeanwhile, HypervisorRefused
from fabric.compute.v1 import migration_pb2, server_pb2

_FLAGS = (
    libvirt.VIR_MIGRATE_PEER2PEER  # goes on by itself when we are killed
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_NON_SHARED_INC  # the image is there already: what the guest wrote is sent
    | libvirt.VIR_MIGRATE_TLS  # memory and disks are encrypted on their way
)
_WHILE_IT_RUNS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE  # a guest that writes faster than it is sent is slowed down
)
_QEMU_9 = 9_000_000
_RUNNING_XML = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_MIGRATABLE
_DEFINED_XML = _RUNNING_XML | libvirt.VIR_DOMAIN_XML_INACTIVE


def send(dom: libvirt.virDomain, folder: str, transfer: server_pb2.Transfer, parameters: str) -> None:
    """Return when it runs there and is gone here. Raises libvirtError, HypervisorRefused.

    parameters: of the connection of our libvirtd to that one.
    """
    if not dom.isActive():
        raise ChangedMeanwhile("the domain does not run")
    host = urlsplit(transfer.address).hostname
    if not host or not transfer.directory:
        raise HypervisorRefused("the other node takes no running servers", node=transfer.node)
    running = dom.XMLDesc(_RUNNING_XML)
    tree = ET.fromstring(running)
    bare = f"[{host}]" if ":" in host else host
    dom.migrateToURI3(
        transfer.address + parameters,
        {
            libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{bare}",
            libvirt.VIR_MIGRATE_PARAM_LISTEN_ADDRESS: host,
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: domain.moved(running, folder, transfer),
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: domain.moved(dom.XMLDesc(_DEFINED_XML), folder, transfer),
            libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS: domain.writable_disks(tree),
        },
        flags(tree.get("type", ""), dom.connect().getVersion()),
    )


def flags(virt_type: str, qemu: int) -> int:
    """How a domain is sent; qemu: version * 1,000,000 + minor * 1,000 + release.

    Disks go while it runs, and so does its memory if what it writes meanwhile is sent again. QEMU before 9.0 misses
    some of what an emulated processor writes ("Fix migration dirty bitmap coherency with TCG memory access"), and the
    guest hangs where it arrives: it stands still while its memory is sent.
    """
    return int(_FLAGS if virt_type == "qemu" and qemu < _QEMU_9 else _FLAGS | _WHILE_IT_RUNS)


def is_halted(dom: libvirt.virDomain) -> bool:
    """Whether its guest does not run because it comes or goes."""
    state, reason = dom.state()
    return bool(state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_MIGRATION)


def progress(dom: libvirt.virDomain) -> migration_pb2.Progress | None:
    """How far it is on its way to another node; None: it is not on its way."""
    if not dom.isActive():
        return None
    try:
        job = dom.jobStats()
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED:  # it comes: only its source knows
            return None
        raise
    is_out = job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
    if job.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE or not is_out:
        return None
    found = migration_pb2.Progress(
        memory_total_bytes=job.get("memory_total", 0),
        memory_processed_bytes=job.get("memory_processed", 0),
        memory_remaining_bytes=job.get("memory_remaining", 0),
        disk_total_bytes=job.get("disk_total", 0),
        disk_processed_bytes=job.get("disk_processed", 0),
        disk_remaining_bytes=job.get("disk_remaining", 0),
    )
    found.time.GetCurrentTime()
    return found
