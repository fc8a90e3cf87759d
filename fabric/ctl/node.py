"""fabricctl node: the nodes of the cloud, for who operates them. One function a verb."""

import argparse
import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from fabric.ctl.cloud_state import cloud_state
from fabric.ctl.place import Place
from fabric.node.member import TOKENS
from fabric.node.token import Token, issued
from fabric.runtime.certificate import fingerprint
from fabric.runtime.config import Config, load
from fabric.runtime.errors import FabricError


def add(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    token = verbs.add_parser("token", help="print the command by which a machine joins")
    token.add_argument("--ttl", type=float, default=3600, metavar="SECONDS", help="default: an hour")
    token.add_argument("--uses", type=int, default=1, help="how many machines it lets in (default: 1)")
    token.add_argument(
        "--controller", action="store_true", help="also as controllers: they are given the master key"
    )
    token.set_defaults(do=_token)


def run(place: Place, arguments: argparse.Namespace) -> int:
    try:
        return int(asyncio.run(arguments.do(load(place.config), arguments)))
    except FabricError as error:
        print(f"fabricctl node: {error.message}", file=sys.stderr)
        return 1


async def _token(config: Config, arguments: argparse.Namespace) -> int:
    if not config.controller.join_listen:
        print("fabricctl node token: no machine may join here ([controller] join_listen)", file=sys.stderr)
        return 1
    token = Token.new(_fingerprint(Path(config.tls.ca_file)))
    record = issued(
        token, ttl=timedelta(seconds=arguments.ttl), uses=arguments.uses, controller=arguments.controller
    )
    async with cloud_state(config) as store, store.transaction() as txn:
        txn.create(TOKENS, record)
    print(f"fabricctl join {config.controller.join_listen} --token {token}")
    return 0


def _fingerprint(file: Path) -> str:
    return fingerprint(file.read_bytes())
