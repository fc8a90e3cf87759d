"""The fabric-gateway process on a real socket."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from tests.functional.gateway.harness import Networks, controller


class Process:
    def __init__(self, port: int, process: asyncio.subprocess.Process) -> None:
        self.port, self.process = port, process

    async def send(self, raw: bytes) -> bytes:
        """Everything that comes back for these bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(raw)
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Process]:
    async with controller(Networks()) as upstream_port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = tmp_path / "fabric.toml"
        config.write_text(
            f'[gateway]\nlisten = "127.0.0.1:{port}"\ncontrollers = ["127.0.0.1:{upstream_port}"]\n'
        )
        with (tmp_path / "log").open("wb") as logs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "--config", str(config), stderr=logs
            )
        try:
            async with asyncio.timeout(20):
                while True:
                    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                        break
                    await asyncio.sleep(0.05)
            yield Process(port, process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def post(name: str) -> bytes:
    body = orjson.dumps({"network": {"name": name}})
    return (
        b"POST /network/v2.0/networks HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Auth-Token: admin\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


async def test_it_answers_and_lets_requests_end_before_it_stops(gateway: Process) -> None:
    slow = asyncio.create_task(gateway.send(post("slow")))
    await asyncio.sleep(0.3)
    gateway.process.send_signal(signal.SIGTERM)
    answer = await slow
    assert answer.startswith(b"HTTP/1.1 201")
    assert await asyncio.wait_for(gateway.process.wait(), 10) == 0


ODD = [
    b"GET /network/\xff\xfe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"GET /network/v2.0/networks?\xff=\xfe HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"GET /network/v2.0/networks HTTP/1.1\r\nHost: h\r\nX-Auth-Token: \xff\r\nConnection: close\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"GET //nowhere/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"GET /network/v2.0/networks HTTP/1.1\r\nHost: \xff\xff\r\nConnection: close\r\n\r\n",
    b"NONSENSE / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    b"POST /network/v2.0/networks HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\nConnection: close\r\n\r\n",
    b"\x00\x01\x02\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
]


async def test_odd_bytes_are_a_4xx(gateway: Process) -> None:
    answers = {raw: (await gateway.send(raw))[:12] for raw in ODD}
    assert {raw: answer for raw, answer in answers.items() if not answer.startswith(b"HTTP/1.1 4")} == {}
    assert (await gateway.send(post("still there"))).startswith(b"HTTP/1.1 201")
