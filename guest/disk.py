"""The disk: a FAT partition with the boot loader and the kernel, then an ext4 root; made without mounts."""

import shutil
from pathlib import Path

from guest.command import run
from guest.tree import MODES, OWNERS

_MIB = 1 << 20
_SECTOR = 512
_BOOT_START_MIB, _BOOT_MIB = 1, 23
_ROOT_START_MIB = _BOOT_START_MIB + _BOOT_MIB
_MBR_CODE = Path("/usr/lib/SYSLINUX/mbr.bin")
_BOOT_CONFIG = """\
DEFAULT linux
LABEL linux
  KERNEL /vmlinuz
  INITRD /initrd
  APPEND {command_line}
"""
COMMAND_LINE = "console=tty0 console=ttyS0,115200n8 loglevel=5 printk.devkmsg=on no_timer_check panic=10"


def make_raw(image: Path, root: Path, initrd: Path, kernel: Path, *, size_mib: int, uuid: str) -> None:
    """Write the whole disk, sparse; root becomes its second partition and can grow to what the disk has."""
    with image.open("wb") as file:
        file.truncate(size_mib * _MIB)
    _partition(image)
    _fill_boot_partition(image, initrd, kernel)
    partition = image.with_suffix(".root")
    _make_root_partition(partition, root, size_mib - _ROOT_START_MIB, uuid)
    _copy_sparse(partition, image, _ROOT_START_MIB * _MIB)
    partition.unlink()


def to_qcow2(raw: Path, out: Path) -> None:
    """Convert; what was never written takes no room."""
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, out)


def _partition(image: Path) -> None:
    table = (
        "label: dos\n"
        f"start={_BOOT_START_MIB}MiB, size={_BOOT_MIB}MiB, type=6, bootable\n"
        f"start={_ROOT_START_MIB}MiB, type=83\n"
    )
    run("sfdisk", "--quiet", image, stdin=table)
    with image.open("r+b") as file:
        file.write(_MBR_CODE.read_bytes()[:440])  # up to the disk's signature


def _fill_boot_partition(image: Path, initrd: Path, kernel: Path) -> None:
    offset = _BOOT_START_MIB * _MIB
    drive = f"{image}@@{offset}"
    sectors = _BOOT_MIB * _MIB // _SECTOR
    hidden = offset // _SECTOR  # the boot loader adds this to every address
    geometry = ("-T", f"{sectors}", "-h", "64", "-s", "32", "-H", f"{hidden}")
    run("mformat", "-i", drive, *geometry, "-v", "FABRIC", "::")
    config = image.with_suffix(".cfg")
    config.write_text(_BOOT_CONFIG.format(command_line=COMMAND_LINE))
    for source, name in ((kernel, "vmlinuz"), (initrd, "initrd"), (config, "syslinux.cfg")):
        run("mcopy", "-i", drive, source, f"::/{name}")
    config.unlink()
    run("syslinux", "--install", "--offset", str(offset), image)


def _make_root_partition(partition: Path, root: Path, size_mib: int, uuid: str) -> None:
    options = ("-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-J", "size=4", "-N", "16384")
    identity = ("-L", "fabric-root", "-U", uuid)
    growth = (
        "-E",
        "resize=26214400",
    )  # blocks: descriptors are reserved, so that it can grow to 100 GiB mounted
    run("mke2fs", *options, *identity, *growth, "-d", root, partition, f"{size_mib}M")
    run("debugfs", "-w", "-f", "-", partition, stdin=_ownership(root))


def _ownership(root: Path) -> str:
    """debugfs commands that give every file its owner, so that whoever builds need not be root."""
    commands = []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        owner = OWNERS.get(name, 0)
        commands += [f'sif "/{name}" uid {owner}', f'sif "/{name}" gid {owner}']
        if name in MODES:
            commands.append(f'sif "/{name}" mode 0{path.lstat().st_mode:o}')
    return "\n".join(commands) + "\n"


def _copy_sparse(source: Path, target: Path, offset: int) -> None:
    """Copy a file into another at an offset, leaving out what is zero."""
    with source.open("rb") as reading, target.open("r+b") as writing:
        while chunk := reading.read(64 << 10):
            if chunk.strip(b"\0"):
                writing.seek(offset + reading.tell() - len(chunk))
                writing.write(chunk)


def copy(source: Path, target: Path) -> None:
    """Copy so that the target is either the old or the new file, never half of one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, unfinished)
    unfinished.replace(target)
