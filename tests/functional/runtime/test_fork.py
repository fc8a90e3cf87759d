"""Processes start other programs while gRPC is busy in them."""

import subprocess
import sys

from tests.functional.etcd import EtcdProcess
from tests.processes import ROOT

_PROGRAM = """
import asyncio, sys, uvloop
from fabric.runtime.etcd import Etcd

async def ask(etcd, over):
    while not over.is_set():
        await etcd.revision()

async def main():
    etcd, over = Etcd([sys.argv[1]]), asyncio.Event()
    asking = [asyncio.create_task(ask(etcd, over)) for _ in range(8)]
    for _ in range(100):
        process = await asyncio.create_subprocess_exec("true")
        assert await process.wait() == 0
    over.set()
    await asyncio.gather(*asking)
    await etcd.close()

uvloop.run(main())
"""


def test_starting_programs_harms_neither_side() -> None:
    with EtcdProcess() as etcd:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, etcd.endpoint],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
