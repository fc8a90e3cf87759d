"""The fabric-gateway process on a real socket."""

import asyncio
import contextlib
import resource
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from fabric.runtime.certificate import Authority
from tests.functional.gateway.harness import Networks, controller

PATIENCE_S = 2.0


class Process:
    def __init__(self, port: int, process: asyncio.subprocess.Process) -> None:
        self.port, self.process = port, process

    async def send(self, *raw: bytes, pause_s: float = 0.0) -> bytes:
        """Everything that comes back for these bytes, in pieces with a pause between them."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            answer = asyncio.create_task(reader.read())
            for piece in raw:
                writer.write(piece)
                await asyncio.wait([answer], timeout=pause_s)
            return await asyncio.wait_for(answer, 30)
        except ConnectionError:
            return b""
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def running(directory: Path, more: str = "") -> AsyncIterator[Process]:
    async with controller(Networks()) as upstream_port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = directory / "fabric.toml"
        config.write_text(
            f'[gateway]\nlisten = "127.0.0.1:{port}"\ncontrollers = ["127.0.0.1:{upstream_port}"]\n'
            f"patience_s = {PATIENCE_S}\n{more}"
        )
        with (directory / "log").open("wb") as logs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "gateway", "--config", str(config), stderr=logs
            )
        try:
            async with asyncio.timeout(30):
                while True:
                    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                        break
                    await asyncio.sleep(0.05)
            yield Process(port, process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Process]:
    async with running(tmp_path) as process:
        yield process


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
    assert await asyncio.wait_for(gateway.process.wait(), 30) == 0


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


HEAD = b"POST /network/v2.0/networks HTTP/1.1\r\nHost: h\r\nX-Auth-Token: admin\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n"
NETWORK = b'{"network": {"name": "n"}}'


AMBIGUOUS = [
    CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    HEAD + b"Content-Length: +5\r\n\r\nhello",
    HEAD + b"Content-Length : 5\r\n\r\nhello",
    HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    CHUNKED + b"\r\n-1\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"\r\n5\r\nhello!!\r\n0\r\n\r\n",
    HEAD + b"X-A: 1\r\n\tX-B: 2\x00\r\n\r\n",
]


async def test_what_proxies_could_read_otherwise_is_refused(gateway: Process) -> None:
    answers = {raw: await gateway.send(raw) for raw in AMBIGUOUS}
    refused = {raw for raw, answer in answers.items() if answer.startswith(b"HTTP/1.1 400")}
    assert set(AMBIGUOUS) - refused == set()
    assert {answer.count(b"HTTP/1.1") for answer in answers.values()} == {1}


async def test_heads_bodies_and_trailers_have_an_end(gateway: Process) -> None:
    whole = await gateway.send(HEAD + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n")
    assert whole.startswith(b"HTTP/1.1 431")
    endless = b"x" * 2**16  # answers may be lost, since more is sent than is read
    assert b"HTTP/1.1 2" not in await gateway.send(HEAD + b"X-Long: ", *[endless] * 8)
    large = b"%x\r\n%s\r\n" % (2**16, endless)
    assert b"HTTP/1.1 2" not in await gateway.send(CHUNKED + b"\r\n", *[large] * 20)
    trailers = CHUNKED + b"\r\n%x\r\n%s\r\n0\r\nX-Long: " % (len(NETWORK), NETWORK)
    assert b"HTTP/1.1 2" not in await gateway.send(trailers, *[endless] * 8)
    assert (await gateway.send(post("still there"))).startswith(b"HTTP/1.1 201")


async def test_who_is_slow_or_silent_is_not_waited_for(gateway: Process) -> None:
    began = asyncio.get_running_loop().time()
    answers = await asyncio.gather(
        gateway.send(b""),
        gateway.send(HEAD),
        gateway.send(*[bytes([byte]) for byte in HEAD], pause_s=0.2),  # it is never silent, and never done
        gateway.send(HEAD + b"Content-Length: 9\r\n\r\n{"),
    )
    assert set(answers) == {b""}
    assert asyncio.get_running_loop().time() - began < 3 * PATIENCE_S
    pieces = [NETWORK[at : at + 4] for at in range(0, len(NETWORK), 4)]  # takes longer, but goes on
    slow = await gateway.send(
        HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(NETWORK), *pieces, pause_s=0.4
    )
    assert slow.startswith(b"HTTP/1.1 201")


async def test_many_open_connections_leave_room_for_others(gateway: Process) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    try:
        opened = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(1500)]
        assert (await gateway.send(post("among many"))).startswith(b"HTTP/1.1 201")
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in opened), return_exceptions=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_clients_let_go_of_their_connections_before_it_ends(gateway: Process) -> None:
    """So that none of them sends its next request into one that is being closed."""
    request = post("kept").replace(b"Connection: close\r\n", b"")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    gateway.process.send_signal(signal.SIGTERM)
    told = b""
    while b"connection: close" not in told:
        writer.write(request)
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert told.startswith(b"HTTP/1.1 201")
        length = int(told.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    assert await asyncio.wait_for(gateway.process.wait(), 30) == 0


async def test_tls_shows_the_certificate_that_is_in_the_file_now(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.ensure()
    pair = authority.ensure_pair("node", "node", ["127.0.0.1"])
    trust = ssl.create_default_context(cafile=authority.certificate)

    async def shown(port: int) -> bytes | None:
        """The certificate of who answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return found

    files = f'cert_file = "{pair.certificate}"\nkey_file = "{pair.key}"\n'
    async with running(tmp_path, files) as gateway:
        first = await shown(gateway.port)
        authority.ensure_pair("node", "node", ["127.0.0.1", "localhost"])
        async with asyncio.timeout(30):
            while await shown(gateway.port) == first:
                await asyncio.sleep(0.2)
