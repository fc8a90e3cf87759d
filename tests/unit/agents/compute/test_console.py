"""The consoles of domains."""

import asyncio
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from agents.compute import console
from fabric.compute.v1 import console_pb2 as pb
from fabric.runtime.errors import NotFound

DOMAIN = """<domain><devices>
<serial type='pty'><source path='/dev/pts/7'/></serial>
<graphics type='vnc' socket='/v/vnc.sock'><listen type='socket' socket='/v/vnc.sock'/></graphics>
</devices></domain>"""


@pytest.mark.parametrize(
    ("kind", "path"), [(pb.CONSOLE_KIND_VNC, "/v/vnc.sock"), (pb.CONSOLE_KIND_SERIAL, "/dev/pts/7")]
)
def test_a_domain_says_where_its_consoles_are(kind: pb.ConsoleKind.ValueType, path: str) -> None:
    assert console.place(ET.fromstring(DOMAIN), kind) == path
    assert console.place(ET.fromstring("<domain/>"), kind) == ""


async def test_a_terminal_loses_nothing_and_ends_when_it_is_closed() -> None:
    guest, ours = os.openpty()
    terminal = await console.open_terminal(Path(os.ttyname(ours)))
    os.close(ours)
    try:
        reading = asyncio.create_task(terminal.read())
        await asyncio.sleep(0)
        os.write(guest, b"login: ")
        assert await asyncio.wait_for(reading, 30) == b"login: "
        await terminal.write(b"root\r")
        assert os.read(guest, 100) == b"root\r"
        reading = asyncio.create_task(terminal.read())
        await asyncio.sleep(0)
        terminal.close()
        assert await asyncio.wait_for(reading, 30) == b""
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="error"):  # nobody holds it any more
            os.read(guest, 1)
    finally:
        os.close(guest)


async def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    for way in (console.open_socket, console.open_terminal):
        with pytest.raises(NotFound):
            await way(tmp_path / "none")
