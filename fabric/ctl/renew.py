"""fabricctl renew: certificates of this machine that end soon are made anew; nothing is restarted that users notice."""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from fabric.ctl.place import Place
from fabric.ctl.plan import owns_libvirt
from fabric.node.v1 import node_pb2 as pb
from fabric.node.v1.node_pb2_grpc import JoinServiceStub
from fabric.runtime.certificate import Authority, KeyPair, Validity, request_again, write_private
from fabric.runtime.client import Client
from fabric.runtime.config import Config, load
from fabric.runtime.discovery import CONTROLLERS
from fabric.runtime.errors import FabricError, Unavailable
from fabric.runtime.etcd import as_node, connect
from fabric.runtime.tls import CONTROLLER, Stranger

# whom no record of a member tells of; who has the authority's key signs them itself
_LOCAL = ("etcd", "root")
_CALL_S = 10.0
_STOP_S = 10.0


def add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "The supervisor does this by itself when a third of a certificate's lifetime is left."
    )
    parser.add_argument("--all", action="store_true", help="also those that last long yet")


def run(place: Place, arguments: argparse.Namespace) -> int:
    config = load(place.config)
    now = datetime.now(UTC)
    due = [pair for pair in pairs(place) if arguments.all or Validity.of(pair.certificate).is_due(now)]
    renewed = []
    try:
        for pair in due:
            write_private(pair.certificate, _renewed(config, pair))
            renewed.append(pair.certificate.stem)
            print(f"{pair.certificate} holds until {Validity.of(pair.certificate).end:%Y-%m-%d %H:%M:%S} UTC")
    except (FabricError, ValueError) as error:
        print(f"fabricctl renew: {error}", file=sys.stderr)
        return 1
    finally:
        if "node" in renewed and owns_libvirt(place, config):
            place.desk.stop("libvirtd", _STOP_S)  # it reads them when it starts; guests do not notice
    return 0


def pairs(place: Place) -> Iterator[KeyPair]:
    """What this machine shows to others; who does not show anything has none."""
    for name in ("node", "controller", *_LOCAL):
        pair = KeyPair.at(place.keys, name)
        if pair.certificate.exists():
            yield pair


def _renewed(config: Config, pair: KeyPair) -> bytes:
    """Raises FabricError."""
    certificate, request = pair.certificate.read_bytes(), request_again(pair.key)
    own = Authority(pair.certificate.parent, timedelta(seconds=config.controller.certificate_lifetime_s))
    no_members = own.key.exists() and not config.controller.join_listen  # a cloud of one machine, for ever
    if pair.certificate.stem in _LOCAL or no_members:
        return own.renew(certificate, request)
    trusted = Stranger(Path(config.tls.ca_file).read_bytes())
    return asyncio.run(
        _ask(config, trusted, pb.RenewRequest(certificate=certificate, signing_request=request))
    )


async def _ask(config: Config, trusted: Stranger, request: pb.RenewRequest) -> bytes:
    """Any of the controllers that have the authority's key."""
    refusal: FabricError = Unavailable("no controller that renews certificates is alive")
    for address in await _signers(config):
        client = Client(address, identity=trusted, peer=CONTROLLER)
        try:
            reply = await client.call(JoinServiceStub, "Renew", request, timeout_s=_CALL_S)
            return bytes(reply.certificate)
        except FabricError as error:
            refusal = error
        finally:
            await client.close()
    raise refusal


async def _signers(config: Config) -> list[str]:
    etcd = connect(as_node(config))
    try:
        found, _ = await etcd.scan(f"{CONTROLLERS}/")
    finally:
        await etcd.close()
    return [str(value["join"]) for value in (orjson.loads(each.value) for each in found) if "join" in value]
