"""The link of a network's namespace."""

import socket
import uuid

from pyroute2 import IPRoute

from agents.network import name, netns
from agents.network.namespace import configure
from tests.unit.agents.network.wants import a_network, a_subnet


def test_the_metadata_service_can_listen_at_once() -> None:
    network_id = str(uuid.uuid4())
    want = a_network(a_subnet(network_id), network_id=network_id)

    def listen() -> None:
        with IPRoute() as ip:
            ip.link("add", ifname=name.INNER, kind="veth", peer={"ifname": "outer"})
        configure(want)
        for family, address in ((socket.AF_INET, name.METADATA_V4), (socket.AF_INET6, name.METADATA_V6)):
            with socket.socket(family, socket.SOCK_STREAM) as handle:
                scope = (0, socket.if_nametoindex(name.INNER)) if family == socket.AF_INET6 else ()
                handle.bind((address, 80, *scope))

    for _ in range(20):  # an address that duplicates are looked for first is not there for a moment
        netns.scratch(listen)
