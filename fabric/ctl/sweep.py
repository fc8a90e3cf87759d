"""fabricctl sweep: whatever exists in the cloud belongs to exactly one live record, which says so."""

import argparse
import asyncio
from collections.abc import Iterable, Iterator, Mapping

from fabric.ctl.cloud_state import cloud_state
from fabric.ctl.place import Place
from fabric.runtime.client import Clients
from fabric.runtime.config import Config, load
from fabric.runtime.consistency import disagreements
from fabric.runtime.errors import FabricError
from fabric.runtime.store import ROOT, Store
from fabric.runtime.ticket import Signer
from fabric.type.v1 import holding_pb2, holding_pb2_grpc

_TIMEOUT_S = 20.0


def add(parser: argparse.ArgumentParser) -> None:
    """No options yet."""
    parser.description = "Exit status 0: nothing is leaked, lost or claimed twice; 1: what is, a line each."


def run(place: Place, _: argparse.Namespace) -> int:
    """Print what does not fit."""
    found = asyncio.run(sweep(load(place.config)))
    for line in found:
        print(line)
    print(f"{len(found)} found" if found else "clean")
    return 1 if found else 0


async def sweep(config: Config) -> list[str]:
    """Every disagreement of records with each other and with what the nodes hold."""
    async with cloud_state(config) as store:
        found = list(disagreements(store))
        nodes = {life.node: life.address for life in store.lives()}
        ticket = Signer.of(config.controller.master_key_file).sign({"may": "sweep"}, lifetime_s=60)
        clients = Clients()
        try:
            for node, address in sorted(nodes.items()):
                try:
                    reply = await clients.at(address).call(
                        holding_pb2_grpc.HoldingServiceStub,
                        "ListHoldings",
                        holding_pb2.ListHoldingsRequest(ticket=ticket),
                        timeout_s=_TIMEOUT_S,
                    )
                except FabricError as error:
                    found.append(f"{node} cannot be asked: {error.message}")
                else:
                    found += orphans(node, reply.holdings, wanted(store, node))
        finally:
            await clients.close()
        return found


def wanted(store: Store, node: str) -> Mapping[str, list[str]]:
    """The ids that are wanted of a node, by collection."""
    found: dict[str, list[str]] = {}
    for parent in store.cache.parents():
        if parent.startswith(f"{ROOT}/") and f"/node/{node}/want/" in parent:
            found.setdefault(parent.rpartition("/")[2], []).extend(store.cache.table(parent).ids())
    return found


def orphans(
    node: str, holdings: Iterable[holding_pb2.Holding], wants: Mapping[str, list[str]]
) -> Iterator[str]:
    """What is on the node and has no owner there."""
    for holding in holdings:
        ids = wants.get(holding.owner_kind, [])
        if not any(id_.startswith(holding.owner_id) for id_ in ids):
            yield (
                f"{node} holds the {holding.kind} {holding.name} of {holding.owner_kind} {holding.owner_id}, "
                "which is not wanted there"
            )
