"""Build the guest image: python -m guest.build --out fabric-guest.qcow2."""

import argparse
import fcntl
import hashlib
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from guest import disk, package, tree
from guest.error import BuildError

DEFAULT_SIZE_MIB = 128
_FORMAT = "1"  # part of the digest: raise when the same sources must give another image


def build(out: Path, *, cache: Path | None = None, size_mib: int = DEFAULT_SIZE_MIB) -> str:
    """Have the image at out, from the cache when its inputs are unchanged. Returns the inputs' digest.

    Needs apt's package lists, and the network for packages that are not in the cache. Raises BuildError.
    """
    cache = cache or default_cache()
    wanted = package.read_wanted((tree.SOURCES / "packages.txt").read_text())
    archives = package.resolve([item.name for item in wanted])
    digest = _digest(archives, size_mib)
    image = cache / f"{digest}.qcow2"
    with _only_one(cache):
        if not image.exists():
            package.fetch(archives, cache / "packages")
            with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as work:
                _make(Path(work), image, wanted, archives, cache / "packages", size_mib, digest)
            _forget_older(cache)
        disk.copy(image, out)
    return digest


def default_cache() -> Path:
    """FABRIC_GUEST_CACHE, else below the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("FABRIC_GUEST_CACHE") or Path(base) / "fabric" / "guest")


def _make(
    work: Path,
    image: Path,
    wanted: Sequence[package.Wanted],
    archives: Sequence[package.Archive],
    packages: Path,
    size_mib: int,
    digest: str,
) -> None:
    root, initramfs = work / "root", work / "initramfs"
    kernel = work / package.KERNEL
    for item, archive in zip(wanted, archives, strict=True):
        unpacked = package.unpack(archive, packages, work / "unpacked")
        if archive.name.startswith("linux-image-"):
            kernel = unpacked
        else:
            tree.take(unpacked, item.globs, root)
    tree.assemble_root(root)
    tree.assemble_initramfs(initramfs, root)
    tree.install_modules(kernel, root / "usr/bin/busybox", root, boot=False)
    tree.install_modules(kernel, root / "usr/bin/busybox", initramfs, boot=True)
    tree.pack(initramfs, work / "initrd")
    vmlinuz = next(iter(kernel.glob("boot/vmlinuz-*")))
    identity = str(uuid.uuid5(uuid.NAMESPACE_URL, digest))
    disk.make_raw(work / "disk.raw", root, work / "initrd", vmlinuz, size_mib=size_mib, uuid=identity)
    disk.to_qcow2(work / "disk.raw", work / "disk.qcow2")
    (work / "disk.qcow2").replace(image)


def _forget_older(cache: Path) -> None:
    """Keep the two images made last: one may be another working tree's."""
    for image in sorted(cache.glob("*.qcow2"), key=lambda path: path.stat().st_mtime)[:-2]:
        image.unlink()


def _digest(archives: Sequence[package.Archive], size_mib: int) -> str:
    """Over everything that decides what the image holds: the sources here and the packages' digests."""
    total = hashlib.sha256(f"{_FORMAT} {size_mib} {[archive.sha256 for archive in archives]}".encode())
    for path in sorted(tree.SOURCES.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(f"{path.relative_to(tree.SOURCES)} {path.stat().st_mode & 0o111:o}\n".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@contextmanager
def _only_one(cache: Path) -> Iterator[None]:
    """Hold the cache's lock: a second builder waits and then finds the image."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the small guest image from Debian packages.")
    parser.add_argument("--out", type=Path, required=True, help="the qcow2 file to write")
    parser.add_argument("--cache", type=Path, help=f"packages and images (default: {default_cache()})")
    parser.add_argument("--size-mib", type=int, default=DEFAULT_SIZE_MIB, help="default: %(default)s")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        digest = build(arguments.out, cache=arguments.cache, size_mib=arguments.size_mib)
    except BuildError as error:
        print(f"guest image: {error}", file=sys.stderr)
        return 1
    size_mib = arguments.out.stat().st_size >> 20
    print(f"{arguments.out}: {size_mib} MiB, inputs {digest[:12]}, {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
