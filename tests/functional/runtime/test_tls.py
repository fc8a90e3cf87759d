"""Certificates that are renewed while a server and its clients run."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fabric.node.v1 import node_pb2 as pb
from fabric.node.v1.node_pb2_grpc import JoinServiceStub
from fabric.runtime.caller import Caller
from fabric.runtime.certificate import Authority, Validity, request_again, serial, write_private
from fabric.runtime.client import Client
from fabric.runtime.config import Tls
from fabric.runtime.errors import FabricError
from fabric.runtime.rpc import Server
from fabric.runtime.tls import identity, server_credentials
from tests.processes import wait_for

LIFETIME = timedelta(seconds=2)
TICK = timedelta(milliseconds=100)  # TLS asks time(2), which is a tick of the kernel (4 ms or 10) behind


class Cloud:
    """A server, and what it has seen of its callers: serial numbers of certificates."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory, lifetime=LIFETIME)
        self.authority.ensure()
        self.pairs = [self.authority.ensure_pair(name, name, ["127.0.0.1"]) for name in ("server", "client")]
        self.seen: list[str] = []
        server, self.shown = (
            Tls(str(self.authority.certificate), str(pair.certificate), str(pair.key)) for pair in self.pairs
        )
        self.server = Server(credentials=server_credentials(server), peer_check=self._note)
        methods = dict.fromkeys(("GetAuthority", "Join", "Renew"), self._answer)
        self.server.add(pb.DESCRIPTOR.services_by_name["JoinService"], methods)

    async def call(self, client: Client) -> None:
        await client.call(JoinServiceStub, "GetAuthority", pb.GetAuthorityRequest(), timeout_s=3)

    def client(self) -> Client:
        return Client(f"127.0.0.1:{self.server.port}", identity=identity(self.shown))

    def renew(self) -> None:
        lasting = Authority(self.authority.directory)
        for pair in self.pairs:
            old = pair.certificate.read_bytes()
            write_private(pair.certificate, lasting.renew(old, request_again(pair.key)))

    def ends(self) -> datetime:
        """When no certificate that is there now holds any more, by the clock of TLS."""
        return max(Validity.of(pair.certificate).end for pair in self.pairs) + TICK

    def _note(self, context: object) -> None:
        self.seen.append(serial(context.auth_context()["x509_pem_cert"][0]))  # type: ignore[attr-defined]

    async def _answer(self, _: object, caller: Caller) -> pb.Authority:
        return pb.Authority()


async def until(end: datetime) -> None:
    await asyncio.to_thread(wait_for, lambda: end < datetime.now(UTC), 10, "the certificates to end")


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    made = Cloud(tmp_path)
    await made.server.start("127.0.0.1:0")
    yield made
    await made.server.stop(0)


async def test_renewed_certificates_are_shown_without_a_restart(cloud: Cloud) -> None:
    client = cloud.client()
    await cloud.call(client)
    end = cloud.ends()
    cloud.renew()
    await until(end)
    await cloud.call(client)
    another = cloud.client()
    await cloud.call(another)
    new = serial(cloud.pairs[1].certificate.read_bytes())
    assert cloud.seen[0] != new
    assert cloud.seen[1:] == [new, new]
    await client.close()
    await another.close()


async def test_certificate_that_has_ended_is_refused(cloud: Cloud) -> None:
    await until(cloud.ends())
    client = cloud.client()
    with pytest.raises(FabricError):
        await cloud.call(client)
    await client.close()
