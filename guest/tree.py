"""The guest's directory trees: its root file system and the initramfs that finds it."""

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from guest.command import run
from guest.error import BuildError

SOURCES = Path(__file__).parent

# What mke2fs must record; everything else is root's, with the mode that the file has here.
MODES = {
    "etc/shadow": 0o600,
    "etc/sudoers": 0o440,
    "usr/bin/sudo": 0o4755,
    "usr/bin/busybox-suid": 0o4755,
    "root": 0o700,
    "tmp": 0o1777,
}
OWNERS = {"home/cirros": 1000}

_DIRECTORIES = ("dev", "proc", "sys", "run", "tmp", "mnt", "root", "home/cirros", "var/lib", "var/log")
_MERGED = {"bin": "usr/bin", "sbin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64"}
_LINKS = _MERGED | {
    "var/run": "../run",
    "etc/mtab": "../proc/self/mounts",
    "usr/bin/init": "busybox",
    "usr/sbin": "bin",
}
_LINKS |= {f"usr/bin/mkfs.{kind}": "mke2fs" for kind in ("ext2", "ext3", "ext4")}
_LINKS |= {f"usr/bin/{verb}": "shutdown" for verb in ("poweroff", "reboot", "halt")}
_LINKS |= {f"usr/bin/{name}": "busybox-suid" for name in ("ping", "ping6", "su", "passwd")}
_LINKS["usr/lib/fabric/ash"] = "../../bin/busybox-suid"
_NOT_APPLETS = ("rpm", "rpm2cpio", "linuxrc", "busybox", "mke2fs")


def take(package: Path, globs: Iterable[str], root: Path) -> None:
    """Copy what the globs match in an unpacked package. Raises BuildError when nothing does."""
    taken = 0
    for item in globs:
        pattern, _, other_path = item.partition("=")
        for source in package.glob(pattern):
            target = root / (other_path or _merged(source.relative_to(package)))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
            taken += 1
    if not taken:
        raise BuildError(f"the package {package.name} has none of the files that packages.txt takes from it")


def assemble_root(root: Path) -> None:
    """Add to the packages' files the guest's own, the directories and the links."""
    shutil.copytree(SOURCES / "rootfs", root, dirs_exist_ok=True, symlinks=True)
    for directory in _DIRECTORIES:
        (root / directory).mkdir(parents=True, exist_ok=True)
    for name, target in _LINKS.items():
        (root / name).symlink_to(target)
    for applet in run(root / "usr/bin/busybox", "--list-full").split():
        link = root / _merged(Path(applet))
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.name not in _NOT_APPLETS and not link.exists() and not link.is_symlink():
            link.symlink_to("/usr/bin/busybox")
    for path, mode in MODES.items():
        (root / path).chmod(mode)


def assemble_initramfs(initramfs: Path, root: Path) -> None:
    """The init that finds the root, busybox for it, and the modules marked "boot"."""
    for directory in ("bin", "dev", "proc", "sys", "root"):
        (initramfs / directory).mkdir(parents=True)
    shutil.copy2(SOURCES / "initramfs/init", initramfs / "init")
    busybox = initramfs / "bin/busybox"
    shutil.copyfile(root / "usr/bin/busybox-suid", busybox)
    busybox.chmod(0o755)
    applets = set(re.findall(r"[\w-]+", (SOURCES / "initramfs/init").read_text()))
    for applet in applets & set(run(busybox, "--list").split()):
        if applet != "busybox":
            (initramfs / "bin" / applet).symlink_to("busybox")


def install_modules(unpacked: Path, busybox: Path, root: Path, *, boot: bool) -> None:
    """Copy the modules of modules.txt and what they depend on, with the tables that modprobe reads."""
    version = _single(unpacked.glob("lib/modules/*")).name
    source = unpacked / "lib/modules" / version
    if not (source / "modules.dep").exists():
        run(busybox, "depmod", "-b", unpacked, version)
    needs = {}
    for line in (source / "modules.dep").read_text().splitlines():
        path, _, dependencies = line.partition(":")
        needs[_module_name(path)] = [path, *dependencies.split()]
    target = root / ("lib" if boot else "usr/lib") / "modules" / version
    for name in _module_names((SOURCES / "modules.txt").read_text(), boot=boot):
        for path in needs.get(name, []):  # a name that is not there is built into this kernel
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / path, target / path)
    for table in ("modules.builtin", "modules.order"):
        shutil.copy2(source / table, target / table)
    run(busybox, "depmod", "-b", root, version)


def pack(initramfs: Path, archive: Path) -> None:
    """Write a directory as the compressed cpio archive that the kernel unpacks."""
    names = "\n".join(sorted(str(path.relative_to(initramfs)) for path in initramfs.rglob("*")))
    plain = archive.with_suffix(".cpio")
    run("cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "-F", plain, stdin=names, cwd=initramfs)
    run("gzip", "-9nf", plain)
    plain.with_name(plain.name + ".gz").rename(archive)


def _module_names(text: str, *, boot: bool) -> list[str]:
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    return [words[-1].replace("-", "_") for words in lines if words and (not boot or words[0] == "boot")]


def _module_name(path: str) -> str:
    return Path(path).name.removesuffix(".ko").replace("-", "_")


def _merged(path: Path) -> Path:
    """Where a package's path lies in the guest: /usr/bin holds all programs, /usr/lib all libraries."""
    first, *rest = path.parts
    if path.parts[:2] == ("usr", "sbin"):
        return Path("usr/bin", *rest[1:])
    return Path(_MERGED.get(first, first), *rest)


def _single(paths: Iterable[Path]) -> Path:
    found = list(paths)
    if len(found) != 1:
        raise BuildError(f"expected one kernel, found {len(found)}")
    return found[0]
