"""A copy of a running domain's root disk, by libvirt's backup job: the disk as it was when the job began."""

from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt  # type: ignore[import-untyped]

from agents.compute import domain
from agents.compute.driver import ChangedMeanwhile, HypervisorRefused
from fabric.runtime.errors import PoolFull


def begin(dom: libvirt.virDomain, root: Path, target: Path) -> None:
    """Begin to copy the disk whose file is root; target does not exist."""
    job = ET.Element("domainbackup", mode="push")
    disks = ET.SubElement(job, "disks")
    for name, path in domain.disk_files(ET.fromstring(dom.XMLDesc())).items():
        if path != str(root):
            ET.SubElement(disks, "disk", name=name, backup="no")
            continue
        disk = ET.SubElement(disks, "disk", name=name, backup="yes", type="file")
        ET.SubElement(disk, "driver", type="qcow2")
        ET.SubElement(disk, "target", file=str(target))
    dom.backupBegin(ET.tostring(job, encoding="unicode"), None)


def is_running(dom: libvirt.virDomain) -> bool:
    """Whether such a job goes on, be it of an earlier agent."""
    if not dom.isActive():
        return False
    try:
        dom.backupGetXMLDesc()
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN_BACKUP, libvirt.VIR_ERR_OPERATION_INVALID):
            return False
        raise
    return True


def check_result(dom: libvirt.virDomain) -> None:
    """Of the job that has just ended. Raises ChangedMeanwhile, PoolFull, HypervisorRefused."""
    if not dom.isActive():
        raise ChangedMeanwhile("the domain went off while its disk was copied")
    ended = dom.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
    is_backup = ended.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP
    if is_backup and ended.get("success"):
        return
    why = str(ended.get("errmsg", "")) if is_backup else ""
    if "No space left" in why:
        raise PoolFull("the node's disk has no room for the copy", detail=why)
    if why:
        raise HypervisorRefused(f"the disk could not be copied: {why}")
    raise ChangedMeanwhile("the copying of the disk was broken off")
