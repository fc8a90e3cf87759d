"""fabricctl node: the nodes of the cloud, for who operates them. One function a verb."""

import argparse
import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from fabric.compute.node import NODES, node_id
from fabric.compute.server import SERVERS
from fabric.ctl import drain, lost
from fabric.ctl.api import ApiError, Cloud, login
from fabric.ctl.cloud_state import cloud_state
from fabric.ctl.holding import wanted
from fabric.ctl.place import Place
from fabric.ctl.progress import Progress
from fabric.node.access import access, as_root
from fabric.node.member import ETCD, MEMBERS, TOKENS
from fabric.node.service import withdraw
from fabric.node.token import Token, issued
from fabric.node.v1 import node_pb2 as pb
from fabric.runtime.certificate import fingerprint
from fabric.runtime.config import Config, load
from fabric.runtime.errors import FabricError, FailedPrecondition
from fabric.runtime.etcd_members import Members
from fabric.runtime.store import ROOT, Store

DRAIN_S = 600.0
REMOVE_S = 10.0


def add(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    token = verbs.add_parser("token", help="print the command by which a machine joins")
    token.add_argument("--ttl", type=float, default=3600, metavar="SECONDS", help="default: an hour")
    token.add_argument("--uses", type=int, default=1, help="how many machines it lets in (default: 1)")
    token.add_argument(
        "--controller",
        action="store_true",
        help="also as controllers (they are given the master key), or with --control (the authority's key too)",
    )
    verbs.add_parser("list", help="all of them, a line each")
    for verb, summary in (
        ("show", "one of them, and what it has to do"),
        ("enable", "it takes servers again"),
        ("disable", "it takes no new servers; those that it has stay"),
        ("drain", "disable it, and move its servers to other nodes"),
        ("remove", "forget one that is gone: its records, its certificates and what it may do in etcd"),
    ):
        command = verbs.add_parser(verb, help=summary)
        command.add_argument("node")
        if verb in ("disable", "drain"):
            command.add_argument("--reason", default="maintenance", help="default: %(default)s")
        if verb == "drain":
            command.add_argument("--timeout", type=float, default=DRAIN_S, metavar="SECONDS")
        if verb == "remove":
            command.add_argument(
                "--alive",
                action="store_true",
                help="shut it out of the cloud even if it is alive: it was stolen",
            )
            command.add_argument(
                "--lost",
                action="store_true",
                help="it never comes back: its servers are evacuated, and what it was to let go of is let go of",
            )


def run(place: Place, arguments: argparse.Namespace) -> int:
    config = load(place.config)
    try:
        match arguments.verb:
            case "token":
                asyncio.run(_token(config, arguments))
            case "list":
                print("\n".join(asyncio.run(_list(config))))
            case "show":
                print("\n".join(asyncio.run(_show(config, arguments.node))))
            case "enable":
                drain.enable(_cloud(config), arguments.node)
            case "disable":
                drain.disable(_cloud(config), arguments.node, arguments.reason)
            case "drain":
                return drain.drain(
                    _cloud(config), arguments.node, arguments.reason, arguments.timeout, Progress()
                )
            case "remove":
                asyncio.run(_remove(config, arguments))
    except (FabricError, ApiError) as error:
        print(f"fabricctl node: {error}", file=sys.stderr)
        return 1
    return 0


def _cloud(config: Config) -> Cloud:
    return login(config, "admin")


async def _token(config: Config, arguments: argparse.Namespace) -> None:
    if not config.controller.join_listen:
        raise FailedPrecondition("no machine may join here ([controller] join_listen)")
    token = Token.new(_fingerprint(Path(config.tls.ca_file)))
    record = issued(
        token, ttl=timedelta(seconds=arguments.ttl), uses=arguments.uses, controller=arguments.controller
    )
    async with cloud_state(config) as store, store.transaction() as txn:
        txn.create(TOKENS, record)
    print(f"fabricctl join {config.controller.join_listen} --token {token}")


def _fingerprint(file: Path) -> str:
    return fingerprint(file.read_bytes())


async def _list(config: Config) -> list[str]:
    async with cloud_state(config) as store:
        rows = [("node", "address", "roles", "agents", "service", "servers")]
        for member in sorted(store.table(MEMBERS), key=lambda member: member.meta.name):
            name = member.meta.name
            rows.append(
                (
                    name,
                    member.address,
                    ",".join(member.roles),
                    ",".join(_agents(store, name)) or "down",
                    _service(store, name),
                    str(store.table(SERVERS).count("node", name)),
                )
            )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


async def _show(config: Config, name: str) -> list[str]:
    async with cloud_state(config) as store:
        member = store.get(MEMBERS, name)
        lines = [
            f"node          {name}",
            f"address       {member.address}",
            f"roles         {', '.join(member.roles)}",
            f"joined        {member.meta.create_time.ToJsonString()}",
            f"certificates  {', '.join(member.serials)}",
            f"agents        {', '.join(_agents(store, name)) or 'down'}",
            f"service       {_service(store, name)}",
        ]
        work = [f"{count} {what}" for what, count in wanted(store, name).items()]
        return [*lines, f"must have     {', '.join(work) or 'nothing'}"]


def _agents(store: Store, node: str) -> list[str]:
    return sorted(life.agent for life in store.lives() if life.node == node)


def _service(store: Store, node: str) -> str:
    record = store.find(NODES, node_id(node))
    if record is None:
        return "none"
    return f"disabled: {record.spec.disabled_reason}" if record.spec.disabled else "enabled"


async def _remove(config: Config, arguments: argparse.Namespace) -> None:
    """Nobody takes its certificates from the first step on; its records go when nothing of the cloud is there."""
    name = arguments.node
    async with cloud_state(config) as store:
        member = store.get(MEMBERS, name)
        if _agents(store, name) and not arguments.alive:
            raise FailedPrecondition(f"{name} is alive: `fabricctl down` there comes first (or --alive)")
        if (work := lost.work(store, name)) and not (arguments.alive or arguments.lost):
            raise FailedPrecondition(f"{name} still has {work}. If it never comes back: --lost")
        if ETCD in member.roles:
            async with as_root(config) as etcd:
                await Members(etcd, patience_s=REMOVE_S).remove(name)
        await _shut_out(config, store, member)
        cloud = _cloud(config)
        if arguments.lost:
            await lost.give_up(store, cloud, name)
        elif work := lost.work(store, name):
            raise FailedPrecondition(f"{name} is shut out, and known until it has nothing any more: {work}")
        await asyncio.to_thread(_forget, cloud, name)
        await store.fresh(None)
        async with store.transaction() as txn:
            txn.delete(MEMBERS, store.get(MEMBERS, name))


async def _shut_out(config: Config, store: Store, member: pb.Member) -> None:
    name = member.meta.name
    async with store.transaction() as txn:
        withdraw(store, txn, member)
    async with access(config) as granted:
        await granted.expel(name)
    async with store.transaction() as txn:
        for agent in _agents(store, name):  # without it nothing more is written in its name
            txn.erase(f"{ROOT}/nodes/{name}/{agent}")


def _forget(cloud: Cloud, name: str) -> None:
    """What the services know of it."""
    for service in cloud.get("compute", f"/os-services?host={name}&binary=nova-compute")["services"]:
        cloud.delete("compute", f"/os-services/{service['id']}")
    while agents := cloud.get("network", f"/v2.0/agents?host={name}")["agents"]:
        # one goes with all its roles
        cloud.delete("network", f"/v2.0/agents/{agents[0]['id']}")
