"""What a guest is told about itself: the OpenStack and the EC2 metadata trees. Pure functions of the want.

The config drive (configdrive.py) and the metadata HTTP service of the network agent serve the same documents.
"""

import base64
import binascii
import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from agents.compute.guest_password import GuestPasswords
from fabric.compute.v1 import server_pb2 as pb

OPENSTACK_VERSIONS = (
    "2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22",
    "2018-08-27", "2020-10-14", "latest",
)  # fmt: skip
EC2_VERSIONS = (
    "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01",
    "2009-04-04", "latest",
)  # fmt: skip

_PASSWORD, _PASSWORD_SINCE = "password", "2013-04-04"

Tree = Mapping[str, "bytes | Tree"]


@dataclass(frozen=True)
class Documents:
    """Everything that a guest may ask for; every version of a tree shows the newest documents."""

    openstack: Mapping[str, bytes]  # meta_data.json, network_data.json, vendor_data.json, user_data...
    contents: Mapping[str, bytes]  # injected files by their number, as meta_data.json's "files" names them
    ec2: Tree  # meta-data and user-data
    key_name: str  # the EC2 listing of public-keys shows it: 0=<name>

    def lookup(self, path: str) -> bytes | list[str] | None:
        """What is at this URL path: a document, the names below it (subtrees end in /), None: nothing."""
        parts = [part for part in path.split("/") if part]
        if parts[:1] == ["openstack"]:
            return self._lookup_openstack(parts[1:])
        if not parts:
            return list(EC2_VERSIONS)
        if parts[0] not in EC2_VERSIONS:
            return None
        node: bytes | Tree = self.ec2
        for part in parts[1:]:
            if isinstance(node, bytes) or part not in node:
                return None
            node = node[part]
        if isinstance(node, bytes):
            return node
        if parts[1:] == ["meta-data", "public-keys"]:
            return [f"0={self.key_name}"]
        return [name if isinstance(child, bytes) else f"{name}/" for name, child in sorted(node.items())]

    def _lookup_openstack(self, parts: list[str]) -> bytes | list[str] | None:
        match parts:
            case []:
                return list(OPENSTACK_VERSIONS)
            case ["content"]:
                return sorted(self.contents)
            case ["content", name]:
                return self.contents.get(name)
            case [version] if version in OPENSTACK_VERSIONS:
                return sorted(self.openstack)
            case [version, name] if version in OPENSTACK_VERSIONS:
                return self.openstack.get(name)
        return None

    def ec2_json(self) -> bytes:
        """The EC2 tree as the config drive carries it: ec2/latest/meta-data.json."""
        tree = self.ec2["meta-data"]
        assert not isinstance(tree, bytes)
        return orjson.dumps(_texts(tree))


@dataclass(frozen=True)
class Metadata:
    """What the guest may read and leave at the metadata service."""

    documents: Documents
    server_id: str
    passwords: GuestPasswords

    def lookup(self, path: str) -> bytes | list[str] | None:
        """As the documents' own, with the password that the guest has left."""
        if self.takes(path):
            return self.passwords.of(self.server_id).encode()
        found = self.documents.lookup(path)
        return [*found, _PASSWORD] if isinstance(found, list) and self.takes(f"{path}/{_PASSWORD}") else found

    def takes(self, path: str) -> bool:
        """Whether it is where a guest leaves its password."""
        match [part for part in path.split("/") if part]:
            case ["openstack", version, name]:
                return name == _PASSWORD and version in OPENSTACK_VERSIONS and version >= _PASSWORD_SINCE
        return False

    async def leave(self, body: bytes) -> None:
        """Raises Conflict, InvalidArgument, NotFound, Unavailable."""
        await self.passwords.leave(self.server_id, body)


def documents(
    want: pb.ServerWant,
    *,
    availability_zone: str = "nova",
    random_seed: bytes = b"",
    admin_password: bool = False,
) -> Documents:
    """The documents of a server.

    availability_zone: the node's, told when the server asked for none. random_seed: fresh entropy for the
    guest, left out when empty. admin_password: whether to tell it (the config drive does, HTTP does not).
    """
    server = want.server
    zone = server.spec.availability_zone or availability_zone
    user_data = decoded(server.spec.user_data)
    openstack = {
        "meta_data.json": orjson.dumps(_meta_data(server, zone, random_seed, admin_password)),
        "network_data.json": orjson.dumps(network_data(server.nics)),
        "vendor_data.json": b"{}",
        "vendor_data2.json": b"{}",
    }
    ec2: dict[str, bytes | Tree] = {"meta-data": _ec2_meta_data(server, zone)}
    if user_data:
        openstack["user_data"] = user_data
        ec2["user-data"] = user_data
    return Documents(
        openstack=openstack,
        contents={f"{n:04}": decoded(file.contents) for n, file in enumerate(server.spec.personality)},
        ec2=ec2,
        key_name=server.spec.key_name,
    )


def hostname(server: pb.Server) -> str:
    """The guest's own name for itself."""
    return server.spec.hostname or f"server-{server.meta.id}"


def decoded(text: str) -> bytes:
    """The bytes of a base64 field; text that is not base64 is taken as it is."""
    try:
        return base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        return text.encode()


def _meta_data(server: pb.Server, zone: str, random_seed: bytes, admin_password: bool) -> dict[str, object]:
    spec = server.spec
    told: dict[str, object] = {
        "uuid": server.meta.id,
        "name": server.meta.name,
        "hostname": hostname(server),
        "availability_zone": zone,
        "project_id": server.meta.project_id,
        "launch_index": spec.launch_index,
        "devices": [
            {"type": "nic", "bus": "none", "mac": nic.mac_address, "tags": [nic.tag]}
            for nic in server.nics
            if nic.tag
        ],
        "dedicated_cpus": [],
    }
    if spec.metadata:
        told["meta"] = dict(spec.metadata)
    if spec.public_key:
        told["public_keys"] = {spec.key_name: spec.public_key}
        told["keys"] = [{"name": spec.key_name, "type": spec.key_type or "ssh", "data": spec.public_key}]
    if spec.personality:
        told["files"] = [
            {"path": file.path, "content_path": f"/content/{n:04}"} for n, file in enumerate(spec.personality)
        ]
    if random_seed:
        told["random_seed"] = base64.b64encode(random_seed).decode()
    if admin_password and spec.admin_password:
        told["admin_pass"] = spec.admin_password
    return told


def network_data(nics: Iterable[pb.Nic]) -> dict[str, object]:
    """network_data.json: links, what addresses they have and how they get them, DNS servers."""
    links: list[dict[str, object]] = []
    networks: list[dict[str, object]] = []
    servers: list[str] = []
    for nic in nics:
        link = nic.tap or f"tap{nic.port_id[:11]}"
        links.append(
            {
                "id": link,
                "type": "phy",
                "vif_id": nic.port_id,
                "ethernet_mac_address": nic.mac_address,
                "mtu": nic.mtu or None,
            }
        )
        for ip in nic.fixed_ips:
            networks.append({"id": f"network{len(networks)}", "link": link} | _network(nic, ip))
            servers.extend(address for address in ip.dns_nameservers if address not in servers)
    services = [{"type": "dns", "address": address} for address in servers]
    return {"links": links, "networks": networks, "services": services}


def _network(nic: pb.Nic, ip: pb.FixedIp) -> dict[str, object]:
    version = ipaddress.ip_address(ip.ip_address).version
    if version == 4 and ip.dhcp:
        return {"type": "ipv4_dhcp", "network_id": nic.network_id}
    if version == 6 and ip.ipv6_address_mode:
        return {"type": f"ipv6_{ip.ipv6_address_mode}", "network_id": nic.network_id}
    if version == 6 and ip.dhcp:
        return {"type": "ipv6_dhcp", "network_id": nic.network_id}
    subnet = ipaddress.ip_network(ip.cidr, strict=False)
    everything = ipaddress.ip_network("0.0.0.0/0" if version == 4 else "::/0")
    routes = [
        {
            "network": str(everything.network_address),
            "netmask": str(everything.netmask),
            "gateway": ip.gateway_ip,
        }
    ]
    return {
        "type": f"ipv{version}",
        "network_id": nic.network_id,
        "ip_address": ip.ip_address,
        "netmask": str(subnet.netmask),
        "routes": routes if ip.gateway_ip else [],
        "services": [{"type": "dns", "address": address} for address in ip.dns_nameservers],
    }


def _ec2_meta_data(server: pb.Server, zone: str) -> Tree:
    spec = server.spec
    told: dict[str, bytes | Tree] = {
        "ami-id": _ec2_id("ami", spec.image.id),
        "ami-launch-index": str(spec.launch_index).encode(),
        "ami-manifest-path": b"FIXME",  # the literal that guests have always been told
        "block-device-mapping": {"ami": b"vda", "root": b"/dev/vda"},
        "hostname": hostname(server).encode(),
        "instance-action": b"none",
        "instance-id": _ec2_id("i", server.meta.id),
        "instance-type": spec.flavor.name.encode(),
        "local-hostname": hostname(server).encode(),
        "local-ipv4": _first_ipv4(server.nics).encode(),
        "placement": {"availability-zone": zone.encode()},
        "public-hostname": hostname(server).encode(),
        "public-ipv4": _first_floating(server.nics).encode(),
        "reservation-id": spec.reservation_id.encode(),
        "security-groups": "\n".join(spec.security_groups or ["default"]).encode(),
    }
    if spec.public_key:
        told["public-keys"] = {"0": {"openssh-key": spec.public_key.encode()}}
    return told


def _ec2_id(prefix: str, uuid: str) -> bytes:
    """An id in EC2's long form, always the same for a UUID."""
    return f"{prefix}-{uuid.replace('-', '')[:17]}".encode()


def _first_ipv4(nics: Iterable[pb.Nic]) -> str:
    addresses = (ip.ip_address for nic in nics for ip in nic.fixed_ips)
    return next((address for address in addresses if ipaddress.ip_address(address).version == 4), "")


def _first_floating(nics: Iterable[pb.Nic]) -> str:
    return next((floating for nic in nics for ip in nic.fixed_ips for floating in ip.floating_ips), "")


def _texts(tree: Tree) -> dict[str, object]:
    return {
        name: child.decode() if isinstance(child, bytes) else _texts(child) for name, child in tree.items()
    }
