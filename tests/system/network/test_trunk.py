"""A trunk: frames with a tag of one guest are those of another port, on another network."""

import contextlib
import socket
import struct
import uuid
from pathlib import Path

from pyroute2 import IPRoute

from agents.network.name import tap, trunk_link
from fabric.network.v1 import port_pb2, trunk_pb2
from tests.system.network.lab import Cloud, Guest, eventually, running, until
from tests.system.network.test_qos import kinds
from tests.unit.agents.network.wants import a_network, a_policy, a_port, a_subnet

TAG = 42
_PACKET_AUXDATA = 8
_SOL_PACKET = 263


def a_trunk(parent: port_pb2.Port, sub: port_pb2.Port) -> trunk_pb2.Trunk:
    trunk = trunk_pb2.Trunk()
    trunk.meta.id, trunk.meta.generation = str(uuid.uuid4()), 1
    trunk.spec.port_id, trunk.spec.admin_state_up = parent.meta.id, True
    trunk.spec.sub_ports.add(port_id=sub.meta.id, segmentation_type="vlan", segmentation_id=TAG)
    return trunk


def udp(source: port_pb2.Port, target: port_pb2.Port, tag: int) -> bytes:
    """A frame with a tag from one port to another, with an empty checksum."""
    ends = [port.spec.fixed_ips[0].ip_address for port in (source, target)]
    macs = [bytes.fromhex(port.spec.mac_address.replace(":", "")) for port in (source, target)]
    data = struct.pack(">HHHH", 7, 7, 13, 0) + b"hello"
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, 64, 17, 0)
    addresses = b"".join(map(socket.inet_aton, ends))
    total = sum(struct.unpack(">10H", header + addresses))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF)
    return macs[1] + macs[0] + struct.pack(">HHH", 0x8100, tag, 0x0800) + header + addresses + data


async def test_frames_with_a_tag_are_those_of_another_port(tmp_path: Path) -> None:
    cloud, ids = Cloud(), [str(uuid.uuid4()) for _ in range(2)]
    left, right = a_subnet(ids[0], "10.0.1.0/24"), a_subnet(ids[1], "10.0.2.0/24")
    for subnet, network_id in ((left, ids[0]), (right, ids[1])):
        cloud.networks.bind(network_id, a_network(subnet, network_id=network_id, dhcp=()))
    parent = a_port(ids[0], [(left, "10.0.1.5")], secure=False)
    sub = a_port(ids[1], [(right, "10.0.2.5")], secure=False, owner="trunk:subport")
    other = a_port(ids[1], [(right, "10.0.2.6")], secure=False)
    for port in (parent, sub, other):
        cloud.ports.bind(port.meta.id, port)
    trunk = a_trunk(parent, sub)
    async with running(cloud, tmp_path):
        await cloud.active(parent.meta.id, other.meta.id)
        await until(
            lambda: (status := cloud.ports.status(sub.meta.id)) is not None and "TRUNK" in status.reason
        )
        cloud.trunks.bind(trunk.meta.id, trunk)
        await cloud.active(sub.meta.id)
        assert status_of(cloud, trunk) == trunk_pb2.TrunkStatus.STATE_ACTIVE
        with contextlib.closing(Guest(parent)) as one, contextlib.closing(Guest(other)) as two:
            await two.address("10.0.2.6/24")

            def listen() -> socket.socket:
                handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                handle.settimeout(0.3)
                handle.bind(("0.0.0.0", 7))
                with contextlib.closing(IPRoute()) as netlink:
                    index = netlink.link_lookup(ifname="eth0")[0]
                    lladdr = sub.spec.mac_address
                    netlink.neigh("replace", ifindex=index, dst="10.0.2.5", lladdr=lladdr, state=0x80)
                return handle

            def watch() -> socket.socket:
                handle = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
                handle.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
                handle.settimeout(0.3)
                return handle

            with await two.run(listen) as receiver, await one.run(watch) as wire:

                def arrives(tag: int = TAG) -> bool:
                    one.send(udp(sub, other, tag))
                    with contextlib.suppress(TimeoutError):
                        return bool(receiver.recvfrom(100) == (b"hello", ("10.0.2.5", 7)))
                    return False

                def returns() -> bool:
                    receiver.sendto(b"answer", ("10.0.2.5", 7))
                    with contextlib.suppress(TimeoutError):
                        while True:
                            data, ancillary, _, _ = wire.recvmsg(200, 100)
                            if b"answer" in data:
                                tag = struct.unpack_from("=IIIHHHH", ancillary[0][2])[5]
                                return bool(tag == TAG)
                    return False

                async def once(probe: bool) -> bool:
                    return probe

                assert await eventually(lambda: once(arrives()))
                assert not arrives(TAG + 1)
                assert await eventually(lambda: once(returns()))

                limited = a_policy("p", bandwidth_limit__egress={"max_kbps": 8000})
                cloud.qos.bind("p", limited)  # the parent's limit and the tags get on with each other
                parent.spec.qos_policy_id = "p"
                cloud.ports.bind(parent.meta.id, parent)
                await until(lambda: "ingress" in kinds(tap(parent.meta.id)))
                assert await eventually(lambda: once(arrives()))
                cloud.ports.bind(parent.meta.id, unlimited(parent))

                cloud.trunks.unbind(trunk.meta.id)
                cloud.ports.unbind(sub.meta.id)
                await until(lambda: not kinds(trunk_link(sub.meta.id)))
                assert not arrives()


def unlimited(port: port_pb2.Port) -> port_pb2.Port:
    port.spec.qos_policy_id = ""
    return port


def status_of(cloud: Cloud, trunk: trunk_pb2.Trunk) -> int:
    status = cloud.trunks.status(trunk.meta.id)
    return 0 if status is None else status.state
