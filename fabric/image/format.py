"""What the first bytes of a disk image say, and whether an image may be made of it. No I/O.

Looked at before qemu-img is let near the bytes: what refers to other files is refused here, so that no
tool ever opens those.
"""

import re
import struct
from dataclasses import dataclass

HEAD_BYTES = 1 << 20  # what problem_of_head wants to see of a file
_DATA_FILE = 1 << 2  # of qcow2's incompatible features
_VMDK_TYPES = ("monolithicSparse", "streamOptimized")
# qemu-img's name of a format -> the names that the API has for it
NAMES = {
    "qcow2": ("qcow2",),
    "vmdk": ("vmdk",),
    "vdi": ("vdi",),
    "vpc": ("vhd",),
    "vhdx": ("vhdx",),
    "parallels": ("ploop",),
}


@dataclass(frozen=True)
class Problem:
    """Why no image may be made of the bytes; reason is UPPER_SNAKE_CASE."""

    reason: str
    message: str


def problem_of_head(head: bytes) -> Problem | None:
    """What is wrong with a file that begins so."""
    if head.startswith(b"QFI\xfb") and len(head) >= 20:
        return _problem_of_qcow(head)
    if head.startswith(b"KDMV") and len(head) >= 44:
        first, sectors = struct.unpack_from("<QQ", head, 28)
        return _problem_of_descriptor(head[first * 512 : (first + sectors) * 512])
    if head.startswith((b"COWD", b"# Disk DescriptorFile")):
        return Problem("REFERS_TO_FILES", "A VMDK image must hold its data itself.")
    if head.startswith(b"QED\0") and len(head) >= 64:
        (features,) = struct.unpack_from("<Q", head, 16)
        if features & 1:
            return Problem("REFERS_TO_FILES", "The image has a backing file.")
    return None


def _problem_of_qcow(head: bytes) -> Problem | None:
    version, backing = struct.unpack_from(">IQ", head, 4)
    if backing:
        return Problem("BACKING_FILE", "The image has a backing file, which is not allowed.")
    if version >= 3 and len(head) >= 80 and struct.unpack_from(">Q", head, 72)[0] & _DATA_FILE:
        return Problem("DATA_FILE", "The image has an external data file, which is not allowed.")
    return None


def _problem_of_descriptor(text: bytes) -> Problem | None:
    found = re.search(rb'createType\s*=\s*"([^"]*)"', text)
    kind = found[1].decode("latin-1") if found else ""
    if kind and kind not in _VMDK_TYPES:
        return Problem("REFERS_TO_FILES", f"A VMDK image of type {kind[:64]} is not allowed.")
    return None


def problem_of_format(found: str, said: str) -> Problem | None:
    """Bytes that clearly are of one format must not be called another.

    Bytes that look like nothing (raw) may be called anything: there are formats that cannot be told, and
    clients that test with noise. No server starts from those: the hypervisor is told what was said.
    """
    names = NAMES.get(found)
    if names is None or said in names:
        return None
    return Problem(
        "FORMAT_MISMATCH", f"The image's content is {names[0]}, which does not match disk_format {said}."
    )
