"""The files of servers: one directory each, which appears and disappears as a whole."""

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agents.compute import configdrive, disk, piece_files
from agents.compute.domain import DiskFile
from agents.compute.driver import ImageUnusable, Piece
from agents.compute.metadata import documents
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import NotFound

_ROOT, _EPHEMERAL, _SWAP, _CONFIG = "disk.qcow2", "ephemeral.qcow2", "swap.raw", "config.iso"
_BUILD = "build"  # which rebuild_generation the files are of; absent: the first
_RESCUE = "rescue"  # a directory with a disk, and the generation that asked for it
_COPY, _PART = "copy.", ".part"  # of the root disk, for images
_CHUNK_BYTES = 1 << 20
_MAKING = ".making"
_REMOVING = ".removing"


class ServerFiles:
    """base is a hard link into the image cache: the overlay's backing file cannot be evicted under it."""

    def __init__(self, directory: Path, *, availability_zone: str) -> None:
        self._directory = directory
        self._zone = availability_zone

    def ids(self) -> list[str]:
        """The servers that have files, whole or left over."""
        if not self._directory.exists():
            return []
        return list({path.name.partition(".")[0] for path in self._directory.iterdir()})

    def exist(self, server_id: str) -> bool:
        return self._of(server_id).exists()

    def build(self, server_id: str) -> int:
        """The rebuild_generation that the files were made for; 0: the first, or there are none."""
        try:
            return int((self._of(server_id) / _BUILD).read_text())
        except FileNotFoundError:
            return 0

    def any_left(self, server_id: str) -> bool:
        """Whether there is anything of it, be it half made or half removed."""
        return any(self._variants(server_id))

    async def ensure(self, want: pb.ServerWant, base: Path | None) -> None:
        """Make the disks, in the place of those of an earlier build. Raises ImageUnusable, PoolFull."""
        server_id = want.server.meta.id
        if self.exist(server_id) and self.build(server_id) >= want.server.spec.rebuild_generation:
            return
        async with self._making(server_id) as making:
            await self._make(making, want, base)

    async def receive(self, want: pb.ServerWant, base: Path | None, pieces: AsyncIterator[Piece]) -> None:
        """Make the files of a server that comes from another node. Raises as ensure, and what pieces raises."""
        server_id = want.server.meta.id
        if self.exist(server_id):
            return
        async with self._making(server_id) as making:
            if want.transfer.role == pb.Transfer.ROLE_RECEIVE:
                await self._make(making, want, base)
            elif base is not None:
                os.link(base, making / "base")
            await piece_files.write(making, pieces)

    async def read(self, server_id: str, *, fixed_only: bool) -> AsyncIterator[Piece]:
        """What receive() takes. Raises NotFound."""
        folder = self._of(server_id)
        if not self.exist(server_id):
            raise NotFound("no such server on this node", server=server_id)
        for path in sorted(folder.iterdir()):
            if path.name in ("base", _RESCUE) or (fixed_only and path.name != _CONFIG):
                continue
            async for piece in piece_files.read(path):
                yield piece

    async def grow(self, server: pb.Server) -> None:
        """Make the disks as large as the flavor says; they never shrink. Raises PoolFull."""
        folder, flavor = self._of(server.meta.id), server.spec.flavor
        for name, size_gb in ((_ROOT, flavor.root_gb), (_EPHEMERAL, flavor.ephemeral_gb)):
            path = folder / name
            if size_gb and not path.exists():
                await disk.create(path, size_gb * disk.GIB)
            elif size_gb and disk.virtual_size_bytes(path) < size_gb * disk.GIB:
                await disk.grow(path, size_gb * disk.GIB)
        swap = folder / _SWAP
        if flavor.swap_mib and (not swap.exists() or swap.stat().st_size < flavor.swap_mib * disk.MIB):
            swap.unlink(missing_ok=True)
            disk.create_swap(swap, flavor.swap_mib * disk.MIB)

    @asynccontextmanager
    async def _making(self, server_id: str) -> AsyncIterator[Path]:
        """A directory that becomes the server's at the end, instead of what it had, or is gone."""
        making = self._directory / f"{server_id}{_MAKING}"
        await asyncio.to_thread(self.clean, server_id)
        making.mkdir(parents=True, mode=0o711)
        try:
            yield making
            if self.exist(server_id):
                self._put_aside(self._of(server_id), server_id)
            making.rename(self._of(server_id))
        finally:
            await asyncio.to_thread(self.clean, server_id)

    async def _make(self, folder: Path, want: pb.ServerWant, base: Path | None) -> None:
        flavor = want.server.spec.flavor
        size_bytes = flavor.root_gb * disk.GIB
        if build := want.server.spec.rebuild_generation:
            (folder / _BUILD).write_text(str(build))
        if base is None:
            virtual_bytes = want.server.spec.image.virtual_size_bytes
            await disk.create(folder / _ROOT, size_bytes or virtual_bytes or disk.GIB)
        else:
            os.link(base, folder / "base")
            image = await disk.inspect(folder / "base", want.image.disk_format)
            if size_bytes and image.virtual_size_bytes > size_bytes:
                raise ImageUnusable(
                    f"the image needs {image.virtual_size_bytes} bytes, the flavor's disk has {size_bytes}",
                    reason="FLAVOR_DISK_TOO_SMALL",
                )
            size_bytes = size_bytes or image.virtual_size_bytes
            if want.server.whole_disk:
                await disk.copy(folder / "base", folder / _ROOT, want.image.disk_format)
                await disk.grow(folder / _ROOT, size_bytes)
                (folder / "base").unlink()
            else:
                await disk.create_overlay(folder / _ROOT, "base", want.image.disk_format, size_bytes)
        if flavor.ephemeral_gb:
            await disk.create(folder / _EPHEMERAL, flavor.ephemeral_gb * disk.GIB)
        if flavor.swap_mib:
            disk.create_swap(folder / _SWAP, flavor.swap_mib * disk.MIB)
        if want.server.spec.config_drive:
            told = documents(
                want, availability_zone=self._zone, random_seed=os.urandom(512), admin_password=True
            )
            await asyncio.to_thread(configdrive.write, folder / _CONFIG, told)

    async def ensure_rescue(self, want: pb.ServerWant, base: Path | None) -> None:
        """Make the disk of the rescue, in the place of an earlier one. Raises ImageUnusable, PoolFull."""
        server_id, generation = want.server.meta.id, want.server.rescue.generation
        if self.rescue(server_id) == generation:
            return
        self._clean_rescue(server_id)
        whole = self._of(server_id) / _RESCUE
        part = whole.with_name(whole.name + _PART)
        part.mkdir(mode=0o711)
        (part / _BUILD).write_text(str(generation))
        if base is None:
            await disk.create(part / _ROOT, disk.GIB)
        else:
            os.link(base, part / "base")
            image = await disk.inspect(part / "base", want.rescue_image.disk_format)
            form, size_bytes = want.rescue_image.disk_format, image.virtual_size_bytes
            await disk.create_overlay(part / _ROOT, "base", form, size_bytes)
        part.rename(whole)

    def rescue(self, server_id: str) -> int:
        """The generation of the rescue that there is a disk for; 0: there is none."""
        try:
            return int((self._of(server_id) / _RESCUE / _BUILD).read_text())
        except FileNotFoundError:
            return 0

    def disks(self, server_id: str, *, rescued: bool = False) -> list[DiskFile]:
        """The disks that it has, in the guest's order."""
        folder = self._of(server_id)
        first = (DiskFile(str(folder / _RESCUE / _ROOT), "qcow2"),) if rescued else ()
        known = (
            *first,
            DiskFile(str(folder / _ROOT), "qcow2"),
            DiskFile(str(folder / _EPHEMERAL), "qcow2"),
            DiskFile(str(folder / _SWAP), "raw"),
            DiskFile(str(folder / _CONFIG), "raw", read_only=True),
        )
        return [found for found in known if Path(found.path).exists()]

    def folder(self, server_id: str) -> Path:
        """Where the server's files are, or would be."""
        return self._of(server_id)

    def root(self, server_id: str) -> Path:
        return self._of(server_id) / _ROOT

    def copies(self, server_id: str) -> tuple[str, ...]:
        """The whole ones."""
        names = [path.name for path in self._of(server_id).glob(f"{_COPY}*")]
        return tuple(name.removeprefix(_COPY) for name in names if not name.endswith(_PART))

    @asynccontextmanager
    async def copying(self, server_id: str, copy: str) -> AsyncIterator[Path | None]:
        """A file name that becomes the copy's at the end; None: it is here. Raises NotFound."""
        path = self._of(server_id) / f"{_COPY}{copy}"
        part = path.with_name(path.name + _PART)
        if not self.root(server_id).exists():
            raise NotFound("no such server on this node", server=server_id)
        if path.exists():
            yield None
            return
        part.unlink(missing_ok=True)
        try:
            yield part
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)

    def copy_size_bytes(self, server_id: str, copy: str) -> int:
        path = self._of(server_id) / f"{_COPY}{copy}"
        if not path.exists():
            raise NotFound("no such copy on this node", server=server_id, copy=copy)
        return path.stat().st_size

    async def read_copy(self, server_id: str, copy: str) -> AsyncIterator[bytes]:
        self.copy_size_bytes(server_id, copy)
        with (self._of(server_id) / f"{_COPY}{copy}").open("rb") as file:
            while piece := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield piece

    def console_log(self, server_id: str) -> Path:
        return self._of(server_id) / "console.log"

    def read_console_log(self, server_id: str, max_bytes: int) -> bytes:
        """The tail; virtlogd rotates it to console.log.0 and on, and so keeps it bounded. 0: all of it."""
        path = self.console_log(server_id)
        output = b""
        for part in (path, *(path.with_name(f"{path.name}.{number}") for number in range(10))):
            if not part.exists():
                if part == path:
                    continue
                break
            left = max_bytes - len(output) if max_bytes else part.stat().st_size
            if left <= 0:
                break
            with part.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - left))
                output = file.read(left) + output
        return output

    def remove(self, server_id: str) -> None:
        for path in self._variants(server_id):
            shutil.rmtree(self._put_aside(path, server_id))

    def has_rest(self, server_id: str) -> bool:
        """Whether there is what clean() removes, beside whole copies."""
        parts = self._of(server_id).glob(f"*{_PART}")
        return any(self._directory.glob(f"{server_id}.*")) or any(parts)

    def clean(self, server_id: str, copy: str = "", *, rescue: bool = False) -> None:
        """Remove what is half made or half removed, copies but for the one, a rescue's disk unless it is kept."""
        for path in self._directory.glob(f"{server_id}.*"):
            shutil.rmtree(path)
        for path in self._of(server_id).glob(f"{_COPY}*"):
            if path.name != f"{_COPY}{copy}":
                path.unlink()
        self._clean_rescue(server_id, keep=rescue)

    def _clean_rescue(self, server_id: str, *, keep: bool = False) -> None:
        whole = self._of(server_id) / _RESCUE
        part = whole.with_name(whole.name + _PART)
        if part.exists():
            shutil.rmtree(part)
        if whole.exists() and not keep:
            shutil.rmtree(whole.rename(part))  # it goes as a whole, too

    def _put_aside(self, path: Path, server_id: str) -> Path:
        return path.rename(self._directory / f"{server_id}{_REMOVING}{uuid.uuid4().hex[:8]}")

    def _variants(self, server_id: str) -> list[Path]:
        whole = self._of(server_id)
        return [path for path in (whole, *self._directory.glob(f"{server_id}.*")) if path.exists()]

    def _of(self, server_id: str) -> Path:
        return self._directory / str(uuid.UUID(server_id))
