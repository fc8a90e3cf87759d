"""Consumers of resources: servers, and what operators and other services make. No I/O."""

from collections.abc import Mapping

from fabric.compute.demand import class_of, counted_as
from fabric.compute.node import node_id
from fabric.compute.server import charges as server_charges
from fabric.compute.v1 import consumer_pb2 as pb
from fabric.compute.v1 import server_pb2
from fabric.runtime.store import Collection

INSTANCE = "INSTANCE"
_NODE = "node:"


def charges(consumer: pb.Consumer) -> Mapping[str | tuple[str, str], int]:
    """What it takes, from the accounts of its providers."""
    return {
        (part.account, counted_as(name)): amount
        for part in consumer.allocations
        for name, amount in part.resources.items()
    }


CONSUMERS = Collection(
    service="compute",
    name="consumers",
    message=pb.Consumer,
    charges=charges,
    indexes={"provider": lambda consumer: [part.provider_id for part in consumer.allocations]},
)


def as_consumer(server: server_pb2.Server) -> pb.Consumer:
    """A server with what it is charged on its nodes."""
    made = pb.Consumer(user_id=server.spec.user_id, type=INSTANCE)
    made.meta.id, made.meta.project_id = server.meta.id, server.meta.project_id
    made.meta.generation = 1
    by_account: dict[str, dict[str, int]] = {}
    for key, amount in server_charges(server).items():
        if isinstance(key, tuple) and amount:
            account, counted = key
            by_account.setdefault(account, {})[class_of(counted)] = amount
    for account, resources in by_account.items():
        provider = node_id(account.removeprefix(_NODE))
        made.allocations.add(provider_id=provider, account=account, resources=resources)
    return made
