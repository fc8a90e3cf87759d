"""What listens in the namespace of a network listens also after a failure."""

import errno
import gc
import os
import socket
import uuid
from collections.abc import Iterator

import pytest
from pyroute2 import IPRoute

from agents.network import name, netns
from agents.network.dns_relay import DnsRelay
from agents.network.inside import Inside
from agents.network.metadata_http import MetadataServer
from agents.network.namespace import configure
from fabric.network.v1 import network_pb2
from tests.unit.agents.network.wants import a_network, a_subnet


@pytest.fixture
def network_id() -> Iterator[str]:
    """A network whose namespace has the addresses of the metadata service."""
    id_ = str(uuid.uuid4())
    namespace = name.namespace(id_)
    netns.create(namespace)
    netns.call(namespace, lambda: _make_link(a_network(a_subnet(id_), network_id=id_)))
    yield id_
    netns.remove(namespace)


def _make_link(want: network_pb2.NetworkWant) -> None:
    with IPRoute() as ip:
        ip.link("add", ifname=name.INNER, kind="veth", peer="outer")
    configure(want)


@pytest.mark.parametrize(
    ("service", "family", "port"),
    [(MetadataServer(lambda *_: None), socket.AF_INET6, 80), (DnsRelay(lambda: ()), socket.AF_INET, 5353)],
    ids=["metadata", "names"],
)
async def test_what_could_not_listen_leaves_nothing_and_listens_later(
    network_id: str, service: Inside, family: int, port: int
) -> None:
    namespace = name.namespace(network_id)

    def take() -> socket.socket:
        handle = socket.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # the other family's succeeds first
        handle.bind(("", port))
        handle.listen()
        return handle

    with netns.call(namespace, take):
        with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
            await service.ensure(network_id)
        gc.collect()  # sockets that were left would be warnings, which fail
    await service.ensure(network_id)
    address = name.METADATA_V4 if port == 80 else "127.0.0.1"

    def hang_up() -> bytes:
        with socket.create_connection((address, port), 3) as client:
            client.shutdown(socket.SHUT_WR)
            return client.recv(1)

    assert await netns.run(namespace, hang_up) == b""
    await service.close()
