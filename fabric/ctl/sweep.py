"""fabricctl sweep: whatever exists in the cloud belongs to exactly one live record, which says so."""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence

from fabric.ctl.cloud_state import cloud_state
from fabric.ctl.holding import missing, orphans, with_work
from fabric.ctl.place import Place
from fabric.runtime.client import Clients
from fabric.runtime.config import Config, load
from fabric.runtime.consistency import disagreements
from fabric.runtime.errors import FabricError, Unavailable
from fabric.runtime.store import Store
from fabric.runtime.ticket import Signer
from fabric.runtime.tls import identity
from fabric.type.v1 import holding_pb2, holding_pb2_grpc

_TIMEOUT_S = 20.0
_LOOKS = 3
_PAUSE_S = 1.0


def add(parser: argparse.ArgumentParser) -> None:
    """No options yet."""
    parser.description = (
        "Exit status 0: nothing is leaked, lost or claimed twice; 1: what is, a line each. What is only on its "
        "way is not told: a line stands for what was so at each of several looks within a few seconds."
    )


def run(place: Place, _: argparse.Namespace) -> int:
    """Print what does not fit."""
    try:
        found = asyncio.run(sweep(load(place.config)))
    except Unavailable as error:
        print(f"fabricctl sweep: {error.message}", file=sys.stderr)
        return 2
    for line in found:
        print(line)
    print(f"{len(found)} found" if found else "clean")
    return 1 if found else 0


async def sweep(config: Config) -> list[str]:
    """Every disagreement of records with each other and with what the nodes hold. Raises Unavailable."""
    async with cloud_state(config) as store:
        ticket = Signer.of(config.controller.master_key_file).sign({"may": "sweep"}, lifetime_s=60)
        clients = Clients(identity(config.tls))
        try:
            found = await _look(store, clients, ticket)
            for _ in range(_LOOKS - 1):
                if not found:
                    break
                await asyncio.sleep(_PAUSE_S)
                again = await _look(store, clients, ticket)
                found = [line for line in found if line in again]
        finally:
            await clients.close()
        return found


async def _look(store: Store, clients: Clients, ticket: str) -> list[str]:
    nodes = {life.node: life.address for life in store.lives()}
    replies = await asyncio.gather(*(_ask(clients, address, ticket) for address in nodes.values()))
    await store.fresh(None)
    found = list(dict.fromkeys(disagreements(store)))
    for node, reply in zip(nodes, replies, strict=True):
        found += _on_node(store, node, reply)
    found += [
        f"{node} has work and no live agent: what it holds is not known"
        for node in sorted(with_work(store) - set(nodes))
    ]
    return found


def _on_node(store: Store, node: str, held: Sequence[holding_pb2.Holding] | FabricError) -> Iterator[str]:
    if isinstance(held, FabricError):
        yield f"{node} cannot be asked: {held.message}"
        return
    yield from orphans(store, node, held)
    yield from missing(store, node, held)


async def _ask(clients: Clients, address: str, ticket: str) -> Sequence[holding_pb2.Holding] | FabricError:
    try:
        reply = await clients.at(address).call(
            holding_pb2_grpc.HoldingServiceStub,
            "ListHoldings",
            holding_pb2.ListHoldingsRequest(ticket=ticket),
            timeout_s=_TIMEOUT_S,
        )
    except FabricError as error:
        return error
    return list(reply.holdings)
