"""Servers as tests want them."""

import base64

from fabric.compute.v1 import server_pb2 as pb

SERVER_ID = "0f3b1c52-7d0a-4d7e-9a35-6a1f0f6f2d11"
PORT_ID = "5b0f2b6e-1111-4222-8333-944445555666"


def a_nic(port_id: str = PORT_ID, mac: str = "fa:16:3e:00:00:01") -> pb.Nic:
    return pb.Nic(
        port_id=port_id,
        network_id="0aa0c1ce-0000-4000-8000-000000000001",
        network_name="private",
        mac_address=mac,
        mtu=1450,
        tap=f"tap{port_id[:11]}",
        fixed_ips=[
            pb.FixedIp(
                ip_address="10.0.0.5",
                cidr="10.0.0.0/24",
                gateway_ip="10.0.0.1",
                dns_nameservers=["10.0.0.2"],
                ip_version=4,
                dhcp=True,
            )
        ],
    )


def a_want(
    server_id: str = SERVER_ID,
    *,
    power: pb.ServerSpec.Power.ValueType = pb.ServerSpec.POWER_RUNNING,
    nics: tuple[pb.Nic, ...] = (),
    generation: int = 1,
    ram_mib: int = 128,
    root_gb: int = 1,
    user_data: bytes = b"",
) -> pb.ServerWant:
    """A server with one vCPU whose image is IMAGE-1."""
    want = pb.ServerWant()
    server = want.server
    server.meta.id = server_id
    server.meta.name = "web"
    server.meta.project_id = "p1"
    server.meta.generation = generation
    server.meta.request_id = "req-1"
    server.spec.power = power
    server.spec.hostname = "web"
    server.spec.user_data = base64.b64encode(user_data).decode()
    server.spec.flavor.MergeFrom(pb.FlavorCopy(name="m1.tiny", vcpus=1, ram_mib=ram_mib, root_gb=root_gb))
    server.spec.image.MergeFrom(pb.ImageRef(id="image-1", name="guest", disk_format="qcow2"))
    server.nics.extend(nics)
    want.image.MergeFrom(pb.ImageSource(image_id="image-1", address="127.0.0.1:1", disk_format="qcow2"))
    return want
