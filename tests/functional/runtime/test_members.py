"""Which members of etcd are asked, on a real etcd."""

import asyncio
from pathlib import Path

import pytest

from fabric.runtime.etcd import Etcd
from tests.functional.etcd import EtcdProcess

NOBODY = "127.0.0.1:1"


async def test_members_that_were_named_are_asked_when_those_that_were_seen_are_gone(tmp_path: Path) -> None:
    seen = tmp_path / "etcd-members"
    seen.write_text(NOBODY)
    with EtcdProcess() as process:
        etcd = Etcd([process.endpoint], members_file=seen, timeout_s=1.0)
        assert etcd.endpoints == (NOBODY,)
        following = asyncio.create_task(etcd.follow_members())
        try:
            async with asyncio.timeout(30):
                while process.endpoint not in etcd.endpoints:
                    await asyncio.sleep(0.01)
            assert await etcd.revision() > 0
        finally:
            following.cancel()
            await etcd.close()


@pytest.mark.parametrize("content", ["", None])
def test_named_members_are_asked_when_none_was_seen(tmp_path: Path, content: str | None) -> None:
    seen = tmp_path / "etcd-members"
    if content is not None:
        seen.write_text(content)
    assert Etcd([NOBODY], members_file=seen).endpoints == (NOBODY,)
