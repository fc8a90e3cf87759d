"""Interfaces of the node that join networks, and are the node's again afterwards."""

import contextlib
import uuid
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from agents.network import netns
from agents.network.links import index
from agents.network.name import bridge, uplink
from agents.network.settings import NetworkSettings
from fabric.network.v1 import network_pb2
from fabric.runtime.resource import copy_of
from tests.system.network.lab import HERE, Cloud, running, until
from tests.unit.agents.network.wants import a_network, a_subnet

SETTINGS = NetworkSettings(grace=timedelta(seconds=1), physical_networks={"lan": "wire"})


def a_flat(kind: str = "flat") -> network_pb2.NetworkWant:
    network_id = str(uuid.uuid4())
    want = a_network(a_subnet(network_id, enable_dhcp=False), network_id=network_id, dhcp=())
    want.network.spec.network_type, want.network.spec.physical_network = kind, "lan"
    want.network.spec.segmentation_id = 7 if kind == "vlan" else 0
    return want


def make_wire() -> None:
    with contextlib.closing(IPRoute()) as netlink:
        netlink.link("add", ifname="wire", kind="veth", peer={"ifname": "other"})
        index = netlink.link_lookup(ifname="wire")[0]
        netlink.addr("add", index=index, address="192.0.2.1", prefixlen=24)


def free_wire() -> None:
    with contextlib.closing(IPRoute()) as netlink:
        netlink.flush_addr(index=netlink.link_lookup(ifname="wire")[0])


def wire() -> tuple[Any, Any]:
    """The name of its bridge, and its alias."""
    with contextlib.closing(IPRoute()) as netlink:
        link = netlink.link("get", ifname="wire")[0]
        master = link.get_attr("IFLA_MASTER")
        name = netlink.get_links(master)[0].get_attr("IFLA_IFNAME") if master else None
        return name, link.get_attr("IFLA_IFALIAS")


async def test_an_interface_joins_its_network_unless_the_node_lives_there(tmp_path: Path) -> None:
    cloud, flat = Cloud(), a_flat()
    network_id = flat.network.meta.id
    netns.call(HERE, make_wire)

    def said() -> tuple[str, int]:
        status = cloud.networks.status(network_id)
        return ("", 0) if status is None else (status.reason, status.state)

    async with running(cloud, tmp_path, SETTINGS):
        cloud.networks.bind(network_id, flat)
        await until(lambda: said()[0] == "INTERFACE_HAS_ADDRESSES")
        assert netns.call(HERE, wire) == (None, None)
        netns.call(HERE, free_wire)
        cloud.networks.bind(network_id, flat)
        await until(lambda: said() == ("", network_pb2.NetworkStatus.STATE_ACTIVE))
        assert netns.call(HERE, wire)[0] == bridge(network_id)
        cloud.networks.unbind(network_id)
        await until(lambda: netns.call(HERE, wire) == (None, None))


async def test_a_vlan_is_there_or_the_node_says_why_not(tmp_path: Path) -> None:
    cloud, vlan = Cloud(), a_flat("vlan")
    network_id = vlan.network.meta.id
    netns.call(HERE, make_wire)
    async with running(cloud, tmp_path, SETTINGS):
        cloud.networks.bind(network_id, vlan)
        await until(lambda: cloud.networks.status(network_id) is not None)
        status = cloud.networks.status(network_id)
        assert status is not None
        active = status.state == network_pb2.NetworkStatus.STATE_ACTIVE
        assert active or status.reason == "VLAN_NOT_SUPPORTED"


async def test_a_node_that_comes_to_use_another_segment_leaves_the_first(tmp_path: Path) -> None:
    cloud, flat = Cloud(), a_flat()
    network_id = flat.network.meta.id
    own, vxlan = copy_of(flat), copy_of(flat)
    own.network.spec.physical_network = "way"
    vxlan.network.spec.network_type, vxlan.network.spec.physical_network = "vxlan", ""
    vxlan.network.spec.segmentation_id = 7
    netns.call(HERE, make_wire)
    netns.call(HERE, free_wire)

    def joined() -> tuple[bool, bool]:
        """Whether the wire is on the bridge, and whether the node itself is."""
        return wire()[0] == bridge(network_id), index(uplink(network_id)) is not None

    async with running(cloud, tmp_path, replace(SETTINGS, physical_networks={"lan": "wire", "way": ""})):
        for want, expected in (
            (flat, (True, False)),
            (own, (False, True)),
            (flat, (True, False)),
            (vxlan, (False, False)),
        ):
            cloud.networks.bind(network_id, want)
            await until(partial(lambda e: netns.call(HERE, joined) == e, expected))
