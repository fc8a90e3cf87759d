"""fabricctl join: make this machine a node of a cloud that runs elsewhere."""

import argparse
import asyncio
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

from cryptography import x509

from fabric.ctl import etcd_member, settings
from fabric.ctl.place import Place
from fabric.ctl.progress import Progress, TookTooLong
from fabric.ctl.up import mark_founded, start
from fabric.node.member import CONTROL, ETCD, ROLES
from fabric.node.token import Token
from fabric.node.v1 import node_pb2 as pb
from fabric.node.v1.node_pb2_grpc import JoinServiceStub
from fabric.runtime.certificate import KeyPair, fingerprint, make_request, write_private
from fabric.runtime.client import Client
from fabric.runtime.config import Config, load, parse
from fabric.runtime.errors import FabricError, Unavailable
from fabric.runtime.tls import CONTROLLER, Stranger

_CALL_S = 10.0


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = "`fabricctl node token` on a machine of the cloud prints the command to use here."
    parser.add_argument("cloud", metavar="HOST:PORT", help="where the cloud lets machines join")
    parser.add_argument("--token", required=True)
    parser.add_argument(
        "--role",
        dest="roles",
        default=[],
        action="append",
        choices=ROLES,
        help="what to run here; may be repeated (default: agent)",
    )
    parser.add_argument(
        "--control",
        action="store_true",
        help="all of them: also one of several etcds, and what lets machines join",
    )
    settings.add_options(parser)


def run(place: Place, arguments: argparse.Namespace) -> int:
    progress = Progress()
    try:
        if place.config.exists():
            raise settings.Refused(f"this machine belongs to a cloud already: {place.config}")
        place.make()
        wish = settings.wish(arguments, address=_address_towards(arguments.cloud))
        with progress.stage("joining"):
            roles = list(CONTROL) if arguments.control else arguments.roles or ["agent"]
            _become_member(place, wish, arguments.cloud, Token.parse(arguments.token), roles)
        config = load(place.config)
        start(place, config, progress)
    except FabricError as error:
        print(f"fabricctl join: {error.message}", file=sys.stderr)
        return 1
    except (settings.Refused, OSError, RuntimeError, TookTooLong) as error:
        print(f"fabricctl join: {error}\nlogs: {place.logs}", file=sys.stderr)
        return 1
    print(
        f"{config.node.name} at {config.node.address} is a node of the cloud at {config.bootstrap.public_url}"
    )
    return 0


def _become_member(place: Place, wish: settings.Wish, cloud: str, token: Token, roles: list[str]) -> None:
    """Keys, certificates and the configuration; nothing stays behind when the cloud refuses."""
    ports = settings.free_addresses(wish.address)
    listen = settings.gateway_address(wish) if "gateway" in roles else ""
    request = pb.JoinRequest(
        token=str(token),
        node=wish.name,
        address=wish.address,
        roles=roles,
        signing_request=make_request(KeyPair.at(place.keys, "node").key),
    )
    if CONTROLLER in roles:
        request.controller = ports.controller
        request.controller_signing_request = make_request(KeyPair.at(place.keys, "controller").key)
    authority, welcome = asyncio.run(_ask(cloud, token, request))
    write_private(place.keys / "ca.pem", authority)
    write_private(place.keys / "node.pem", welcome.certificate)
    sections = dict(settings.node_sections(place, wish, ports.agent, roles))
    sections["etcd"] = {
        "endpoints": list(welcome.etcd_endpoints),
        "ca_file": str(place.keys / "ca.pem"),
        **settings.members_file(place),
    }
    sections["bootstrap"] = {"public_url": welcome.public_url, "region": welcome.region}
    if CONTROLLER in roles:
        write_private(place.keys / "controller.pem", welcome.controller_certificate)
        write_private(place.keys / "master.key", welcome.master_keys)
        sections |= _controller_sections(place, sections, ports.controller)
    if "gateway" in roles:
        tls = welcome.public_url.startswith("https:")
        sections["gateway"] = {
            **settings.gateway_section(place, wish.address, listen, listen, tls=tls),
            "catalog_url": welcome.public_url,
        }
    if ETCD in roles:
        write_private(place.keys / "ca.key", welcome.authority_key)
        sections |= _control_sections(place, sections, ports, welcome)
    write_private(place.config, settings.render(sections).encode())


def _controller_sections(place: Place, sections: settings.Sections, listen: str) -> settings.Sections:
    files = settings.tls_files(place.keys / "ca.pem", KeyPair.at(place.keys, "controller"))
    return {
        "etcd": {**sections["etcd"], **files},
        "controller": {"listen": listen, "master_key_file": str(place.keys / "master.key")},
    }


def _control_sections(
    place: Place, sections: settings.Sections, ports: settings.Ports, welcome: pb.Welcome
) -> settings.Sections:
    """What the first machine of a cloud has too. The etcd of this machine is expected by the others from here on."""
    joining = {"join_listen": ports.join, "authority_dir": str(place.keys)}
    passwords = {"admin_password": welcome.admin_password, "demo_password": welcome.demo_password}
    found = {
        **sections,
        "controller": {**sections["controller"], **joining},
        "bootstrap": {**sections["bootstrap"], **passwords},
    }
    config = parse(Config, found, "")
    settings.certify(place, config.node.name, config.node.address, config.node.roles)
    cluster = etcd_member.ensure(config, ports.etcd)
    others = list(welcome.etcd_endpoints)
    write_private(Path(config.etcd.members_file), "\n".join(others).encode())  # who serves already
    mark_founded(place)
    return {**found, "etcd": {**sections["etcd"], "endpoints": [ports.etcd, *others], "cluster": cluster}}


async def _ask(cloud: str, token: Token, request: pb.JoinRequest) -> tuple[bytes, pb.Welcome]:
    """The authority's certificate and the welcome. Raises FabricError, Refused.

    The first call trusts whoever answers, and tells nothing; the token says whether it is the cloud.
    """
    host, _, port = cloud.rpartition(":")
    try:
        shown = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)), timeout=_CALL_S)
    except (OSError, ValueError) as error:
        raise Unavailable(f"nothing lets machines join at {cloud}: {error}") from error
    authority: bytes = (
        await _call(cloud, shown.encode(), "GetAuthority", pb.GetAuthorityRequest())
    ).certificate
    if fingerprint(authority) != token.fingerprint:
        raise settings.Refused(f"{cloud} is not the cloud that the token is of")
    x509.load_pem_x509_certificate(shown.encode()).verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority)
    )
    welcome: pb.Welcome = await _call(cloud, authority, "Join", request)
    return authority, welcome


async def _call(cloud: str, trusted: bytes, rpc: str, request: Any) -> Any:
    client = Client(cloud, identity=Stranger(trusted), peer=CONTROLLER)
    try:
        return await client.call(JoinServiceStub, rpc, request, timeout_s=_CALL_S)
    finally:
        await client.close()


def _address_towards(cloud: str) -> str:
    """The address of this machine from which it reaches the cloud; nothing is sent."""
    host, _, port = cloud.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, int(port)))
        return str(probe.getsockname()[0])
