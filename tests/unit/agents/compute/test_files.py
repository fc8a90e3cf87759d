"""The files of servers on a node."""

from pathlib import Path

from agents.compute.files import ServerFiles
from tests.unit.agents.compute.wants import SERVER_ID, a_want


async def test_a_rescues_disk_that_was_half_made_goes_and_a_whole_one_is_kept(tmp_path: Path) -> None:
    files, want = ServerFiles(tmp_path, availability_zone="nova"), a_want()
    want.server.rescue.generation = 3
    await files.ensure(want, None)
    half = files.folder(SERVER_ID) / "rescue.part"
    half.mkdir()
    assert (files.has_rest(SERVER_ID), files.rescue(SERVER_ID)) == (True, 0)
    await files.ensure_rescue(want, None)
    assert (files.has_rest(SERVER_ID), files.rescue(SERVER_ID)) == (False, 3)
    half.mkdir()
    files.clean(SERVER_ID, rescue=True)
    assert (files.has_rest(SERVER_ID), files.rescue(SERVER_ID)) == (False, 3)
    assert [disk.path for disk in files.disks(SERVER_ID, rescued=True)][1:] == [
        disk.path for disk in files.disks(SERVER_ID)
    ]
    files.clean(SERVER_ID)
    assert (files.has_rest(SERVER_ID), files.rescue(SERVER_ID)) == (False, 0)


async def test_a_whole_disk_stands_on_no_image(tmp_path: Path) -> None:
    files, want = ServerFiles(tmp_path, availability_zone="nova"), a_want()
    await files.ensure(want, None)
    image = tmp_path / "image"
    image.write_bytes(files.root(SERVER_ID).read_bytes())
    files.remove(SERVER_ID)
    for whole in (True, False):
        want.server.whole_disk = whole
        await files.ensure(want, image)
        assert (files.folder(SERVER_ID) / "base").exists() is not whole
        assert (b"base" in files.root(SERVER_ID).read_bytes()[:4096]) is not whole
        files.remove(SERVER_ID)
